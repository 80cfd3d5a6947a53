"""Numbers for MLflow."""

from __future__ import annotations

from collections.abc import Mapping

import mlflow

from ..results.history import HistoryResult
from ..results.types import PredictResult
from .record import series_of

__all__ = ["MLflowLogger", "log"]


class MLflowLogger:
    """Writes metrics to the run that is active, or to the one with ``run_id``."""

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See :class:`.record.Logger`."""
        mlflow.log_metrics(dict(values), step=step, run_id=self.run_id)


def log(result: PredictResult | HistoryResult, *, step: int = 0, run_id: str | None = None) -> None:
    """Write a prediction with its whole JSON, or a history point by point."""
    logger = MLflowLogger(run_id)
    for at, values in series_of(result, step).items():
        logger.log(values, at)
    name = result.SCHEMA.split(".")[1].split("/")[0]
    mlflow.log_dict(result.to_dict(), f"prunelimit/{name}.json", run_id=run_id)
