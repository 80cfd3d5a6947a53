"""Pruned networks, one per number of removed weights, with the accuracy and loss of each."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

from torch import Tensor

from ..config import MeasureConfig
from ..errors import UsageError
from ..estimation.epsilon import tolerance_of
from ..inputs.problem import Problem, evaluate
from ..progress import Progress
from ..results.types import Cost, Dense
from ..storage.steps import Steps
from .drop import paired_drop
from .networks import Networks, needs_losses

__all__ = ["Point", "Points"]


@dataclass(frozen=True)
class Point:
    """One pruned network: accuracy drop (fraction) with its paired standard error, and loss. Where
    survivors were trained, the ``passes`` spent and the ``outcome``
    (:class:`~prunelimit.training.refit.RefitResult`)."""

    accuracy: float
    drop: float
    standard_error: float
    loss: float
    nonzero: int
    feasible: bool
    passes: float = 0.0
    outcome: str | None = None


class Points:
    """The networks that ``config``'s method makes from ``problem``, each made once.

    ``known`` has them by the number of removed weights. ``planned`` is about how many there will
    be, for progress. Networks that take long to make are kept in ``steps``
    (:class:`~prunelimit.measurement.networks.Networks`).

    Raises:
        UsageError: a setting makes no sense, or nothing is prunable.
    """

    def __init__(
        self,
        problem: Problem,
        config: MeasureConfig,
        progress: Progress,
        steps: Steps | None = None,
    ) -> None:
        self.problem = problem
        self.config = config
        self.method = config.method
        self.progress = progress
        self._begin = time.perf_counter()
        self.prunable = int(problem.prunable_mask().sum())
        if not self.prunable:
            raise UsageError("No weight of the network is prunable; give fewer `exclude` patterns.")
        train = evaluate(problem, problem.train)
        self._test = evaluate(problem, problem.test)
        self.dense = Dense(loss=train.loss, accuracy=self._test.accuracy)
        self.epsilon = tolerance_of(problem, config.epsilon, train, progress=progress)
        self._target = self.dense.loss + self.epsilon.value
        self.networks = Networks(
            problem,
            self.method,
            config,
            epsilon=self.epsilon.value if needs_losses(problem, config.epsilon) else config.epsilon,
            target_loss=self._target,
            steps=steps,
            progress=progress,
        )
        nonzero = self._nonzero(problem.vector())
        self.known = {0: Point(self.dense.accuracy, 0.0, 0.0, self.dense.loss, nonzero, True)}
        self.planned = 0

    # -- what they took --------------------------------------------------------------------

    @property
    def points(self) -> bool:
        """Whether the metric falls by points, so that tolerances in points mean something."""
        return self._test.points

    @property
    def top(self) -> int:
        """The most weights that can go."""
        return self.networks.top

    @property
    def calibration(self) -> int:
        """Number of training samples that were read for masks or stages."""
        moving = self.networks.moving
        return self.networks.selection.calibration if moving is None else moving.calibration

    def cost(self) -> Cost:
        """The cost so far."""
        selection, moving = self.networks.selection, self.networks.moving
        products, samples = selection.products, selection.calibration
        if moving is not None:
            products, samples = products + moving.products, moving.windows.size
        return Cost(
            products=products,
            samples=samples if products else 0,
            epochs=round(self.networks.passes + selection.passes),
            seconds=time.perf_counter() - self._begin,
        )

    # -- points ----------------------------------------------------------------------------

    def at(self, removed: int) -> Point:
        """The network with ``removed`` weights less."""
        if removed not in self.known:
            self.known[removed] = self._judged(removed)
            self._tell(removed)
        return self.known[removed]

    def _judged(self, removed: int) -> Point:
        network = self.networks.at(removed)
        problem, weights = network.problem, network.weights
        test = evaluate(problem, problem.test, weights)
        drop = paired_drop(self._test, test)
        found = network.trained
        loss = evaluate(problem, problem.train, weights).loss if found is None else found.loss
        point = Point(
            accuracy=test.accuracy,
            drop=drop.mean,
            standard_error=drop.standard_error,
            loss=loss,
            nonzero=self._nonzero(weights),
            feasible=loss <= self._target,
        )
        if found is None:
            return point
        return dataclasses.replace(
            point, feasible=found.feasible, passes=found.passes, outcome=found.outcome
        )

    def _nonzero(self, weights: Tensor) -> int:
        return int((weights[self.problem.prunable_mask()] != 0).sum())

    def _tell(self, removed: int) -> None:
        if self.method.survivors == "trained":
            return
        done = len(self.known)
        self.planned = max(self.planned, done + 1)
        point = self.known[removed]
        note = f"sparsity {removed / self.prunable:.2%}, accuracy {point.accuracy:.2%}"
        self.progress("measuring", done, self.planned, note)
