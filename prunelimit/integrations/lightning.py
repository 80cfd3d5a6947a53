"""A callback of Lightning: limit and plain every so many epochs.

trainer = lightning.Trainer(callbacks=[PrunabilityCallback((train, test), every=5)])
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
from torch import nn

from ..results.types import PredictResult
from .record import Logger, Recorder, require_whole

__all__ = ["PrunabilityCallback"]


class PrunabilityCallback(lightning.Callback):
    """Records how sparse the network could be made, at the end of every ``every``-th epoch.

    The numbers are logged by the module (``self.log``), so every logger of the trainer has them,
    and checkpoints can be chosen by "prunelimit/limit".

    Args:
        data: ``(train, test)`` as :class:`prunelimit.Problem` takes them.
        every: Epochs between two records.
        network: Attribute of the module that holds the network. If it is left out, it is the module
            itself, and its ``forward`` gives the outputs.
        loggers: Further loggers, of this package.
        problem: Other arguments of :class:`prunelimit.Problem`, such as ``loss``.
        options: Any argument of :func:`prunelimit.predict`, such as ``max_seconds``.
    """

    def __init__(
        self,
        data: tuple[Any, Any],
        every: int = 1,
        *,
        network: str | None = None,
        loggers: Sequence[Logger] = (),
        problem: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.network = network
        self.recorder = Recorder(data, every, tuple(loggers), dict(problem or {}), options)

    @property
    def results(self) -> dict[int, PredictResult]:
        """The prediction of each epoch that was recorded, counted from 1."""
        return self.recorder.results

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Record, in the first process alone.

        Raises:
            UsageError: the parameters are cut among processes.
        """
        epoch = trainer.current_epoch + 1
        if not self.recorder.due(epoch) or trainer.sanity_checking:
            return
        require_whole(pl_module)
        if trainer.is_global_zero:
            values = self.recorder.record(_network(pl_module, self.network), epoch)
            pl_module.log_dict(values, rank_zero_only=True)


def _network(module: lightning.LightningModule, name: str | None) -> nn.Module:
    """The network alone. A module of Lightning holds its trainer, which must not be copied."""
    if name is not None:
        found: nn.Module = module.get_submodule(name)
        return found
    alone: nn.Module = copy.copy(module)
    alone._trainer = None  # type: ignore[assignment]
    return alone
