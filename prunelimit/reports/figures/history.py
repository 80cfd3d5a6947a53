"""How sparse a network could be made, over its checkpoints."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...results.history import HistoryPoint, HistoryResult
from ..drawing import (
    BLUE,
    GREEN,
    ORANGE,
    canvas,
    key,
    plain,
    require_numbers,
    require_some,
    titled,
    wrapped,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import in_percent, metric

NAME = "history"
ORDER = 10
SOURCE = "prunelimit"
HELP = "Plain, limit and dense accuracy over the checkpoints of one network."
OF = ("history",)

__all__ = ["FIGURE", "plot_history"]

MARKED = 60
"""Checkpoints that have marks of full size."""

WORDS = {"epoch": "epoch", "step": "step"}


def plot_history(result: HistoryResult, path: Path | None = None) -> Figure:
    """What can be removed, with intervals, and below it the dense network's score.

    An open mark is a limit that is not reliable.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    require_some("checkpoint", result.points)
    points, stroke = result.points, paper().stroke
    require_numbers(
        "a limit or a score", [x for p in points for x in (p.limit, *p.limit_interval, p.accuracy)]
    )
    scale = 100 if in_percent(result.data) else 1
    score = f"test {metric(result.data)}"
    size = (4 if len(points) <= MARKED else 2) * stroke
    places = [float(_place(point, result.order, i)) for i, point in enumerate(points)]
    with canvas(path, 2, 6.0, sharex=True) as (figure, (upper, lower)):
        limits = [100 * each.limit for each in points]
        bounds = [
            [max(0.0, 100 * (each.limit - each.limit_interval[0])) for each in points],
            [max(0.0, 100 * (each.limit_interval[1] - each.limit)) for each in points],
        ]
        upper.errorbar(
            places, limits, yerr=bounds, color=ORANGE, marker="s", markersize=size,
            linewidth=1.3 * stroke, elinewidth=1.0 * stroke, label="limit",
        )  # fmt: skip
        unsure = [i for i, each in enumerate(points) if not each.reliable]
        if unsure:
            upper.plot(
                [places[i] for i in unsure], [limits[i] for i in unsure], "s", color=ORANGE,
                zorder=5, markerfacecolor="white", markersize=size, linestyle="none",
                label="limit, not reliable",
            )  # fmt: skip
        shown = [i for i, each in enumerate(points) if each.plain is not None]
        if shown:
            upper.plot(
                [places[i] for i in shown], [100 * (points[i].plain or 0.0) for i in shown],
                color=BLUE, marker="o", markersize=size, linewidth=1.3 * stroke,
                linestyle="--", label="plain",
            )  # fmt: skip
        lower.plot(
            places, [scale * each.accuracy for each in points], color=GREEN, marker="^",
            markersize=size, linewidth=1.3 * stroke,
            label=f"{score}, dense",
        )  # fmt: skip
        upper.set_ylabel(wrapped("sparsity, % of prunable weights", 0.3))
        lower.set_ylabel(wrapped(score + (", %" if scale > 1 else ""), 0.3))
        lower.set_xlabel(WORDS.get(result.order, "checkpoint, from the first to the last"))
        lower.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        upper.plot([], [], color=GREEN, marker="^", label=f"{score}, dense")
        titled(upper, f"Checkpoints of {plain(result.model.spec)} on {plain(result.data.spec)}")
        key(figure, upper)
    return figure


def _place(point: HistoryPoint, order: str, index: int) -> int:
    value = getattr(point, order, None) if order in WORDS else None
    return index + 1 if value is None else value


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=lambda results, path: plot_history(results[0], path))
