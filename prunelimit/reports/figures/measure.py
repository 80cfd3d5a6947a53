"""Accuracy and loss against sparsity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...results.types import MeasureResult, PredictResult, Threshold
from ..drawing import (
    GREY,
    ORANGE,
    PURPLE,
    Look,
    canvas,
    counted_out,
    error_bars,
    key,
    least_kept,
    level,
    looks,
    loss_axis,
    numbers,
    plain,
    require_some,
    score_axis,
    score_place,
    sparsity_axis,
    titled,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import interval, metric, percent, unit, verdict

NAME = "measure"
ORDER = 2
SOURCE = "prunelimit"
HELP = "Accuracy and loss against sparsity, with what was predicted where it is given."
OF = ("measure",)
BESIDE = ("predict",)
MANY = True

__all__ = ["FIGURE", "plot_measure"]

THICK = 2.4
"""Width of the bar of a threshold's interval."""


def plot_measure(
    results: Sequence[MeasureResult], predicted: PredictResult | None, path: Path | None = None
) -> Figure:
    """Accuracy and loss against sparsity, with what was predicted and what was measured.

    Both axes of the upper half are logarithmic in what is lost: surviving weights and errors. Its
    bars are the sampling error of the test samples, at the level that the measurement has.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    require_some("point of a curve", (p for each in results for p in each.curve))
    dense = results[0].dense
    target = dense.loss + results[0].epsilon.value
    curves = [p for r in results for p in r.curve if p.sparsity < 1]
    foretold = [] if predicted is None else _numbers(predicted, results)
    marked = [sparsity for _, sparsity, *_ in foretold]
    floor = least_kept((p.sparsity for p in curves), marked)
    data = results[0].data
    known = [p for p in curves if numbers(p)]
    scores = [p.accuracy for p in known]
    place = score_place(data, scores)
    styles = looks(result.method for result in results)
    stroke = paper().stroke
    # Only a share of samples has the sampling error that the bars show.
    shares = data.metric == "accuracy" and data.test_samples > 0
    with canvas(path, 2, 6.8, sharex=True) as (figure, (upper, lower)):
        for result in results:
            look = styles[result.method]
            points = [p for p in result.curve if numbers(p) and 1 - p.sparsity >= floor]
            kept = [1 - p.sparsity for p in points]
            errors = [place(p.accuracy) for p in points]
            style: dict[str, Any] = {
                "color": look.colour, "marker": look.marker, "linestyle": look.line,
                "linewidth": 1.3 * stroke, "markersize": 3.5 * stroke,
            }  # fmt: skip
            upper.plot(kept, errors, label=f"measured, {plain(result.method)}", **style)
            lower.plot(kept, [p.loss for p in points], **style)
            if shares and points:
                upper.errorbar(
                    kept, errors, fmt="none", ecolor=look.colour, elinewidth=0.8 * stroke,
                    yerr=error_bars(
                        [p.accuracy for p in points], result.data.test_samples,
                        _confidence(result), place(1.0),
                    ),
                )  # fmt: skip
        _thresholds(results, styles, upper, lower, floor, place)
        upper.axhline(place(dense.accuracy), color=GREY, linewidth=0.8)
        level(lower, target, "dense loss + epsilon")
        _predictions(foretold, upper, lower, floor)
        if shares:
            sure = f"{100 * _confidence(results[0]):g}%"
            samples = f"{results[0].data.test_samples:,}"
            upper.plot([], [], " ", label=f"bars: {sure} sampling error of {samples} test samples")
        counted_out(upper, len(curves) - len(known))
        tall = paper().height(6.8) / 2.6
        score_axis(upper, data, scores, tall)
        of = unit(data)
        label = "mean training loss" + (f",{of}" if of else "")
        loss_axis(lower, label, [target, *(p.loss for p in known)], tall)
        sparsity_axis(lower, floor)
        title = f"Sparsity of {plain(results[0].model.spec)} on {plain(results[0].data.spec)}"
        if predicted is not None:
            title += f"; {verdict(predicted.reliability)}"
        titled(upper, title)
        key(figure, upper)
    return figure


def _confidence(result: MeasureResult) -> float:
    found = result.provenance.config.get("measure", {}).get("confidence", 0.95)
    return found if isinstance(found, float) and 0 < found < 1 else 0.95


_Foretold = list[tuple[str, float, tuple[float, float], str, str]]
"""Name, sparsity, interval, colour and line of what was predicted."""


def _numbers(predicted: PredictResult, results: Sequence[MeasureResult]) -> _Foretold:
    """The limit, plain if it is known, and what is expected of trained survivors if some are
    there."""
    limit = predicted.limit
    name = "limit" if predicted.reliability.ok else "limit (not reliable)"
    numbers = [(name, limit.sparsity, limit.interval, ORANGE, "-")]
    if predicted.one_shot is not None:
        plainly = predicted.one_shot
        numbers.append(("plain", plainly.sparsity, plainly.interval, ORANGE, "-."))
    trained = any(each.witness is not None for each in results)
    if trained and limit.expected is not None and limit.expected_middle is not None:
        numbers.append(
            ("for trained survivors", limit.expected_middle, limit.expected, PURPLE, "--")
        )
    return numbers


def _predictions(foretold: _Foretold, upper: Axes, lower: Axes, floor: float) -> None:
    """What was predicted, each with its interval."""
    stroke = 2 * paper().stroke
    for name, sparsity, bounds, colour, line in foretold:
        low, high = (max(1 - bound, floor) for bound in bounds)
        for axes in (upper, lower):
            axes.axvspan(high, low, color=colour, alpha=0.22, linewidth=0)
            axes.axvline(
                max(1 - sparsity, floor), color=colour, linewidth=stroke, linestyle=line,
                clip_on=False,
            )  # fmt: skip
        upper.plot(
            [], [], color=colour, linewidth=stroke, linestyle=line,
            label=f"predicted {name} {interval(sparsity, bounds)}",
        )  # fmt: skip


def _thresholds(
    results: Sequence[MeasureResult],
    styles: Mapping[str, Look],
    upper: Axes,
    lower: Axes,
    floor: float,
    place: Callable[[float], float],
) -> None:
    """Mark the first accuracy threshold and the loss threshold of every method, with intervals."""
    stroke = paper().stroke
    for result in results:
        colour = styles[result.method].colour
        accuracy = next((t for t in result.thresholds if t.rule == "accuracy"), None)
        if accuracy is not None and not result.method.endswith("+trained"):
            upper.axvline(
                max(1 - accuracy.sparsity, floor), color=colour, linestyle="--",
                linewidth=1.2 * stroke,
                label=f"{metric(result.data)} within {100 * accuracy.tolerance:g} pp to "
                f"{percent(accuracy.sparsity)}",
            )  # fmt: skip
            lowest = place(result.dense.accuracy - accuracy.tolerance)
            _span(upper, accuracy, lowest, colour, floor)
        loss = next((t for t in result.thresholds if t.rule in ("loss", "feasibility")), None)
        if loss is not None:
            words = "loss" if loss.rule == "loss" else "feasible"
            kept = max(1 - loss.sparsity, floor)
            lower.axvline(kept, color=colour, linestyle=":", linewidth=1.6 * stroke)
            _span(lower, loss, result.dense.loss + result.epsilon.value, colour, floor)
            upper.plot(
                [], [], color=colour, linestyle=":", linewidth=1.6 * stroke,
                label=f"{words} ({plain(result.method)}) to {percent(loss.sparsity)}",
            )  # fmt: skip
    if any(result.thresholds for result in results):
        upper.plot([], [], color=GREY, linewidth=THICK * stroke, label="intervals of thresholds")


def _span(axes: Axes, threshold: Threshold, height: float, colour: str, floor: float) -> None:
    """A threshold's interval as a bar at the level that it is about."""
    low, high = threshold.interval
    here = max(1 - threshold.sparsity, floor)
    sides = [[here - min(here, max(1 - high, floor))], [max(here, 1 - low) - here]]
    axes.errorbar(
        [here], [height], xerr=sides, fmt="none", ecolor=colour, elinewidth=THICK * paper().stroke
    )


def _draw(results: Sequence[Any], path: Path | None) -> Figure:
    """Of any number of measurements, and a prediction among them if there is one."""
    predicted = [each for each in results if isinstance(each, PredictResult)]
    measured = [each for each in results if not isinstance(each, PredictResult)]
    return plot_measure(measured, predicted[0] if predicted else None, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
