"""The predicted limit held against measured thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .config import CheckConfig
from .epsilon import parse_tolerance
from .errors import InputError
from .results import (
    DataInfo,
    DistanceToLimit,
    Epsilon,
    MeasureResult,
    ModelInfo,
    PredictResult,
    Threshold,
)

__all__ = ["Comparison", "compare", "distances", "require_same"]

EPSILON_AGREEMENT = 0.01
"""Loss tolerances further apart than this share are not the same question."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The verdict; sparsities are fractions, ``difference_pp`` is predicted minus measured.

    ``rule`` names the measured threshold; ``reasons`` says why it failed, empty where it passed.
    """

    predicted: float
    predicted_interval: tuple[float, float]
    measured: float
    measured_interval: tuple[float, float]
    rule: str
    difference_pp: float
    tolerance_pp: float
    passed: bool
    reasons: tuple[str, ...]


def compare(predicted: PredictResult, measured: MeasureResult, config: CheckConfig) -> Comparison:
    """Compare the headline limit with the threshold that was measured.

    A measurement by refit is compared by ``feasibility``, the very event that is predicted; a
    one-shot measurement by ``accuracy`` at its first tolerance.

    Raises:
        UsageError: the tolerance makes no sense.
        InputError: the two are not about the same checkpoint, data or loss tolerance, or the
            threshold is missing.
    """
    tolerance_pp = 100 * parse_tolerance(config.tolerance)
    require_same(predicted, measured.model, measured.data, measured.epsilon)
    threshold = _threshold(measured)
    difference_pp = 100 * (predicted.limit.sparsity - threshold.sparsity)
    # A difference of exactly the tolerance passes, whatever the last bit of a float says.
    passed = abs(difference_pp) <= tolerance_pp + 1e-9
    reasons = [] if passed else _reasons(predicted, threshold, difference_pp, tolerance_pp)
    return Comparison(
        predicted=predicted.limit.sparsity,
        predicted_interval=predicted.limit.interval,
        measured=threshold.sparsity,
        measured_interval=threshold.interval,
        rule=threshold.rule,
        difference_pp=difference_pp,
        tolerance_pp=tolerance_pp,
        passed=passed,
        reasons=tuple(reasons),
    )


def _threshold(measured: MeasureResult) -> Threshold:
    rule = "feasibility" if measured.method == "refit" else "accuracy"
    for threshold in measured.thresholds:
        if threshold.rule == rule:
            return threshold
    raise InputError(
        f"The measurement ({measured.method}) has no {rule} threshold; measure the network again."
    )


def _reasons(
    predicted: PredictResult, threshold: Threshold, difference_pp: float, tolerance_pp: float
) -> list[str]:
    side = "above" if difference_pp > 0 else "below"
    reasons = [
        f"The predicted limit of {predicted.limit.sparsity:.2%} lies {abs(difference_pp):.2f} pp "
        f"{side} the measured {threshold.sparsity:.2%} ({threshold.rule}), "
        f"more than the accepted {tolerance_pp:g} pp."
    ]
    if not predicted.reliability.ok:
        reasons.append("The prediction itself says that it is not reliable.")
    if threshold.rule == "accuracy":
        reasons.append(
            "One-shot accuracy is not what the limit is about: it lets surviving weights move; "
            "measure with --method refit to test the limit itself."
        )
    return reasons


def distances(
    predicted: PredictResult, thresholds: Iterable[Threshold]
) -> tuple[DistanceToLimit, ...]:
    """Every threshold with how far it stays below the headline limit."""
    limit = predicted.limit.sparsity
    return tuple(
        DistanceToLimit(
            rule=each.rule,
            tolerance=each.tolerance,
            sparsity=each.sparsity,
            interval=each.interval,
            distance_pp=100 * (limit - each.sparsity),
        )
        for each in thresholds
    )


def require_same(
    predicted: PredictResult, model: ModelInfo, data: DataInfo, epsilon: Epsilon
) -> None:
    """Refuse a prediction that is not about what is measured.

    Raises:
        InputError: it is about another checkpoint, network, data or loss tolerance.
    """
    ours, theirs = predicted.model, model
    if ours.sha256 != theirs.sha256 and None not in (ours.sha256, theirs.sha256):
        raise InputError(
            f"The prediction is about the checkpoint {_short(ours.sha256)} and the measurement "
            f"about {_short(theirs.sha256)}; give results about the same checkpoint."
        )
    if (ours.parameters, ours.prunable) != (theirs.parameters, theirs.prunable):
        raise InputError(
            f"The prediction is about {ours.prunable} prunable weights of {ours.parameters} "
            f"parameters and the measurement about {theirs.prunable} of {theirs.parameters}; "
            "give results about the same network with the same --exclude."
        )
    if predicted.data.spec != data.spec:
        raise InputError(
            f"The prediction is about the data {predicted.data.spec} and the measurement about "
            f"{data.spec}; give results about the same data."
        )
    first, second = predicted.epsilon.value, epsilon.value
    if not abs(first - second) <= EPSILON_AGREEMENT * max(first, second):
        raise InputError(
            f"The prediction is for a loss tolerance of {first:.4g} and the measurement for "
            f"{second:.4g}; give both the same --epsilon and --train-samples."
        )


def _short(sha256: str | None) -> str:
    return (sha256 or "")[:12]
