"""What the prediction rests on: the loss along the pruning path, and what the model says of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ...results.types import PredictResult
from ..drawing import (
    BLACK,
    BLUE,
    RED,
    canvas,
    key,
    least_kept,
    level,
    plain,
    require_some,
    sparsity_axis,
    titled,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import unit

NAME = "path"
ORDER = 6
SOURCE = "prunelimit"
HELP = "The loss along the pruning path, and what the second-order model says of it."
OF = ("predict",)

__all__ = ["FIGURE", "plot_path"]


def plot_path(result: PredictResult, path: Path | None = None) -> Figure:
    """Loss rises along the pruning path, nats, actual and modelled; what is not above zero is not
    shown.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    points = [each for each in result.reliability.path if each.sparsity < 1]
    require_some("loss along a pruning path", points)
    floor = least_kept(p.sparsity for p in points)
    stroke = paper().stroke
    lines = (
        ("actual", [p.loss_rise for p in points], BLACK, "o", "-"),
        ("linear and quadratic part", [p.linear_rise + p.quadratic_rise for p in points],
         BLUE, "s", "--"),
        ("quadratic part", [p.quadratic_rise for p in points], RED, "^", ":"),
    )  # fmt: skip
    with canvas(path) as (figure, axes):
        for label, rises, colour, marker, line in lines:
            seen = [(1 - p.sparsity, y) for p, y in zip(points, rises, strict=True) if y > 0]
            axes.plot(
                [x for x, _ in seen], [y for _, y in seen], color=colour, marker=marker,
                linestyle=line, linewidth=1.4 * stroke, markersize=5 * stroke,
                label=label if seen else f"{label}: never above zero",
            )  # fmt: skip
        level(axes, result.epsilon.value, "epsilon")
        axes.set_yscale("log")
        rises = [y for _, each, *_ in lines for y in each if math.isfinite(y)]
        highest = max([result.epsilon.value, *rises])
        axes.set_ylim(min(1e-4 * highest, 0.1 * result.epsilon.value), 3 * highest)
        of = unit(result.data)
        axes.set_ylabel("loss rise" + (f",{of}" if of else "") + " (log)")
        sparsity_axis(axes, floor)
        titled(
            axes,
            f"Loss along the pruning path of {plain(result.model.spec)} on "
            f"{plain(result.data.spec)}",
        )
        key(figure, axes, 3)
    return figure


def _draw(results: Sequence[PredictResult], path: Path | None) -> Figure:
    (result,) = results
    return plot_path(result, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
