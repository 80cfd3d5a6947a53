"""A folder of checkpoints, in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..commands.history import history as history_of
from ..config import (
    CurvatureConfig,
    DataConfig,
    HistoryConfig,
    LimitConfig,
    ModelConfig,
    RunConfig,
)
from ..progress import Progress
from ..results.history import HistoryResult
from .options import configured, takes
from .progress import reporting

__all__ = ["history"]


@takes(HistoryConfig, ModelConfig, DataConfig, LimitConfig, CurvatureConfig, RunConfig)
def history(
    directory: str | Path,
    *,
    force: bool = False,
    progress: bool | Progress = False,
    **options: Any,
) -> HistoryResult:
    """Predict how sparse every checkpoint in a folder could be made, in order.

    If the folder has a prediction of a checkpoint by the same options, as JSON, it is read and not
    made again. With ``keep`` each new prediction is written there. So the same call goes on where
    one was interrupted.

    Args:
        directory: Checkpoints of one network, predictions that were saved, or both.
        force: Replace predictions by other options, where ``keep`` writes some.
        progress: True for a line on stderr, or a callable as :class:`prunelimit.progress.Progress`.

    Returns:
        ``points`` with accuracy, ``plain`` and ``limit`` of each, and the files that were
        ``left_out``.

    Raises:
        InputError: nothing there can be read, or it is of different networks or data.
        OutputError: a prediction by other options has the name of one that is to be kept.
        UsageError: a value makes no sense, or no network or data are named.
        TypeError: there is no such argument.

    Example:

    >>> import tempfile
    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> folder = tempfile.TemporaryDirectory()
    >>> for epochs in (1, 8):
    ...     trained = pl.train(problem, epochs=epochs)
    ...     file = trained.save(f"{folder.name}/epoch={epochs}.safetensors")
    >>> found = pl.history(folder.name, samples=100, steps=10, probes=1)
    >>> found.order, [point.epoch for point in found.points]
    ('epoch', [1, 8])
    """
    with reporting(progress) as told:
        return history_of(
            Path(directory),
            configured(ModelConfig, options),
            configured(DataConfig, options),
            configured(RunConfig, options),
            configured(CurvatureConfig, options),
            configured(LimitConfig, options),
            configured(HistoryConfig, options),
            force=force,
            progress=told,
        )
