"""Gates and their verdict in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...results.types import CheckResult
from ..words import interval, predicted
from .parts import pairs, point

__all__ = ["check_table", "verdict"]


def check_table(result: CheckResult) -> RenderableType:
    """The verdict, the two numbers where they were compared, and a line for every gate."""
    word = Text("PASSED", style="bold green") if result.passed else Text("FAILED", style="bold red")
    parts: list[RenderableType] = [word]
    agreement = result.agreement
    if agreement is not None:
        difference = f"{agreement.difference_pp:+.2f} pp (tolerance {agreement.tolerance_pp:g})"
        parts.append(
            pairs(
                f"Predicted against measured sparsity of {result.model.spec}, of prunable weights",
                [
                    (
                        predicted(agreement.number),
                        interval(agreement.predicted, agreement.predicted_interval),
                    ),
                    (
                        f"measured ({agreement.rule})",
                        interval(agreement.measured, agreement.measured_interval),
                    ),
                    ("difference", difference),
                ],
            )
        )
        parts += [point(said) for said in (*agreement.reasons, *agreement.notes)]
    others = [gate for gate in result.gates if gate.kind != "agreement"]
    if others:
        rows = [("passed" if gate.passed else "FAILED", gate.reason) for gate in others]
        parts.append(pairs(f"Floors and baselines of {result.model.spec}", rows))
    return Group(*parts)


FEW_REASONS = 3
"""Gates that failed whose reasons stand in one line."""


def verdict(result: CheckResult) -> str:
    """The verdict in one line: of a single gate what it found, else how many failed and why."""
    if len(result.gates) == 1:
        (gate,) = result.gates
        return f"{'PASSED' if gate.passed else 'FAILED'}: {gate.reason}"
    if result.passed:
        return f"PASSED: all {len(result.gates)} gates"
    reasons = " ".join(gate.reason for gate in result.failed[:FEW_REASONS])
    rest = len(result.failed) - FEW_REASONS
    more = f" And {rest} more." if rest > 0 else ""
    return f"FAILED: {len(result.failed)} of {len(result.gates)} gates: {reasons}{more}"
