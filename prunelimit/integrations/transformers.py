"""A callback of the Trainer of transformers: limit and plain every so many epochs.

trainer = transformers.Trainer(..., callbacks=[PrunabilityCallback((train, test), every=1)])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import transformers
from torch import nn

from ..results.types import PredictResult
from .record import Logger, Recorder, require_whole

__all__ = ["PrunabilityCallback"]


class PrunabilityCallback(transformers.TrainerCallback):
    """Records how sparse the network could be made, at the end of every ``every``-th epoch.

    The numbers join the trainer's ``state.log_history``, which its checkpoints hold.

    Args:
        data: ``(train, test)`` as :class:`prunelimit.Problem` takes them: inputs may be dicts.
        every: Epochs between two records.
        loggers: Loggers of this package.
        problem: Other arguments of :class:`prunelimit.Problem`, such as ``loss``.
        options: Any argument of :func:`prunelimit.predict`, such as ``max_seconds``.
    """

    def __init__(
        self,
        data: tuple[Any, Any],
        every: int = 1,
        *,
        loggers: Sequence[Logger] = (),
        problem: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.recorder = Recorder(data, every, tuple(loggers), dict(problem or {}), options)

    @property
    def results(self) -> dict[int, PredictResult]:
        """The prediction of each epoch that was recorded, counted from 1."""
        return self.recorder.results

    def on_epoch_end(
        self,
        args: transformers.TrainingArguments,
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        model: nn.Module | None = None,
        **beside: Any,
    ) -> None:
        """Record, in the first process alone.

        Raises:
            UsageError: the parameters are cut among processes.
        """
        epoch = round(state.epoch or 0)
        if model is None or not self.recorder.due(epoch):
            return
        require_whole(model)
        if not state.is_world_process_zero:
            return
        values = self.recorder.record(model, epoch)
        state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
