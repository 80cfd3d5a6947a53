"""How a training went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...results.types import TrainResult
from ..drawing import BLUE, GREEN, canvas, plain, require_some, titled
from ..figure import ReportFigure
from ..paper import paper
from ..words import in_percent, metric, unit

NAME = "training"
ORDER = 8
SOURCE = "prunelimit"
HELP = "Loss and test accuracy by epoch."
OF = ("train",)

__all__ = ["FIGURE", "plot_training"]

MARKED = 30
"""Epochs that have a mark each."""


def plot_training(result: TrainResult, path: Path | None = None) -> Figure:
    """Loss, with the penalty that was trained on, and test accuracy by epoch.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    require_some("epoch", result.history)
    stroke = 1.4 * paper().stroke
    epochs = [each.get("epoch", n) for n, each in enumerate(result.history)]
    with canvas(path, 2, 5.2, sharex=True) as (figure, (upper, lower)):
        look: dict[str, Any] = {"linewidth": stroke, "markersize": 4 * paper().stroke}
        look["marker"] = "o" if len(epochs) <= MARKED else ""
        scale = 100 if in_percent(result.data) else 1
        scores = [scale * each["accuracy"] for each in result.history]
        upper.plot(epochs, scores, color=GREEN, **look)
        upper.set_ylabel(f"test {metric(result.data)}" + (", %" if scale > 1 else ""))
        lower.plot(epochs, [each["loss"] for each in result.history], color=BLUE, **look)
        of = unit(result.data)
        lower.set_ylabel("training loss" + (f",{of}" if of else ""))
        lower.set_xlabel("epoch")
        lower.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        titled(upper, f"Training of {plain(result.model.spec)} on {plain(result.data.spec)}")
    return figure


def _draw(results: Sequence[TrainResult], path: Path | None) -> Figure:
    (result,) = results
    return plot_training(result, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
