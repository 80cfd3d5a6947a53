"""What figures have in common: paper, colours and axes.

The colours are those of Okabe and Ito, told apart by everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..results.types import DataInfo
from ..storage.files import writing
from .words import in_percent, metric

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "METHODS",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "canvas",
    "score_axis",
    "sparsity_axis",
]

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
BLACK, SKY, PURPLE = "#222222", "#56B4E9", "#CC79A7"
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
METHODS = {
    "magnitude": BLUE,
    "magnitude+trained": GREEN,
    "magnitude+compensated": SKY,
    "magnitude+staged": RED,
}
"""Colours of the methods that stand beside the limit most often."""


@contextmanager
def canvas(
    path: Path | None, rows: int = 1, height: float = 4.6, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """A figure and its axes, written to ``path`` at the end if there is one."""
    figure = Figure(figsize=(8.5, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, **options)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    yield figure, axes
    if path is None:
        return
    kind = path.suffix.lstrip(".") or "png"
    # Without the creation date and random names the same result gives the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with writing(path, force=True) as temporary, rc_context({"svg.hashsalt": "prunelimit"}):
        figure.savefig(temporary, format=kind, dpi=140, metadata=metadata)


def accuracy_axis(axes: Axes, fewest: float) -> None:
    """Share of errors on a logarithmic axis that grows downwards, labelled with the accuracy."""
    axes.set_yscale("log")
    axes.set_ylim(1.0, fewest / 1.2)
    ticks = [t for t in TICKS if 1 - t >= fewest]
    axes.yaxis.set_major_locator(FixedLocator([1 - t for t in ticks]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * (1 - y):.3g}"))


def score_axis(axes: Axes, data: DataInfo, scores: Sequence[float]) -> Callable[[float], float]:
    """The axis of the metric: of one in percent as :func:`accuracy_axis`, of another as it is.

    Returns:
        Where a value of the metric stands on it.
    """
    if not in_percent(data):
        axes.set_ylabel(f"test {metric(data)}")
        return float
    fewest = min([1 - each for each in scores if each < 1] or [0.01])
    axes.set_ylabel(f"test {metric(data)}, %")
    accuracy_axis(axes, fewest / 2)
    return lambda value: max(1 - value, fewest / 2)


def sparsity_axis(axes: Axes, floor: float) -> None:
    """Surviving fraction on a logarithmic axis, labelled with the sparsity."""
    axes.set_xscale("log")
    axes.set_xlim(1.0, floor)
    ticks = [s for s in TICKS if 1 - s >= floor]
    axes.xaxis.set_major_locator(FixedLocator([1 - s for s in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - x):.3g}%"))
    axes.set_xlabel("sparsity, % of prunable weights removed (log of what survives)")
