"""Accuracy and loss against sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...results.types import MeasureResult, PredictResult
from ..drawing import GREY, METHODS, ORANGE, canvas, score_axis, sparsity_axis
from ..figure import ReportFigure
from ..words import interval, metric, percent, unit

NAME = "measure"
ORDER = 2
SOURCE = "prunelimit"
HELP = "Accuracy and loss against sparsity, and the limit where it is given."
OF = ("measure",)

__all__ = ["FIGURE", "plot_measure"]


def plot_measure(
    results: Sequence[MeasureResult], predicted: PredictResult | None, path: Path | None = None
) -> Figure:
    """Accuracy and loss against sparsity, with what was predicted and what was measured.

    Both axes of the upper half are logarithmic in what is lost: surviving weights and errors.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    dense = results[0].dense
    target = dense.loss + results[0].epsilon.value
    curves = [p for r in results for p in r.curve if p.sparsity < 1]
    floor = max(min((1 - p.sparsity for p in curves), default=0.01) / 1.3, 1e-4)
    with canvas(path, 2, 6.4, sharex=True) as (figure, (upper, lower)):
        data = results[0].data
        place = score_axis(upper, data, [p.accuracy for p in curves])
        for result in results:
            colour = METHODS.get(result.method, GREY)
            points = [p for p in result.curve if 1 - p.sparsity >= floor]
            kept = [1 - p.sparsity for p in points]
            errors = [place(p.accuracy) for p in points]
            style: dict[str, Any] = {"color": colour, "marker": ".", "linewidth": 1.3}
            upper.plot(kept, errors, label=f"measured, {result.method}", **style)
            lower.plot(kept, [p.loss for p in points], **style)
        _thresholds(results, upper, lower, floor)
        upper.axhline(place(dense.accuracy), color=GREY, linewidth=0.8)
        lower.axhline(target, color=GREY, linewidth=0.8)
        lower.annotate(
            "dense loss + epsilon", (1, target), xytext=(2, 3), textcoords="offset points",
            fontsize=8, color=GREY,
        )  # fmt: skip
        if predicted is not None:
            limit = predicted.limit
            low, high = (max(1 - bound, floor) for bound in limit.interval)
            for axes in (upper, lower):
                axes.axvspan(high, low, color=ORANGE, alpha=0.3, linewidth=0)
                axes.axvline(max(1 - limit.sparsity, floor), color=ORANGE, linewidth=2)
            upper.plot(
                [], [], color=ORANGE, linewidth=2,
                label=f"predicted limit {interval(limit.sparsity, limit.interval)}",
            )  # fmt: skip
        lower.set_ylabel("mean training loss" + (f",{unit(data)}" if unit(data) else ""))
        lower.set_yscale("log")
        sparsity_axis(lower, floor)
        upper.set_title(
            f"Sparsity of {results[0].model.spec} on {results[0].data.spec}", loc="left",
            fontsize=10,
        )  # fmt: skip
        figure.legend(
            *upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8,
            frameon=False,
        )  # fmt: skip
    return figure


def _thresholds(results: Sequence[MeasureResult], upper: Axes, lower: Axes, floor: float) -> None:
    """Mark the first accuracy threshold and the loss threshold of every method."""
    for result in results:
        colour = METHODS.get(result.method, GREY)
        accuracy = next((t for t in result.thresholds if t.rule == "accuracy"), None)
        if accuracy is not None and not result.method.endswith("+trained"):
            upper.axvline(
                max(1 - accuracy.sparsity, floor), color=colour, linestyle="--", linewidth=1.2,
                label=f"{metric(result.data)} within {100 * accuracy.tolerance:g} pp to "
                f"{percent(accuracy.sparsity)}",
            )  # fmt: skip
        loss = next((t for t in result.thresholds if t.rule in ("loss", "feasibility")), None)
        if loss is not None:
            words = "loss" if loss.rule == "loss" else "feasible"
            kept = max(1 - loss.sparsity, floor)
            lower.axvline(kept, color=colour, linestyle=":", linewidth=1.6)
            upper.plot(
                [], [], color=colour, linestyle=":", linewidth=1.6,
                label=f"{words} ({result.method}) to {percent(loss.sparsity)}",
            )  # fmt: skip


def _draw(results: Sequence[Any], path: Path | None) -> Figure:
    """Of any number of measurements, and a prediction among them if there is one."""
    predicted = [each for each in results if isinstance(each, PredictResult)]
    measured = [each for each in results if each not in predicted]
    return plot_measure(measured, predicted[0] if predicted else None, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
