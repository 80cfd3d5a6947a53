"""Floors under a measurement: a sparsity that must be reached, an accuracy that must be left."""

from __future__ import annotations

import math

from ..errors import InputError
from ..pruning.magnitude import removal_count
from ..results.types import DataInfo, Gate, MeasurePoint, MeasureResult, Threshold
from ..values import AccuracyFloor, SparsityFloor
from .numbers import accuracy_interval, percent, require_distinct, require_fractions
from .numbers import interval as spelled

__all__ = ["min_accuracy", "min_sparsity", "require_points", "score_interval"]

HOLDER, REMEDY = "The measurement holds", "run measure again"


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
    reason = f"{what} up to {spelled(value, interval)}"
    reason += f"; at least {percent(floor.sparsity)} is asked for"
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

    An accuracy below the floor fails only if its whole interval lies below. It is the interval of a
    share of so many test samples.

    Raises:
        InputError: the measurement has no point that decides it.
    """
    require_points(measured.data)
    point, exact = _point(measured, floor.sparsity)
    interval = score_interval(point.accuracy, measured.data)
    passed = max(point.accuracy, interval[1]) >= floor.accuracy
    if not exact and not passed:
        raise InputError(
            f"The measurement has no accuracy at {percent(floor.sparsity)}. At "
            f"{percent(point.sparsity)}, the next sparsity measured, the accuracy is below the "
            "floor, which decides nothing; give `sparsities` that include the sparsity of the "
            "floor."
        )
    where = percent(point.sparsity) + ("" if exact else ", the next sparsity measured,")
    reason = f"The {measured.data.metric} at {where} is {spelled(point.accuracy, interval)}"
    reason += f"; at least {percent(floor.accuracy)} is asked for"
    if passed and point.accuracy < floor.accuracy:
        reason += ", which lies within the interval: no failure"
    return Gate(
        name=f"min-accuracy at {percent(floor.sparsity)}",
        kind="min-accuracy",
        passed=passed,
        value=point.accuracy,
        interval=interval,
        bound=floor.accuracy,
        reason=f"{reason}.",
    )


def score_interval(score: float, data: DataInfo) -> tuple[float, float]:
    """The sampling interval of a value of the metric. A share of samples has that of
    :func:`accuracy_interval`; for another metric none is known."""
    shares = data.metric == "accuracy"
    if shares and data.test_samples < 1:
        raise InputError(
            f"The measurement states {data.test_samples} test samples, which makes no sense; run "
            "measure again."
        )
    return accuracy_interval(score, data.test_samples) if shares else (score, score)


def require_points(data: DataInfo) -> None:
    """Refuse a metric for which a floor in points makes no sense.

    Raises:
        InputError: the metric is not one where 1 is perfect.
    """
    if not data.points:
        raise InputError(
            f"The metric {data.metric} has no percentage points, as it is not from 0 to 1; give a "
            "gate on sparsity or loss."
        )


def _threshold(measured: MeasureResult, tolerance: float | None) -> Threshold:
    found = [each for each in measured.thresholds if each.rule == "accuracy"]
    for each in found:
        if tolerance is None or math.isclose(each.tolerance, tolerance, abs_tol=1e-9):
            require_fractions(HOLDER, REMEDY, (each.sparsity, *each.interval))
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
    require_distinct(measured.curve)
    for point in sorted(measured.curve, key=lambda each: each.sparsity):
        removed = round(point.sparsity * count)
        if removed >= wanted:
            require_fractions(HOLDER, REMEDY, (point.sparsity, point.accuracy))
            return point, removed == wanted
    raise InputError(
        f"The measurement has no accuracy at {percent(sparsity)} or beyond; give `sparsities` "
        "that include it."
    )
