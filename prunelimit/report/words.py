"""How numbers are said to people: percentages, never fractions."""

from __future__ import annotations

from ..results import Threshold

__all__ = ["interval", "percent", "rule"]


def percent(fraction: float) -> str:
    """A fraction as a percentage, finer where little survives."""
    digits = 2 if fraction > 0.98 and fraction < 1 else 1
    return f"{100 * fraction:.{digits}f}%"


def interval(fraction: float, bounds: tuple[float, float]) -> str:
    """A fraction with its interval, as ``93.7% (93.1-94.2)``."""
    low, high = (percent(bound).rstrip("%") for bound in bounds)
    return f"{percent(fraction)} ({low}-{high})"


def rule(threshold: Threshold) -> str:
    """What a threshold holds, in words."""
    if threshold.rule == "accuracy":
        return f"accuracy within {100 * threshold.tolerance:g} pp of dense"
    return {
        "dense-accuracy": "accuracy at least dense",
        "loss": f"loss within epsilon ({threshold.tolerance:.3g})",
        "feasibility": f"survivors trained to loss within epsilon ({threshold.tolerance:.3g})",
    }.get(threshold.rule, threshold.rule)
