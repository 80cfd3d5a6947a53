"""Checks whether the numbers of a result make sense, since anybody may have written a file.

Accuracies and losses may be NaN, as those of a broken network are. Sparsities may not. Every
interval has to hold its number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, TypeVar

from ..errors import InputError
from .serialization import from_json
from .types import LayerResult, Limit

__all__ = ["read", "require_sound"]

T = TypeVar("T")

FRACTIONS = frozenset(
    (
        "sparsity", "sparsity_of_all", "density", "holds", "plain", "limit", "predicted",
        "measured", "pruned_sparsity", "alone", "norm_kept", "expected_middle", "carried",
        "lowest", "highest",
    )
)  # fmt: skip
"""Fields that are shares of weights."""

RANGES = frozenset(
    (
        "interval", "band", "expected", "plain_interval", "limit_interval", "predicted_interval",
        "measured_interval",
    )
)  # fmt: skip
"""Fields with a low and a high end."""

COUNTS = frozenset(
    (
        "parameters", "free", "prunable", "excluded", "samples", "test_samples",
        "training_samples", "classes", "kept", "nonzero", "weights", "zeros", "entries", "tensors",
        "bytes", "of_samples", "probes", "steps", "products", "epochs", "held_out", "calibration",
        "tried", "recalibrated", "undone",
    )
)  # fmt: skip
"""Fields that count something."""

LENGTHS = frozenset(
    (
        "radius", "standard_error", "trace_standard_error", "rounding_error", "seconds",
        "wall_seconds", "gradient_seconds", "product_seconds",
    )
)  # fmt: skip
"""Fields that are never below zero. An error may be unknown, and then is NaN."""

SLACK = 1e-9
"""Rounding error of a fraction that is accepted."""


def read(kind: type[T], document: Any, where: str) -> T:
    """The result that a file holds, once its numbers are known to make sense.

    Raises:
        InputError: the document is of another schema, a field is missing or of a wrong type, or a
            number makes no sense.
    """
    result = from_json(kind, document, where)
    require_sound(result, where)
    return result


def require_sound(result: Any, where: str) -> None:
    """Refuse numbers that no command writes; ``where`` names the file.

    Raises:
        InputError: a share of weights is not from 0 to 1, an accuracy is no fraction, or a count or
            a length is negative. Also where a confidence is not between 0 and 1, an interval is
            reversed or does not hold its number, or the number of weights that are kept is not that
            of the sparsity.
    """
    accuracy = getattr(getattr(result, "data", None), "metric", "") == "accuracy"
    for place, owner, field, value in _fields(result, ""):
        said = f"{where} is not sound: {place} is {_spelled(value)}"
        if field in FRACTIONS and _number(value) and not -SLACK <= value <= 1 + SLACK:
            raise InputError(f"{said}, which is not a fraction from 0 to 1; {REMEDY}.")
        scored = accuracy and field in ("accuracy", "accuracy_before", "accuracy_after")
        if scored and not (math.isnan(value) or -SLACK <= value <= 1 + SLACK):
            raise InputError(f"{said}, which is not a fraction from 0 to 1; {REMEDY}.")
        if field in COUNTS and _number(value) and value < 0:
            raise InputError(f"{said}, which is a negative count; {REMEDY}.")
        if field in LENGTHS and _number(value) and value < 0:
            raise InputError(f"{said}, which is negative; {REMEDY}.")
        if field == "errors" and any(each < 0 for each in value.values()):
            raise InputError(f"{said}, and an error is negative; {REMEDY}.")
        if field == "confidence" and not 0 < value < 1:
            raise InputError(f"{said}, which is not between 0 and 1; {REMEDY}.")
        if field in RANGES and value is not None:
            _require_range(owner, field, value, said)
        if isinstance(owner, LayerResult) and field == "sparsity":
            _require_kept(owner, math.prod(owner.shape), said)
        if isinstance(owner, Limit) and field == "kept" and hasattr(result, "model"):
            _require_kept(owner, result.model.prunable, said)


REMEDY = "run the command that wrote it again"


def _require_kept(owner: Limit | LayerResult, weights: int, said: str) -> None:
    """Refuse a sparsity that does not fit the number of weights beside it."""
    if not abs(owner.kept - weights * (1 - owner.sparsity)) < 0.5:
        raise InputError(
            f"{said}, but {owner.kept:,} of {weights:,} weights kept is not a sparsity of "
            f"{_spelled(owner.sparsity)}; {REMEDY}."
        )


def _require_range(owner: Any, field: str, ends: tuple[float, float], said: str) -> None:
    low, high = ends
    about = _subject(owner, field)
    share = field != "interval" or about in FRACTIONS
    value = None if about is None else getattr(owner, about)
    if share and not all(-SLACK <= end <= 1 + SLACK for end in ends):
        raise InputError(
            f"{said}, and an end of this interval is not a fraction from 0 to 1; {REMEDY}."
        )
    if low > high + SLACK * max(1.0, abs(high)):
        raise InputError(
            f"{said}, and the ends of this interval are the wrong way round; {REMEDY}."
        )
    slack = SLACK * max(1.0, abs(low), abs(high))
    if value is not None and (value < low - slack or value > high + slack):
        raise InputError(
            f"{said}, and {about} is {_spelled(value)}, outside of this interval; {REMEDY}."
        )


def _subject(owner: Any, field: str) -> str | None:
    """The field that an interval is about; None where the number may lie outside."""
    if field == "band":
        return None
    if field == "expected":
        return "expected_middle"
    if field != "interval":
        return field.removesuffix("_interval")
    for name in ("sparsity", "predicted", "value"):
        # The sparsity of a tolerance is where it was read; its interval is that of the value.
        if hasattr(owner, name) and not (name == "sparsity" and hasattr(owner, "value")):
            return name
    return None


def _fields(owner: Any, place: str) -> Iterator[tuple[str, Any, str, Any]]:
    """(place, owner, name, value) of every field below, provenance left out."""
    if isinstance(owner, tuple):
        for number, each in enumerate(owner):
            if dataclasses.is_dataclass(each):
                yield from _fields(each, f"{place}.{number}")
        return
    for field in dataclasses.fields(owner):
        value = getattr(owner, field.name)
        if field.name == "provenance":
            continue
        inner = f"{place}.{field.name}".lstrip(".")
        if dataclasses.is_dataclass(value):
            yield from _fields(value, inner)
            continue
        yield inner, owner, field.name, value
        if isinstance(value, tuple):
            yield from _fields(value, inner)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(_spelled, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
