"""Predicted against measured: which number a method is compared with, and the verdict.

Two numbers are predicted. At *plain* the loss of plain magnitude pruning leaves the tolerance with
nothing moved. Up to the *limit* some setting of the survivors keeps it. A method with fixed
survivors is compared with the first, one that trains them with the second. A third kind moves them
along a model of the loss. It can do no worse than leave them, and no better than the best setting.
So it lies between the two. All of it is about masks of smallest magnitude, all layers together.
Nothing is predicted for a method that removes other weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from ..config import CheckConfig
from ..errors import InputError, shown
from ..limit.reliability import judge_one_shot
from ..results.types import (
    Agreement,
    DataInfo,
    DistanceToLimit,
    Epsilon,
    Limit,
    MeasureResult,
    ModelInfo,
    OneShot,
    PredictResult,
    Reliability,
    Target,
    Threshold,
)
from ..values import Method
from .numbers import require_fractions

__all__ = [
    "compare",
    "distances",
    "require_comparable",
    "require_same",
    "target_of",
]

NUMBERS = {
    "fixed": ("one-shot", "loss"),
    "trained": ("limit", "feasibility"),
    "compensated": ("between", "loss"),
    "staged": ("between", "loss"),
    "layerwise": ("between", "loss"),
    "obs": ("between", "loss"),
}
"""The predicted number, and the measured threshold about the same event, by survivors."""

EPSILON_AGREEMENT = 0.01
"""Loss tolerances that differ by more than this share are different questions."""

WIDEST_EXPECTED = 0.1
"""Widest prediction interval, as a fraction of the prunable weights, that explains a difference. A
wider one names no threshold."""

GAINED = 0.5
"""Percentage points that the last doubling of passes may add to a measurement that has
converged."""

SELF_CHECK = (
    "This is a self-check: both numbers come from the loss of the same pruned networks; measure "
    "with `survivors` trained to test the limit."
)


def compare(predicted: PredictResult, measured: MeasureResult, config: CheckConfig) -> Agreement:
    """Compare the measured threshold with the number that was predicted for the same event.

    ========================  =========================  ==============================
    survivors                 measured threshold         predicted number
    ========================  =========================  ==============================
    fixed                     loss                       plain
    trained                   feasibility                the limit
    all others                loss                       anything between these two
    any, ``rule=accuracy``    accuracy, first tolerance  the limit, which is unlike it
    ========================  =========================  ==============================

    A difference of more than the tolerance is no failure where the two intervals together explain
    it. It is none either where trained survivors stop within the prediction interval that comes
    with the limit, if that is no wider than :data:`WIDEST_EXPECTED`. ``notes`` says so.

    Raises:
        InputError: the two are not about the same checkpoint, data or loss tolerance; nothing is
            predicted for what was measured; a threshold is missing on either side, or is no
            fraction from 0 to 1.
    """
    tolerance_pp = 100 * config.tolerance
    require_same(predicted, measured.model, measured.data, measured.epsilon)
    target = _target(predicted, measured, config)
    threshold = _threshold(measured, target.rule)
    require_fractions(
        "The prediction has a sparsity of",
        "run predict again",
        (target.lowest, target.highest, *target.interval),
    )
    require_fractions(
        "The measurement has a sparsity of",
        "run measure again",
        (threshold.sparsity, *threshold.interval),
    )
    nearest = min(max(threshold.sparsity, target.lowest), target.highest)
    difference_pp = 100 * (nearest - threshold.sparsity)
    error_pp = 100 * _error(nearest, threshold, target)
    # A difference of exactly the tolerance passes, whatever the last bit of a float says.
    within = abs(difference_pp) <= tolerance_pp + 1e-9
    explained = abs(difference_pp) <= error_pp
    foretold = _foretold(predicted.limit, threshold, target)
    passed = within or explained or foretold is not None
    reliability = _reliability(predicted, target)
    reasons = (
        [] if passed else _reasons(reliability, threshold, target, difference_pp, tolerance_pp)
    )
    if not passed:
        reasons += _unconverged(measured, threshold, difference_pp)
    between = target.number == "between"
    notes = []
    if passed and not within:
        said = f"The difference of {difference_pp:+.2f} pp is more than the accepted "
        said += f"{tolerance_pp:g} pp, "
        if explained:
            said += (
                f"but no more than the {error_pp:.2f} pp that the two intervals together explain"
            )
        else:
            said += f"but trained survivors were expected to stop at {foretold}"
        notes.append(f"{said}: no failure.")
    if target.number == "one-shot":
        notes.append(SELF_CHECK)
    if passed and not reliability.ok:
        notes.append(f"The predicted number is not reliable: {reliability.reasons[0]}")
    return Agreement(
        predicted=nearest,
        predicted_interval=(target.lowest, target.highest) if between else target.interval,
        measured=threshold.sparsity,
        measured_interval=threshold.interval,
        rule=threshold.rule,
        difference_pp=difference_pp,
        tolerance_pp=tolerance_pp,
        passed=passed,
        reasons=tuple(reasons),
        error_pp=error_pp,
        notes=tuple(notes),
        self_check=target.number == "one-shot",
        method=measured.method,
        number=target.number,
        reliability=reliability,
    )


def _error(predicted: float, measured: Threshold, target: Target) -> float:
    """The difference that the intervals together explain, a fraction: the root of the sum of
    squares of the half-widths that face one another."""
    if predicted > measured.sparsity:
        parts = predicted - target.interval[0], measured.interval[1] - measured.sparsity
    else:
        parts = target.interval[1] - predicted, measured.sparsity - measured.interval[0]
    return math.hypot(*(max(0.0, part) for part in parts))


def _foretold(limit: Limit, measured: Threshold, target: Target) -> str | None:
    """The prediction interval, if the measurement is one of trained survivors and lies in it."""
    if (target.number, target.rule) != ("limit", "feasibility") or limit.expected is None:
        return None
    low, high = limit.expected
    own = limit.alone is not None and limit.alone <= limit.sparsity  # else the limit is another's
    if not (own and high - low <= WIDEST_EXPECTED and low <= measured.sparsity <= high):
        return None
    return f"{low:.2%} to {high:.2%}"


def _reliability(predicted: PredictResult, target: Target) -> Reliability:
    """The reliability of the number, or of both numbers, that the measurement is compared with."""
    limit = predicted.reliability
    if target.number == "limit" or predicted.one_shot is None:
        return limit
    one_shot = judge_one_shot(predicted.one_shot, limit.path)
    if target.number == "one-shot":
        return one_shot
    reasons = (*limit.reasons, *one_shot.reasons)
    return dataclasses.replace(limit, ok=limit.ok and one_shot.ok, reasons=reasons)


def _target(predicted: PredictResult, measured: MeasureResult, config: CheckConfig) -> Target:
    limit = predicted.limit
    if config.rule == "accuracy":
        return Target(
            method=measured.method,
            number="limit",
            rule="accuracy",
            lowest=limit.sparsity,
            highest=limit.sparsity,
            interval=limit.interval,
        )
    method = Method.parse(measured.method)
    require_comparable(method, config)
    return target_of(method, limit, predicted.one_shot)


def require_comparable(method: Method, config: CheckConfig) -> None:
    """Refuse a measurement for which nothing is predicted.

    Raises:
        InputError: it removes other weights than those of smallest magnitude of all layers.
    """
    if config.rule != "accuracy" and not method.is_magnitude:
        raise InputError(
            f"Nothing is predicted for {method.name}, because the prediction is about removing "
            "the smallest weights of all layers; measure magnitude with any `survivors`, or give "
            "`rule` accuracy to compare with the limit of magnitude pruning all the same."
        )


def _threshold(measured: MeasureResult, rule: str) -> Threshold:
    for threshold in measured.thresholds:
        if threshold.rule == rule:
            return threshold
    raise InputError(
        f"The measurement ({measured.method}) has no {rule} threshold"
        + (
            f", as the metric {measured.data.metric} is not from 0 to 1; leave `rule` out."
            if rule == "accuracy" and not measured.data.points
            else "; measure the network again."
        )
    )


def _reasons(
    reliability: Reliability,
    threshold: Threshold,
    target: Target,
    difference_pp: float,
    tolerance_pp: float,
) -> list[str]:
    side = "above" if difference_pp > 0 else "below"
    what = f"limit of {target.highest:.2%} lies"
    if target.number == "one-shot":
        what = f"plain threshold of {target.highest:.2%} lies"
    elif target.number == "between":
        what = f"range of {target.lowest:.2%} to {target.highest:.2%} lies"
    reasons = [
        f"The predicted {what} {abs(difference_pp):.2f} pp {side} the measured "
        f"{threshold.sparsity:.2%} ({threshold.rule}), more than the accepted {tolerance_pp:g} pp."
    ]
    if not reliability.ok:
        reasons.append("The predicted number is itself not reliable.")
    if threshold.rule == "accuracy":
        reasons.append(
            "The limit is about the loss with survivors free to move, not about accuracy; leave "
            "`rule` out to compare like with like, and measure trained `survivors` to test the "
            "limit itself."
        )
    return reasons


def _unconverged(measured: MeasureResult, threshold: Threshold, difference_pp: float) -> list[str]:
    """That the survivors may reach further, where more passes lessen the difference."""
    witness = measured.witness
    if threshold.rule != "feasibility" or witness is None or difference_pp <= 0:
        return []
    if witness.converged_pp <= GAINED:
        return []
    most = round(witness.budgets[-1].passes)
    return [
        f"The measurement has not converged: the last doubling of passes added "
        f"{witness.converged_pp:.2f} pp; give `refit_passes` {most} to see how far survivors reach."
    ]


def distances(limit: Limit, thresholds: Iterable[Threshold]) -> tuple[DistanceToLimit, ...]:
    """Every threshold with how far it stays below ``limit``."""
    return tuple(
        DistanceToLimit(
            rule=each.rule,
            tolerance=each.tolerance,
            sparsity=each.sparsity,
            interval=each.interval,
            distance_pp=100 * (limit.sparsity - each.sparsity),
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
            f"The prediction is about the checkpoint {_short(ours.sha256)} and the measurement is "
            f"about {_short(theirs.sha256)}; give results about the same checkpoint."
        )
    if (ours.parameters, ours.prunable) != (theirs.parameters, theirs.prunable):
        raise InputError(
            f"The prediction is about {ours.prunable} prunable weights of {ours.parameters} "
            f"parameters and the measurement about {theirs.prunable} of {theirs.parameters}; "
            "give results about the same network with the same `exclude`."
        )
    if predicted.data.spec != data.spec:
        raise InputError(
            f"The prediction is about the data {shown(predicted.data.spec)} and the measurement "
            f"about {shown(data.spec)}; give results about the same data."
        )
    first, second = predicted.epsilon.value, epsilon.value
    if not abs(first - second) <= EPSILON_AGREEMENT * max(first, second):
        raise InputError(
            f"The prediction is for a loss tolerance of {first:.4g} and the measurement for "
            f"{second:.4g}; give both the same `epsilon` and `train_samples`."
        )


def _short(sha256: str | None) -> str:
    return (sha256 or "")[:12]


def target_of(method: Method, limit: Limit, one_shot: OneShot | None) -> Target:
    """The predicted number that a measurement of ``method`` is compared with.

    Raises:
        InputError: it takes plain, and there is none.
    """
    number, rule = NUMBERS[method.survivors]
    found = []
    if number in ("one-shot", "between"):
        if one_shot is None:
            raise InputError(
                f"{method.name} is compared with the plain threshold, and the prediction has "
                "none; run predict again."
            )
        found.append((one_shot.sparsity, one_shot.interval))
    if number in ("limit", "between"):
        found.append((limit.sparsity, limit.interval))
    # Both are estimates. Only their errors can make the limit the smaller one.
    return Target(
        method=method.name,
        number=number,
        rule=rule,
        lowest=min(sparsity for sparsity, _ in found),
        highest=max(sparsity for sparsity, _ in found),
        interval=(
            min(interval[0] for _, interval in found),
            max(interval[1] for _, interval in found),
        ),
    )
