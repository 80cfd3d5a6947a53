"""A network against an earlier one: no number may have dropped by much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InputError, shown
from ..limit.reliability import judge_one_shot
from ..results.types import Gate, MeasureResult, PredictResult
from .floors import score_interval
from .numbers import percent, require_distinct, require_fractions

__all__ = ["against_baseline"]

Judged = PredictResult | MeasureResult

USABLE = 0.05
"""Accuracy (fraction) that a pruned network may have lost to be a baseline. The accuracy of a
broken network depends on chance."""


@dataclass(frozen=True)
class _Number:
    """A number of a result with its interval, both fractions."""

    value: float
    interval: tuple[float, float]
    reliable: bool = True


def against_baseline(
    results: tuple[Judged, ...], baselines: tuple[Judged, ...], max_drop: float
) -> tuple[Gate, ...]:
    """Every number that is in both: limit, plain, accuracy thresholds, and the accuracy at every
    sparsity where the baseline had lost no more than :data:`USABLE`.

    A drop of more than ``max_drop`` (fraction) fails where it is also more than the two intervals
    together explain. That is the root of the sum of squares of the half-widths that face one
    another.

    Raises:
        InputError: they are about other data, or share no number.
    """
    found = []
    for baseline in baselines:
        for result in results:
            if type(result) is type(baseline):
                _require_alike(result, baseline)
                said = _said_of_both(result, baseline)
                itself = _is_itself(result, baseline)
                found += [
                    _gate(name, now, before, max_drop, itself, said)
                    for name, now, before in _shared(result, baseline)
                ]
    if not found:
        raise InputError(
            "The baseline has no number in common with the results that are checked; give the "
            "JSON of the same command for the same data."
        )
    return tuple(found)


def _gate(name: str, now: _Number, before: _Number, most: float, itself: bool, said: str) -> Gate:
    drop = before.value - now.value
    error = math.hypot(before.value - before.interval[0], now.interval[1] - now.value)
    passed = drop <= most + 1e-12 or drop <= error
    word = "fell" if drop > 0 else "rose"
    reason = (
        f"The {name} {word} by {abs(100 * drop):.2f} pp, from {percent(before.value)} to "
        f"{percent(now.value)}; a fall of up to {100 * most:g} pp is accepted"
        if drop
        else f"The {name} is {percent(now.value)}, as it was"
    )
    if passed and drop > most + 1e-12:
        reason += f", but the two intervals together explain {100 * error:.2f} pp: no failure"
    if not now.reliable:
        reason += "; the number is itself not reliable"
    reason += said
    return Gate(
        name=f"baseline {name}",
        kind="baseline",
        passed=passed,
        value=now.value,
        interval=now.interval,
        bound=before.value - most,
        reason=f"{reason}.",
        self_check=itself,
        reliable=now.reliable,
    )


def _shared(now: Judged, before: Judged) -> Iterator[tuple[str, _Number, _Number]]:
    first, second = _numbers(now), _numbers(before, USABLE)
    lacking = [name for name in second if name.startswith("sparsity") and name not in first]
    if lacking:
        raise InputError(
            f"The baseline has a {lacking[0]} and the results that are checked have none; measure "
            "again with the same `tolerance`."
        )
    for name, number in first.items():
        if name in second:
            for each in (number, second[name]):
                values = (each.value, *each.interval)
                require_fractions(f"The {name} is", "make that file again", values)
            yield name, number, second[name]


def _numbers(result: Judged, lost: float = math.inf) -> dict[str, _Number]:
    """The numbers of a result by name, without those of networks that lost more than ``lost``."""
    if isinstance(result, PredictResult):
        limit, one_shot = result.limit, result.one_shot
        found = {"limit": _Number(limit.sparsity, limit.interval, reliable=result.reliability.ok)}
        if one_shot is not None:
            sure = judge_one_shot(one_shot, result.reliability.path).ok
            found["plain threshold"] = _Number(one_shot.sparsity, one_shot.interval, reliable=sure)
        return found
    found = {
        f"sparsity within {100 * each.tolerance:g} pp of {result.data.metric}": _Number(
            each.sparsity, each.interval
        )
        for each in result.thresholds
        if each.rule == "accuracy"
    }
    require_distinct(result.curve)
    for point in result.curve if result.data.points else ():
        if result.dense.accuracy - point.accuracy > lost:
            continue
        interval = score_interval(point.accuracy, result.data)
        found[f"{result.data.metric} at {percent(point.sparsity)}"] = _Number(
            point.accuracy, interval
        )
    return found


def _require_alike(now: Judged, before: Judged) -> None:
    if now.data.spec != before.data.spec:
        raise InputError(
            f"The baseline is about the data {before.data.spec} and the results that are checked "
            f"are about {now.data.spec}; give a baseline for the same data."
        )
    if isinstance(now, MeasureResult) and isinstance(before, MeasureResult):
        if now.method != before.method:
            raise InputError(
                f"The baseline measured {before.method} and the results that are checked measured "
                f"{now.method}; give a baseline of the same method."
            )
    elif now.epsilon.rule != before.epsilon.rule:
        raise InputError(
            f"The baseline has the loss tolerance {before.epsilon.rule} and the results that are "
            f"checked have {now.epsilon.rule}; give both the same `epsilon`."
        )


def _said_of_both(now: Judged, before: Judged) -> str:
    """What a reader should know of the two networks: that they are one, or of different kinds."""
    if _is_itself(now, before):
        return (
            "; this is a self-check, because the baseline is of the same network; the baseline of "
            "an earlier network would test more"
        )
    ours, theirs = now.model, before.model
    if ours.prunable == theirs.prunable:
        return ""
    return (
        f"; the baseline is of another network, {shown(theirs.spec)} with {theirs.prunable:,} "
        f"prunable weights, and the network that is checked has {ours.prunable:,}"
    )


def _is_itself(now: Judged, before: Judged) -> bool:
    """Whether both are one result, or one network's by the same seed."""
    same = now.model.sha256 is not None and now.model.sha256 == before.model.sha256
    return now == before or (same and now.provenance.seed == before.provenance.seed)
