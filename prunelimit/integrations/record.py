"""The records that a callback makes of a network in training, and the numbers for loggers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..api.functions import predict
from ..api.problem import Problem
from ..errors import UsageError
from ..results.history import HistoryResult
from ..results.types import PredictResult
from .randomness import undisturbed

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Logger", "Recorder", "require_whole", "series_of", "values_of"]


class Logger(Protocol):
    """Where numbers go: :mod:`.tensorboard`, :mod:`.mlflow` and :mod:`.wandb` have one each."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers by name, at a step or epoch."""


def values_of(result: PredictResult) -> dict[str, float]:
    """The numbers of a prediction by the names that loggers show; what is missing is left out."""
    found = {
        "prunelimit/limit": result.limit.sparsity,
        "prunelimit/limit_low": result.limit.interval[0],
        "prunelimit/limit_high": result.limit.interval[1],
        "prunelimit/reliable": float(result.reliability.ok),
        "prunelimit/dense_loss": result.dense.loss,
        "prunelimit/dense_accuracy": result.dense.accuracy,
    }
    if result.one_shot is not None:
        found["prunelimit/plain"] = result.one_shot.sparsity
    return found


def series_of(result: PredictResult | HistoryResult, step: int = 0) -> dict[int, dict[str, float]]:
    """Numbers by step. Those of a prediction are at ``step``, those of a history at its epochs,
    steps or places."""
    if isinstance(result, PredictResult):
        return {step: values_of(result)}
    series = {}
    for place, point in enumerate(result.points):
        at = getattr(point, result.order, None) if result.order in ("epoch", "step") else place
        values = {
            "prunelimit/limit": point.limit,
            "prunelimit/reliable": float(point.reliable),
            "prunelimit/dense_loss": point.loss,
            "prunelimit/dense_accuracy": point.accuracy,
        }
        if point.plain is not None:
            values["prunelimit/plain"] = point.plain
        series[place if at is None else at] = values
    return series


def require_whole(network: nn.Module) -> None:
    """Refuse a network if no process has all of its parameters.

    A callback has to call this in every process. If one alone failed, the others would wait for it.

    Raises:
        UsageError: FSDP, DeepSpeed or DTensor has cut the parameters.
    """
    cut = any(getattr(each, "_is_fsdp_managed_module", False) for each in network.modules())
    for parameter in network.parameters():
        names = {kind.__name__ for kind in type(parameter).__mro__}
        flat = getattr(parameter, "_fsdp_flattened", False)
        cut = cut or "DTensor" in names or flat or hasattr(parameter, "ds_id")
    if cut:
        raise UsageError(
            "The parameters of this network are split among processes (FSDP, DeepSpeed or "
            "DTensor), and the callback predicts in a single process; leave the callback out, and "
            "run `history` on the checkpoints that the training saves."
        )


@dataclass
class Recorder:
    """Predicts a network every so many epochs; ``results`` has the prediction of each by epoch.

    Training goes on as if nothing had been asked: the network is copied, and random numbers are
    drawn from where they were.

    ``data`` is (train, test) as :class:`prunelimit.Problem` takes them. ``problem`` has other
    arguments of it, ``options`` those of :func:`prunelimit.predict`.
    """

    data: tuple[Any, Any]
    every: int = 1
    loggers: tuple[Logger, ...] = ()
    problem: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    results: dict[int, PredictResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"`every` is {self.every}; give 1 or more epochs.")

    def due(self, epoch: int) -> bool:
        """Whether ``epoch``, counted from 1, is one that is recorded."""
        return epoch % self.every == 0

    def record(self, network: nn.Module, epoch: int) -> dict[str, float]:
        """Predict ``network`` now, tell the loggers, and give the numbers.

        Raises:
            PruneLimitError: see :func:`prunelimit.predict` and :func:`require_whole`.
        """
        require_whole(network)
        with undisturbed(network):
            given = Problem(network, *self.data, **self.problem)
            result = predict(given, **self.options)
        self.results[epoch] = result
        values = values_of(result)
        for each in self.loggers:
            each.log(values, epoch)
        return values
