"""Methods side by side, with the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...results.types import CompareResult, OneShot, PredictResult
from ..drawing import (
    GREY,
    ORANGE,
    canvas,
    counted_out,
    key,
    least_kept,
    looks,
    plain,
    score_axis,
    score_place,
    sparsity_axis,
    titled,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import interval

NAME = "compare"
ORDER = 3
SOURCE = "prunelimit"
HELP = "Accuracy against sparsity, a line per method, with the limit."
OF = ("compare",)
BESIDE = ("predict",)

__all__ = ["FIGURE", "plot_compare"]


def plot_compare(
    result: CompareResult, path: Path | None = None, *, one_shot: OneShot | None = None
) -> Figure:
    """Accuracy against sparsity, a line per method, with the predicted limit and its interval.

    Both axes are logarithmic in what is lost, as in :mod:`.measure`. ``one_shot`` is marked too
    where it is given.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    points = [p for m in result.methods for p in m.curve if p.sparsity < 1]
    marked = [result.limit.sparsity] + ([] if one_shot is None else [one_shot.sparsity])
    floor = least_kept((p.sparsity for p in points), marked)
    known = [p.accuracy for p in points if math.isfinite(p.accuracy)]
    accuracies = [result.dense.accuracy, *known]
    place = score_place(result.data, accuracies)
    limit, stroke = result.limit, paper().stroke
    styles = looks(method.method for method in result.methods)
    with canvas(path, height=5.2) as (figure, axes):
        low, high = (max(1 - bound, floor) for bound in limit.interval)
        axes.axvspan(high, low, color=ORANGE, alpha=0.25, linewidth=0)
        axes.axvline(
            max(1 - limit.sparsity, floor), color=ORANGE, linewidth=2 * stroke,
            clip_on=False, label=f"predicted limit {interval(limit.sparsity, limit.interval)}",
        )  # fmt: skip
        if one_shot is not None:
            axes.axvline(
                max(1 - one_shot.sparsity, floor), color=ORANGE, linewidth=2 * stroke,
                linestyle="-.", clip_on=False,
                label=f"predicted plain {interval(one_shot.sparsity, one_shot.interval)}",
            )  # fmt: skip
        axes.axhline(place(result.dense.accuracy), color=GREY, linewidth=0.8)
        for method in result.methods:
            look = styles[method.method]
            shown = [p for p in method.curve if 1 - p.sparsity >= floor]
            axes.plot(
                [1 - p.sparsity for p in shown],
                [place(p.accuracy) for p in shown],
                color=look.colour, marker=look.marker, linestyle=look.line,
                linewidth=1.3 * stroke, markersize=4.5 * stroke, label=plain(method.method),
            )  # fmt: skip
        counted_out(axes, len(points) - len(known))
        score_axis(axes, result.data, accuracies, 0.6 * paper().height(5.2))
        sparsity_axis(axes, floor)
        titled(axes, f"Methods on {plain(result.model.spec)}, {plain(result.data.spec)}")
        key(figure, axes, 3)
    return figure


def _draw(results: Sequence[Any], path: Path | None) -> Figure:
    """Of a comparison, and a prediction beside it if there is one."""
    (result,) = (each for each in results if not isinstance(each, PredictResult))
    beside = [each.one_shot for each in results if isinstance(each, PredictResult)]
    return plot_compare(result, path, one_shot=beside[0] if beside else None)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
