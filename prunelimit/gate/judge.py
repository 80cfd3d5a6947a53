"""All gates that are asked for, one after another."""

from __future__ import annotations

from ..config import CheckConfig
from ..errors import UsageError
from ..results.types import Agreement, Gate, MeasureResult, PredictResult
from .agreement import compare
from .baseline import against_baseline
from .floors import min_accuracy, min_sparsity
from .numbers import interval

__all__ = ["judge"]

NUMBERS = {"limit": " limit", "one-shot": " plain", "between": " between plain and limit"}
"""Names of the predicted number in reports."""


def judge(
    predicted: PredictResult | None,
    measured: MeasureResult | None,
    config: CheckConfig,
    baselines: tuple[PredictResult | MeasureResult, ...] = (),
) -> tuple[Agreement | None, tuple[Gate, ...]]:
    """Predicted against measured where both are there, then every floor, then every baseline.

    Raises:
        UsageError: nothing is asked for that the given results can answer.
        InputError: see the gates.
    """
    gates: list[Gate] = []
    agreement = None
    if predicted is not None and measured is not None and not config.no_agreement:
        agreement = compare(predicted, measured, config)
        gates.append(agreement_gate(agreement))
    floors = config.min_sparsity or config.min_accuracy_at
    if floors and measured is None:
        raise UsageError(
            "`min_sparsity` and `min_accuracy_at` are about a measurement, and none is given; give "
            "the JSON of measure too."
        )
    if measured is not None:
        gates += [min_sparsity(measured, floor) for floor in config.min_sparsity]
        gates += [min_accuracy(measured, floor) for floor in config.min_accuracy_at]
    if baselines:
        results = tuple(each for each in (predicted, measured) if each is not None)
        gates += against_baseline(results, baselines, config.max_drop)
    if not gates:
        raise UsageError(
            "There is nothing to check: give a prediction and a measurement, or `min_sparsity`, "
            "`min_accuracy_at` or `baseline`."
        )
    return agreement, tuple(gates)


def agreement_gate(found: Agreement) -> Gate:
    """Predicted against measured as one gate among others; ``value`` is the difference."""
    difference, tolerance = found.difference_pp / 100, found.tolerance_pp / 100
    reason = (
        f"Predicted{NUMBERS[found.number]} {interval(found.predicted, found.predicted_interval)}, "
        f"measured ({found.rule}) {interval(found.measured, found.measured_interval)}: "
        f"{found.difference_pp:+.2f} pp, tolerance {found.tolerance_pp:g} pp."
    )
    reason = " ".join((reason, *found.reasons[1:], *found.notes))
    return Gate(
        name="predicted against measured",
        kind="agreement",
        passed=found.passed,
        value=difference,
        interval=(difference - found.error_pp / 100, difference + found.error_pp / 100),
        bound=tolerance,
        reason=reason,
        self_check=found.self_check,
        reliable=found.reliability.ok,
    )
