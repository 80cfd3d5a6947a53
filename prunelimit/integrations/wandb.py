"""Numbers for Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import wandb

from ..errors import UsageError
from ..results.history import HistoryResult
from ..results.types import PredictResult
from .record import series_of

__all__ = ["WandbLogger", "log"]


class WandbLogger:
    """Writes to ``run``, or to the run that is active.

    The numbers have an axis of their own, "prunelimit/step": W&B's own step counts calls and never
    goes back.

    Raises:
        UsageError: there is no run.
    """

    def __init__(self, run: Any = None) -> None:
        self.run: Any = wandb.run if run is None else run
        if self.run is None:
            raise UsageError("There is no run of W&B; call wandb.init first, or give a run.")
        self.run.define_metric("prunelimit/step")
        self.run.define_metric("prunelimit/*", step_metric="prunelimit/step")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`.record.Logger`."""
        self.run.log({**values, "prunelimit/step": step})


def log(result: PredictResult | HistoryResult, *, step: int = 0, run: Any = None) -> None:
    """Write a prediction, or a history point by point."""
    logger = WandbLogger(run)
    for at, values in series_of(result, step).items():
        logger.log(values, at)
