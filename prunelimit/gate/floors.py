"""Floors under a measurement: a sparsity that must be reached, an accuracy that must be left."""

from __future__ import annotations

import math
from statistics import NormalDist

from ..errors import InputError
from ..pruning.magnitude import removal_count
from ..results.types import DataInfo, Gate, MeasurePoint, MeasureResult, Threshold
from ..values import AccuracyFloor, SparsityFloor

__all__ = ["accuracy_interval", "min_accuracy", "min_sparsity", "require_points", "score_interval"]

CONFIDENCE = 0.95
"""Level of the intervals that are made here."""


def min_sparsity(measured: MeasureResult, floor: SparsityFloor) -> Gate:
    """The measured accuracy threshold against ``floor``.

    A threshold below the floor fails only where its whole interval lies below.

    Raises:
        InputError: the measurement has no accuracy threshold at that tolerance.
    """
    threshold = _threshold(measured, floor.tolerance)
    what = f"The {measured.data.metric} stays within {100 * threshold.tolerance:g} pp"
    value, interval = threshold.sparsity, threshold.interval
    passed = max(value, interval[1]) >= floor.sparsity
    reason = f"{what} up to {_percent(value)} ({_percent(interval[0])} to {_percent(interval[1])})"
    reason += f"; at least {_percent(floor.sparsity)} is asked for"
    if passed and value < floor.sparsity:
        reason += ", which lies within the interval: no failure"
    return Gate(
        name=f"min-sparsity at {100 * threshold.tolerance:g} pp",
        kind="min-sparsity",
        passed=passed,
        value=value,
        interval=interval,
        bound=floor.sparsity,
        reason=f"{reason}.",
    )


def min_accuracy(measured: MeasureResult, floor: AccuracyFloor) -> Gate:
    """The accuracy measured at a sparsity, or at the next larger one, against ``floor``.

    An accuracy below the floor fails only where its whole interval lies below: that of a share of
    so many test samples.

    Raises:
        InputError: the measurement does not say, as it has no point there.
    """
    require_points(measured.data)
    point, exact = _point(measured, floor.sparsity)
    interval = score_interval(point.accuracy, measured.data)
    passed = max(point.accuracy, interval[1]) >= floor.accuracy
    if not exact and not passed:
        raise InputError(
            f"The measurement has no accuracy at {_percent(floor.sparsity)}, and at "
            f"{_percent(point.sparsity)}, the next one, it is below the floor, which says nothing; "
            f"measure that one too, with `sparsities`."
        )
    where = _percent(point.sparsity) + ("" if exact else ", the next sparsity measured,")
    reason = f"The {measured.data.metric} at {where} is {_percent(point.accuracy)}"
    reason += f" ({_percent(interval[0])} to {_percent(interval[1])})"
    reason += f"; at least {_percent(floor.accuracy)} is asked for"
    if passed and point.accuracy < floor.accuracy:
        reason += ", which lies within the interval: no failure"
    return Gate(
        name=f"min-accuracy at {_percent(floor.sparsity)}",
        kind="min-accuracy",
        passed=passed,
        value=point.accuracy,
        interval=interval,
        bound=floor.accuracy,
        reason=f"{reason}.",
    )


def score_interval(score: float, data: DataInfo) -> tuple[float, float]:
    """The sampling interval of a value of the metric: of a share of samples by
    :func:`accuracy_interval`, of another metric nothing is known."""
    shares = data.metric == "accuracy"
    if shares and data.test_samples < 1:
        raise InputError(
            f"The measurement says that it has {data.test_samples} test samples; run measure again."
        )
    return accuracy_interval(score, data.test_samples) if shares else (score, score)


def require_points(data: DataInfo) -> None:
    """Refuse a metric that no floor in points can be put under.

    Raises:
        InputError: the metric is not one where 1 is perfect.
    """
    if not data.points:
        raise InputError(
            f"The metric {data.metric} has no points, as it is not from 0 to 1; give a gate on "
            "sparsity or loss."
        )


def accuracy_interval(accuracy: float, samples: int) -> tuple[float, float]:
    """The interval of Wilson (1927) for a share of ``samples`` test samples, at 95%.

    >>> low, high = accuracy_interval(0.97, 10_000)
    >>> round(low, 4), round(high, 4)
    (0.9665, 0.9732)
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    count = max(1, samples)
    middle = (accuracy + z * z / (2 * count)) / (1 + z * z / count)
    spread = accuracy * (1 - accuracy) / count + (z / (2 * count)) ** 2
    half = z / (1 + z * z / count) * math.sqrt(max(0.0, spread))
    return max(0.0, min(middle - half, accuracy)), min(1.0, max(middle + half, accuracy))


def _threshold(measured: MeasureResult, tolerance: float | None) -> Threshold:
    found = [each for each in measured.thresholds if each.rule == "accuracy"]
    for each in found:
        if tolerance is None or math.isclose(each.tolerance, tolerance, abs_tol=1e-9):
            _require(each.sparsity, *each.interval)
            return each
    at = "" if tolerance is None else f" at {100 * tolerance:g} pp"
    there = ", ".join(f"{100 * each.tolerance:g}pp" for each in found)
    raise InputError(
        f"The measurement has no accuracy threshold{at}"
        + (f", only at {there}; name one of those or measure again." if there else ".")
    )


def _point(measured: MeasureResult, sparsity: float) -> tuple[MeasurePoint, bool]:
    """The measured point at a sparsity, or the next larger one, and whether it is the very one."""
    count = measured.model.prunable
    wanted = removal_count(sparsity, count)
    places = [point.sparsity for point in measured.curve]
    if len(set(places)) < len(places):
        raise InputError("The measurement has a sparsity twice; run measure again.")
    for point in sorted(measured.curve, key=lambda each: each.sparsity):
        removed = round(point.sparsity * count)
        if removed >= wanted:
            _require(point.sparsity, point.accuracy)
            return point, removed == wanted
    raise InputError(
        f"The measurement has no accuracy at {_percent(sparsity)} or beyond; measure that one too, "
        "with `sparsities`."
    )


def _require(*values: float) -> None:
    """Refuse numbers that no gate can be passed with: JSON has null for what is not finite."""
    for value in values:
        if not 0 <= value <= 1:
            raise InputError(
                f"The measurement holds {value}, which is no fraction from 0 to 1; run measure "
                "again."
            )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"
