"""Numbers for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ..results.history import HistoryResult
from ..results.types import PredictResult
from .record import series_of

__all__ = ["TensorBoardLogger", "log"]


class TensorBoardLogger:
    """Writes scalars to ``writer``, or to a writer of its own in a folder."""

    def __init__(self, writer: SummaryWriter | str | Path) -> None:
        if isinstance(writer, (str, Path)):
            writer = SummaryWriter(str(writer))
        self.writer: SummaryWriter = writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`.record.Logger`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()


def log(
    result: PredictResult | HistoryResult, writer: SummaryWriter | str | Path, *, step: int = 0
) -> None:
    """Write a prediction, or a history point by point."""
    logger = TensorBoardLogger(writer)
    for at, values in series_of(result, step).items():
        logger.log(values, at)
