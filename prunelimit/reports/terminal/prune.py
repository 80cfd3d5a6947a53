"""A pruned network in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...inputs.formats import loading_line
from ...results.types import Artifact, CompensationResult, PruneResult, Within
from ..words import fall, metric, percent, score
from .facts import layers, reliability_part, shared_rows
from .parts import BLANK, grid, pairs

__all__ = ["prune_table"]


def prune_table(result: PruneResult, *, verbose: bool = True) -> RenderableType:
    """What was removed, and what the file saves."""
    head = pairs(
        f"{result.model.spec} pruned by {result.method}",
        [
            (
                "sparsity",
                f"{percent(result.sparsity)} of prunable weights, "
                f"{result.nonzero:,} of {result.model.prunable:,} not zero{_zeros(result)}",
            ),
            (
                f"test {metric(result.data)}",
                f"{score(result.accuracy_before, result.data)} before, "
                f"{score(result.accuracy_after, result.data)} after "
                f"({fall(result.drop, result.standard_error, result.data)})",
            ),
            *_held_out(result.within),
            *shared_rows(result.allocation, result.calibration),
            *_saved(result.artifact),
        ],
    )
    note = Text(
        "Zeros take less space once packed, as in .pt.gz; they do not make a CPU or GPU faster."
    )
    parts: list[RenderableType] = [head, note]
    if result.reliability is not None and not result.reliability.ok:
        parts.append(Text(f"The number is NOT RELIABLE: {result.reliability.reasons[0]}"))
    if verbose:
        if result.reliability is not None:
            parts += [BLANK, reliability_part(result.reliability)]
        if result.compensation is not None:
            parts += [BLANK, *_compensation(result.compensation)]
        parts += [BLANK, layers(result.layers)]
    return Group(*parts, *(Text(f"Warning: {each}") for each in result.warnings))


def _zeros(result: PruneResult) -> str:
    """Zeros that the network had already, where they are more than what was to be removed."""
    zeros = 1 - result.nonzero / max(1, result.model.prunable)
    if zeros <= result.sparsity + 1 / max(1, result.model.prunable):
        return ""
    return f"; {percent(zeros)} are zero, with those that were zero before"


def _saved(file: Artifact | None) -> list[tuple[str, str]]:
    """What was written, and what packing saves."""
    if file is None:
        return []
    packed = [("not packed", f"{file.bytes_dense:,} bytes")] * (file.bytes != file.bytes_dense)
    return [
        ("checkpoint", f"{file.path}: {file.bytes:,} bytes ({file.format})"),
        *packed,
        ("loaded by", loading_line(file.path, file.format)),
    ]


def _held_out(found: Within | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    text = (
        f"{0.0 - 100 * found.drop:+.2f} pp, +- {100 * found.standard_error:.2f}, on "
        f"{found.held_out:,} training samples held out; within {100 * found.tolerance:g} pp was "
        "asked for"
    )
    return [("held out", text)]


def _compensation(found: CompensationResult) -> list[RenderableType]:
    """Stage by stage, then what is to be warned of."""
    stages = grid(
        f"Compensation on {found.calibration:,} inputs a stage, {found.undone} stages undone",
        ("sparsity", "divergence unmoved", "moved", "trust", "steps"),
        (
            (
                percent(each.sparsity),
                f"{each.unmoved:.3g}",
                f"{each.moved:.3g}",
                "-" if each.trust is None else f"{each.trust:.2f}",
                str(each.steps),
            )
            for each in found.stages
        ),
    )
    return [stages, *(Text(warning) for warning in found.warnings)]
