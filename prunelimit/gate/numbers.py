"""The numbers that gates compare: which are refused, their sampling error, how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scipy.special import ndtri

from ..errors import InputError
from ..results.types import MeasurePoint

__all__ = ["accuracy_interval", "interval", "percent", "require_distinct", "require_fractions"]

CONFIDENCE = 0.95
"""Level of the intervals of gates."""


def require_fractions(holder: str, remedy: str, values: Iterable[float]) -> None:
    """Refuse numbers that no gate can be passed with: JSON has null for what is not finite.

    Raises:
        InputError: one is not from 0 to 1.
    """
    for value in values:
        if not 0 <= value <= 1:
            raise InputError(f"{holder} {value}, which is not a fraction from 0 to 1; {remedy}.")


def require_distinct(curve: Sequence[MeasurePoint]) -> None:
    """Refuse a curve with two points at one sparsity.

    Raises:
        InputError: it has.
    """
    if len({point.sparsity for point in curve}) < len(curve):
        raise InputError("A measurement has two points at one sparsity; run measure again.")


def accuracy_interval(
    accuracy: float, samples: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of Wilson (1927) for a share of ``samples`` test samples, one or more.

    >>> low, high = accuracy_interval(0.97, 10_000)
    >>> round(low, 4), round(high, 4)
    (0.9665, 0.9732)
    """
    right = min(max(round(accuracy * samples), 0), samples)
    z = float(ndtri(0.5 + confidence / 2))
    middle = (right + z**2 / 2) / (samples + z**2)
    half = z * math.sqrt(right * (samples - right) / samples + z**2 / 4) / (samples + z**2)
    return max(0.0, min(middle - half, accuracy)), min(1.0, max(middle + half, accuracy))


def percent(fraction: float) -> str:
    """Two decimals, as every sentence of a gate has them."""
    return f"{100 * fraction:.2f}%"


def interval(value: float, bounds: tuple[float, float]) -> str:
    """A number and its interval."""
    return f"{percent(value)} ({percent(bounds[0])} to {percent(bounds[1])})"
