"""How a training went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ...results.types import TrainResult
from ..drawing import BLUE, GREEN, canvas, plain, titled
from ..figure import ReportFigure
from ..paper import paper

NAME = "training"
ORDER = 8
SOURCE = "prunelimit"
HELP = "Loss and test accuracy by epoch."
OF = ("train",)

__all__ = ["FIGURE", "plot_training"]


def plot_training(result: TrainResult, path: Path | None = None) -> Figure:
    """Loss, with the penalty that was trained on, and test accuracy by epoch.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    stroke = 1.4 * paper().stroke
    epochs = [each.get("epoch", n) for n, each in enumerate(result.history)]
    with canvas(path, 2, 5.2, sharex=True) as (figure, (upper, lower)):
        upper.plot(epochs, [100 * each["accuracy"] for each in result.history], color=GREEN,
                   linewidth=stroke)  # fmt: skip
        upper.set_ylabel("test accuracy, %")
        lower.plot(epochs, [each["loss"] for each in result.history], color=BLUE, linewidth=stroke)
        lower.set_ylabel("training loss, nats")
        lower.set_xlabel("epoch")
        titled(upper, f"Training of {plain(result.model.spec)} on {plain(result.data.spec)}")
    return figure


def _draw(results: Sequence[TrainResult], path: Path | None) -> Figure:
    (result,) = results
    return plot_training(result, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
