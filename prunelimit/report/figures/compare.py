"""Methods side by side, with the limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...results.types import CompareResult
from ..drawing import BLACK, GREY, METHODS, ORANGE, PURPLE, canvas, score_axis, sparsity_axis
from ..figure import ReportFigure
from ..words import interval

NAME = "compare"
ORDER = 3
SOURCE = "prunelimit"
HELP = "Accuracy against sparsity, a line per method, with the limit."
OF = ("compare",)

__all__ = ["FIGURE", "plot_compare"]

OTHERS = (PURPLE, BLACK, GREY)
"""Colours of criteria, in the order they come; then again with other lines."""


def plot_compare(result: CompareResult, path: Path | None = None) -> Figure:
    """Accuracy against sparsity, a line per method, with the predicted limit and its interval.

    Both axes are logarithmic in what is lost, as in :mod:`.measure`.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    points = [p for m in result.methods for p in m.curve if p.sparsity < 1]
    floor = max(min((1 - p.sparsity for p in points), default=0.01) / 1.3, 1e-4)
    accuracies = [result.dense.accuracy, *(p.accuracy for p in points)]
    limit = result.limit
    criteria = [m.method for m in result.methods if m.method not in METHODS]
    with canvas(path) as (figure, axes):
        place = score_axis(axes, result.data, accuracies)
        low, high = (max(1 - bound, floor) for bound in limit.interval)
        axes.axvspan(high, low, color=ORANGE, alpha=0.3, linewidth=0)
        axes.axvline(
            max(1 - limit.sparsity, floor), color=ORANGE, linewidth=2,
            label=f"predicted limit {interval(limit.sparsity, limit.interval)}",
        )  # fmt: skip
        axes.axhline(place(result.dense.accuracy), color=GREY, linewidth=0.8)
        for method in result.methods:
            name, turn = method.method, 0
            colour = METHODS.get(name)
            if colour is None:
                turn, other = divmod(criteria.index(name), len(OTHERS))
                colour = OTHERS[other]
            shown = [p for p in method.curve if 1 - p.sparsity >= floor]
            axes.plot(
                [1 - p.sparsity for p in shown],
                [place(p.accuracy) for p in shown],
                color=colour, marker=".", linewidth=1.3, label=name,
                linestyle=("-", "--", "-.", ":")[min(turn, 3)],
            )  # fmt: skip
        sparsity_axis(axes, floor)
        axes.set_title(
            f"Methods on {result.model.spec}, {result.data.spec}", loc="left", fontsize=10
        )
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8,
            frameon=False,
        )  # fmt: skip
    return figure


def _draw(results: Sequence[Any], path: Path | None) -> Figure:
    (result,) = results
    return plot_compare(result, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
