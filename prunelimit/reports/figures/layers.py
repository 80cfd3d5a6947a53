"""How sparse each layer is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ...results.types import PredictResult, PruneResult
from ..drawing import (
    BLUE,
    ORANGE,
    RED,
    canvas,
    key,
    plain,
    require_numbers,
    require_some,
    short_names,
    titled,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import percent

NAME = "layers"
ORDER = 5
SOURCE = "prunelimit"
HELP = "What survives of every layer."
OF = ("predict", "prune")

__all__ = ["FIGURE", "plot_layers"]

NAMED = 40
"""Layers that can be named beside their bars."""

LOWEST = 3e-6


def plot_layers(result: PredictResult | PruneResult, path: Path | None = None) -> Figure:
    """Surviving share of every prunable tensor, on a logarithmic axis, and that of all together.

    A layer of which nothing survives has a cross of its own at the edge.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    layers, stroke = result.layers, paper().stroke
    if isinstance(result, PredictResult):
        overall, what = result.limit.sparsity, "Layers at the limit"
    else:
        overall, what = result.sparsity, f"Layers pruned by {plain(result.method)}"
    require_some("layer", layers)
    kept = [max(1 - each.sparsity, 0.0) for each in layers]
    require_numbers("a sparsity", [*kept, overall])
    present = [each for each in [*kept, 1 - overall] if each > 0] or [1.0]
    # From a power of ten on, so that two are labelled.
    floor = max(LOWEST, 10.0 ** math.floor(math.log10(0.5 * min(present))))
    left = [row for row, each in enumerate(kept) if each > 0]
    empty = [row for row, each in enumerate(kept) if not each > 0]
    rows = list(range(len(layers)))
    named = len(layers) <= NAMED
    with canvas(path, height=1.6 + 0.28 * min(max(len(layers), 2), NAMED)) as (figure, axes):
        size = (6 if named else 2.5) * stroke
        shares = [max(kept[row], floor) for row in left]
        axes.hlines(left, floor, shares, color=BLUE, linewidth=(4 if named else 1) * stroke)
        if left:
            axes.plot(
                shares, left, "o", color=BLUE, markersize=size, linestyle="none", clip_on=False,
                label="survives of a layer",
            )  # fmt: skip
        if empty:
            axes.plot(
                [floor] * len(empty), empty, "x", color=RED, markersize=size, linestyle="none",
                markeredgewidth=1.6 * stroke, clip_on=False, zorder=5,
                label="nothing survives of a layer",
            )  # fmt: skip
        axes.axvline(
            max(1 - overall, floor), color=ORANGE, linewidth=1.6 * stroke, linestyle="--",
            clip_on=False,
            label=f"of all prunable weights, {percent(1 - overall, 2)}",
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(floor, 1.0)
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g}%")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("surviving weights, % of the layer (log)")
        if named:
            room = max(12, paper().letters(0.3))
            axes.set_yticks(rows, short_names([each.name for each in layers], room))
        else:
            axes.set_ylabel("layer, from the first to the last")
        axes.grid(False, axis="y")
        titled(axes, f"{what}: {plain(result.model.spec)} on {plain(result.data.spec)}")
        key(figure, axes)
    return figure


def _draw(results: Sequence[PredictResult | PruneResult], path: Path | None) -> Figure:
    (result,) = results
    return plot_layers(result, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
