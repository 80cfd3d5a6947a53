"""Pruned networks, one per number of removed weights, and what each comes to."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compensation.options import compensator
from ..compensation.path import Path
from ..config import MeasureConfig
from ..errors import UsageError
from ..estimation.epsilon import tolerance_of
from ..inputs.problem import Evaluation, Problem, evaluate
from ..limit.tolerance import accuracy_points
from ..progress import Progress
from ..pruning.selection import Selection
from ..results.types import Cost, Dense
from ..training.refit import minibatch_passes, refit
from .settings import MOVED

__all__ = ["BUDGETS", "Point", "Points"]

BUDGETS = (1, 2, 4)
"""Multiples of the passes asked for at which refit's threshold is stated."""


@dataclass(frozen=True)
class Point:
    """One pruned network: accuracy drop (fraction) with its paired standard error, and loss. Where
    survivors were trained, the ``passes`` spent and the ``outcome`` (:class:`RefitResult`)."""

    accuracy: float
    drop: float
    standard_error: float
    loss: float
    nonzero: int
    feasible: bool
    passes: float = 0.0
    outcome: str | None = None


class Points:
    """The networks that ``config``'s method makes of ``problem``, each made once.

    ``known`` has them by the number of removed weights. ``planned`` is how many there will be
    about, for progress. ``moves`` says whether survivors move by compensation.

    Raises:
        UsageError: a setting makes no sense, or nothing is prunable.
    """

    def __init__(self, problem: Problem, config: MeasureConfig, progress: Progress) -> None:
        self.problem = problem
        self.config = config
        self.progress = progress
        self._begin = time.perf_counter()
        plain = config.method in ("one-shot", "refit", *MOVED)
        self.selection = Selection(
            problem,
            "magnitude" if plain else config.method,
            allocation=config.allocation,
            calibration=config.calibration,
            progress=progress,
        )
        self.prunable = int(problem.prunable_mask().sum())
        if not self.prunable:
            raise UsageError("No weight of the network is prunable; give fewer --exclude patterns.")
        train = evaluate(problem, problem.train)
        self._test = evaluate(problem, problem.test)
        self.dense = Dense(loss=train.loss, accuracy=self._test.accuracy)
        self.epsilon = tolerance_of(problem, config.epsilon, train, progress=progress)
        self._target = self.dense.loss + self.epsilon.value
        nonzero = self._nonzero(problem.vector())
        self.known = {0: Point(self.dense.accuracy, 0.0, 0.0, self.dense.loss, nonzero, True)}
        self.planned = 0
        self.minibatch_passes = minibatch_passes(
            len(problem.train), config.refit_batch_size, config.refit_passes
        )
        self._solutions: dict[int, Tensor] = {}
        self._passes = 0.0
        self._where = ""
        self._path = self._begun() if config.method in MOVED else None

    def _begun(self) -> Path:
        stages = 1 if self.config.method == MOVED[0] else None
        of_accuracy = accuracy_points(self.config.epsilon) is not None  # which needs labels
        return Path(
            compensator(
                self.problem,
                self.config,
                stages=stages,
                epsilon=self.epsilon.value if of_accuracy else self.config.epsilon,
                progress=self._within_a_point,
            )
        )

    # -- what they took --------------------------------------------------------------------

    @property
    def moves(self) -> bool:
        return self._path is not None

    @property
    def calibration(self) -> int:
        """Training samples that masks or stages were read from."""
        if self._path is None:
            return self.selection.calibration
        return self._path.compensator.calibration

    def cost(self) -> Cost:
        """Until now."""
        if self._path is None:
            products, samples = self.selection.products, self.selection.calibration
        else:
            moving = self._path.compensator
            products, samples = moving.products, moving.windows.size
        return Cost(
            products=products,
            samples=samples if products else 0,
            epochs=round(self._passes),
            seconds=time.perf_counter() - self._begin,
        )

    # -- points ----------------------------------------------------------------------------

    def at(self, removed: int) -> Point:
        """The network with ``removed`` weights less."""
        if removed not in self.known:
            if self._path is not None:
                self.known[removed] = self._moved(self._path, removed)
            elif self.config.method == "refit":
                self.known[removed] = self._refitted(removed)
            else:
                self.known[removed] = self._one_shot(removed)
            self._tell(removed)
        return self.known[removed]

    def _one_shot(self, removed: int) -> Point:
        return self._judged(self.problem, self.selection.weights(self.selection.mask(removed)))

    def _moved(self, path: Path, removed: int) -> Point:
        self._where = f"at {removed / self.prunable:.2%}"
        state = path.at(removed)
        return self._judged(path.compensator.problem_at(state), state.weights)

    def _within_a_point(self, stage: str, done: int, total: int, note: str = "") -> None:
        # The many stages of a path would each begin a bar anew.
        if stage == "solving":
            self.progress(f"{stage} {self._where}", done, total, note)

    def _judged(self, problem: Problem, weights: Tensor) -> Point:
        loss = evaluate(problem, problem.train, weights).loss
        test = evaluate(problem, problem.test, weights)
        return self._point(test, loss, weights)

    def _refitted(self, removed: int) -> Point:
        """Survivors trained from the network's own weights, or from what solved the next lower
        sparsity."""
        problem, config = self.problem, self.config
        mask = self.selection.mask(removed)
        below = max((each for each in self._solutions if each < removed), default=None)
        starts = [] if below is None else [self._solution(below)]
        where = f"at {removed / self.prunable:.2%}"

        def named(stage: str, done: int, total: int, note: str = "") -> None:
            self.progress(f"{stage} {where}", done, total, note)

        found = refit(
            problem,
            mask,
            target_loss=self._target,
            passes=BUDGETS[-1] * config.refit_passes,
            starts=starts,
            first=self.minibatch_passes,
            lr=config.refit_lr,
            batch_size=config.refit_batch_size,
            seed=problem.seed,
            progress=named,
        )
        self._passes += found.passes
        if found.feasible:
            self._solutions[removed] = found.weights[mask]
        test = evaluate(problem, problem.test, found.weights)
        point = self._point(test, found.loss, found.weights)
        return dataclasses.replace(
            point, feasible=found.feasible, passes=found.passes, outcome=found.outcome
        )

    def _solution(self, removed: int) -> Tensor:
        """The weights (D,) that solved ``removed``, of which the survivors are kept."""
        weights = torch.zeros(
            self.problem.layout.size, dtype=self.problem.dtype, device=self.problem.device
        )
        weights[self.selection.mask(removed)] = self._solutions[removed]
        return weights

    def _nonzero(self, weights: Tensor) -> int:
        return int((weights[self.problem.prunable_mask()] != 0).sum())

    def _point(self, test: Evaluation, loss: float, weights: Tensor) -> Point:
        change = self._test.correct.astype(float) - test.correct.astype(float)
        error = float(change.std(ddof=1)) / math.sqrt(len(change)) if len(change) > 1 else 0.0
        feasible = loss <= self._target
        return Point(
            test.accuracy, float(change.mean()), error, loss, self._nonzero(weights), feasible
        )

    def _tell(self, removed: int) -> None:
        if self.config.method == "refit":
            return
        done = len(self.known)
        self.planned = max(self.planned, done + 1)
        point = self.known[removed]
        note = f"sparsity {removed / self.prunable:.2%}, accuracy {point.accuracy:.2%}"
        self.progress("measuring", done, self.planned, note)
