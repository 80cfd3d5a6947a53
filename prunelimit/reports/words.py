"""How numbers are said to people: percentages, never fractions."""

from __future__ import annotations

from collections.abc import Iterable

from .. import plugins
from ..results.types import DataInfo, OneShot, Reliability, SharpnessMeasure, Threshold

__all__ = [
    "SOURCES",
    "ZEROS",
    "basis",
    "count",
    "digits",
    "fall",
    "in_percent",
    "interval",
    "matrix",
    "measure_name",
    "metric",
    "modelled",
    "percent",
    "predicted",
    "rule",
    "score",
    "span",
    "unit",
    "verdict",
]


ZEROS = "Zeros take less space once packed, as in .pt.gz; they do not make a CPU or GPU faster."
"""What removed weights are good for."""
SOURCES = {"network": "what is not pruned"}
"""Sources of error whose names say too little by themselves."""


def digits(fractions: Iterable[float]) -> int:
    """Decimals that percentages shown together need: more where little survives."""
    least = min((1 - each for each in fractions if each < 1), default=1.0)
    return 1 if least > 0.02 else 2 if least > 0.001 else 3


def percent(fraction: float, places: int | None = None) -> str:
    """A fraction as a percentage with ``places`` decimals; by default, what it needs alone."""
    return f"{100 * fraction:.{digits([fraction]) if places is None else places}f}%"


def measure_name(measure: SharpnessMeasure) -> str:
    """What people call a measure of sharpness."""
    name = measure.name
    if measure.parameter is not None:
        order = name.startswith("Renyi")
        name += f" of order {measure.parameter:g}" if order else f" at {measure.parameter:.3g}"
    return name if measure.layer is None else f"{name}, {measure.layer}"


def metric(data: DataInfo) -> str:
    """What people call the metric: that of a user's own by the name of its function."""
    return plugins.label("metric", data.metric).rpartition(":")[2]


def in_percent(data: DataInfo) -> bool:
    """Whether the metric is read in percent."""
    known = (each for each in plugins.describe("metric") if each.name == data.metric)
    return any(each.facts.get("percent", False) for each in known)


def score(value: float, data: DataInfo) -> str:
    """A value of the metric; an accuracy with two decimals, as on test sets of ten thousand."""
    return f"{100 * value:.2f}%" if in_percent(data) else f"{value:.4f}"


def fall(drop: float, error: float, data: DataInfo) -> str:
    """What the metric lost, with its standard error."""
    if in_percent(data):
        return f"{0.0 - 100 * drop:+.2f} pp, +- {100 * error:.2f}"
    return f"{0.0 - drop:+.4f}, +- {error:.4f}"


def unit(data: DataInfo) -> str:
    """Of the loss, with a space before it: nats of a logarithm of probabilities, else none."""
    return " nats" if data.loss in ("cross-entropy", "bce") else ""


def interval(fraction: float, bounds: tuple[float, float]) -> str:
    """A fraction with its interval, as ``93.7% (93.1-94.2)``: all of the same precision."""
    places = digits([fraction, bounds[0]])
    low, high = (percent(bound, places).rstrip("%") for bound in bounds)
    return f"{percent(fraction, places)} ({low}-{high})"


def count(number: int, singular: str) -> str:
    """A number of things, in the plural unless it is one."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def matrix(kind: str) -> str:
    """The name of a curvature matrix."""
    return plugins.label("curvature", kind)


def rule(threshold: Threshold, data: DataInfo) -> str:
    """What a threshold holds, in words."""
    if threshold.rule == "accuracy":
        return f"{metric(data)} within {100 * threshold.tolerance:g} pp of dense"
    return {
        "dense-accuracy": f"{metric(data)} at least dense, at the last point measured so",
        "loss": f"loss within epsilon ({threshold.tolerance:.3g})",
        "feasibility": f"survivors trained to loss within epsilon ({threshold.tolerance:.3g})",
    }.get(threshold.rule, threshold.rule)


def modelled(found: OneShot) -> str:
    """What the second-order model alone says of a plain threshold, and how far off it is."""
    parts = []
    if found.modelled is not None:
        parts.append(f"second-order model alone {percent(found.modelled)}")
    if found.ratio is not None:
        parts.append(f"actual rise {found.ratio:.2g} times the model's")
    return "; ".join(parts)


def basis(found: OneShot) -> str:
    """Which samples a plain threshold comes of, and so whether it is a measurement."""
    if found.samples >= found.of_samples:
        return f"measured on all {found.of_samples:,} training samples"
    return f"predicted from {found.samples:,} of {found.of_samples:,} training samples"


def predicted(number: str) -> str:
    """The name of a predicted number, by that of a target."""
    return {
        "one-shot": "predicted plain",
        "limit": "predicted limit",
        "between": "predicted between plain and limit",
    }.get(number, "predicted")


def verdict(reliability: Reliability) -> str:
    """Whether the limit is reliable, as a part of a title."""
    return f"the limit is {'' if reliability.ok else 'not '}reliable"


def span(seconds: float) -> str:
    """A time to wait, about."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
