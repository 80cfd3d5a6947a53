"""The networks that a method makes from a problem, one per number of removed weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..compensation.layerwise import layerwise
from ..compensation.options import compensator
from ..compensation.path import Path
from ..compensation.stages import Compensator
from ..compensation.state import State
from ..config import PruneConfig, SurvivorConfig
from ..distributed import ALONE, Group
from ..estimation.epsilon import tolerance_of
from ..inputs.loss import is_cross_entropy
from ..inputs.problem import Problem, evaluate
from ..inputs.splits import shuffled
from ..progress import Progress, silent
from ..pruning.magnitude import pruned_weights
from ..pruning.selection import NO_GUARD, Selection
from ..storage.steps import Steps
from ..training.refit import OUTCOMES, RefitResult, minibatch_passes, refit
from ..values import EpsilonRule, KeepRule, Method

__all__ = ["BUDGETS", "Network", "Networks", "goal"]

LAYERWISE = 2_000
"""Inputs that layers are fitted on, if their number is not given. Each layer reads as many of them
as it needs."""

BUDGETS = (1, 2, 4)
"""The threshold of trained survivors is stated at these multiples of the passes asked for. The last
is the most that is spent at a sparsity."""


@dataclass(frozen=True)
class Network:
    """A pruned network.

    ``weights`` (D,) are its free parameters, exactly zero where ``mask`` (bool, (D,)) is False;
    ``problem`` is the problem with its statistics of batch normalisation. ``state`` is set if
    survivors were moved in stages, ``trained`` if they were trained.
    """

    problem: Problem
    weights: Tensor
    mask: Tensor
    state: State | None = None
    trained: RefitResult | None = None


def goal(
    problem: Problem, config: PruneConfig, epsilon: EpsilonRule, *, progress: Progress = silent
) -> tuple[float | EpsilonRule, float]:
    """``epsilon`` and ``target_loss`` (nats) of :class:`Networks`.

    The training loss is evaluated only where the method needs it. Survivors that are trained are to
    reach it. Some rules need it since compensation has no labels for them: one of accuracy, and
    with another loss than cross-entropy each that is no number.
    """
    method = config.method
    if method.survivors != "trained" and not (method.moves and needs_losses(problem, epsilon)):
        return epsilon, 0.0
    train = evaluate(problem, problem.train)
    value = tolerance_of(problem, epsilon, train, progress=progress).value
    return value, train.loss + value


def needs_losses(problem: Problem, epsilon: EpsilonRule) -> bool:
    """Whether the tolerance needs losses. Compensation, without labels, has none."""
    known = is_cross_entropy(problem.loss)
    return epsilon.kind == "accuracy" or (not known and epsilon.kind != "nats")


class Networks:
    """The networks that ``method`` makes from ``problem``.

    ``epsilon`` damps compensation, as for :class:`~prunelimit.compensation.stages.Compensator`.
    Survivors that are trained are to reach ``target_loss``, nats. The processes of ``group`` share
    compensation. A network whose survivors are trained, or moved in stages, is kept in ``steps``.
    So is every pass of a training. Those already there are not made again.

    Raises:
        PruneLimitError: see its subclasses.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        config: SurvivorConfig,
        *,
        epsilon: float | EpsilonRule,
        target_loss: float,
        min_keep: KeepRule = NO_GUARD,
        group: Group = ALONE,
        steps: Steps | None = None,
        progress: Progress = silent,
    ) -> None:
        self._steps = Steps() if steps is None else steps
        self._group = group
        self.problem, self.method, self.config = problem, method, config
        self.selection = Selection(
            problem,
            method,
            calibration=config.calibration,
            min_keep=min_keep,
            progress=progress,
        )
        self.prunable = int(problem.prunable_mask().sum())
        self.passes = 0.0
        """Passes over the training split that training of survivors took."""
        self.minibatch_passes = minibatch_passes(
            len(problem.train), config.refit_batch_size, config.refit_passes
        )
        self._inputs = shuffled(
            problem.train,
            LAYERWISE if config.calibration is None else config.calibration,
            problem.seed,
        )
        self._progress = progress
        self._target = target_loss
        self._solutions: dict[int, Tensor] = {}
        self._where = ""
        self._path: Path | None = None
        if method.moves:
            told = self._within_a_point
            moving = compensator(
                problem, self.selection, config, epsilon, group=group, progress=told
            )
            self._path = Path(moving)

    @property
    def moving(self) -> Compensator | None:
        """What moves the survivors, if they are moved without labels."""
        return None if self._path is None else self._path.compensator

    @property
    def top(self) -> int:
        """The most weights that can go."""
        return self.selection.removable

    def at(self, removed: int) -> Network:
        """The network with ``removed`` weights less."""
        self._where = f"at {removed / self.prunable:.2%}"
        if self._path is not None:
            state = self._moved(removed, self._path)
            problem = self._path.compensator.problem_at(state)
            return Network(problem, state.weights, state.kept, state=state)
        mask = self.selection.mask(removed)
        if self.method.survivors == "trained":
            return self._trained(removed, mask)
        if self.method.survivors == "layerwise":
            start = pruned_weights(self.problem, mask)
            fitted = layerwise(self.problem, start, mask, self._inputs, progress=self._named)
            return Network(self.problem, fitted, mask)
        return Network(self.problem, self.selection.weights(mask), mask)

    def _moved(self, removed: int, path: Path) -> State:
        """The state with ``removed`` weights less. What it took is counted."""
        moving, selection = path.compensator, self.selection
        _ = selection.scored  # the states' cost does not include it
        before = moving.products, selection.products, selection.passes

        def read(found: dict[str, Any]) -> tuple[State, int, int, float]:
            state = State.of(found["state"], self.problem.vector())
            if state.removed > removed:
                raise ValueError("more weights are removed")
            return state, int(found["products"]), int(found["read"]), float(found["passes"])

        def keep(state: State) -> None:
            taken = {
                "products": moving.products - before[0],
                "read": selection.products - before[1],
                "passes": selection.passes - before[2],
            }
            self._steps.save(name, {"state": state.document(), **taken})

        name = f"{removed} removed"
        kept = self._steps.restored(name, read, self.problem.device)
        # All processes go on from the same state. A kill may have come between their saves.
        reached = -1 if kept is None else len(kept[0].stages) + kept[0].undone
        least = self._group.all_reduce_min(reached, self.problem.device)
        most = -self._group.all_reduce_min(-reached, self.problem.device)
        begun = None
        if kept is not None and least == most:
            begun, products, scored, passes = kept
            moving.products += products
            selection.products, selection.passes = before[1] + scored, before[2] + passes
            if begun.removed == removed:
                path.take(begun)
                return begun
        return path.at(removed, begun, keep)

    def _trained(self, removed: int, mask: Tensor) -> Network:
        """Trained from the network's own weights, or from the solution of the next lower
        sparsity."""
        name = f"{removed} removed"
        found = self._steps.restored(name, partial(self._result, mask), self.problem.device)
        if found is None:
            found = self._refitted(removed, mask, self._steps.under(f"{name}, training"))
            rest = {"loss": found.loss, "passes": found.passes, "outcome": found.outcome}
            self._steps.save(name, {"weights": found.weights[mask], **rest})
            self._steps.forget(f"{name}, training")
        self.passes += found.passes
        if found.feasible:
            self._solutions[removed] = found.weights[mask]
        return Network(self.problem, found.weights, mask, trained=found)

    def _refitted(self, removed: int, mask: Tensor, steps: Steps) -> RefitResult:
        config = self.config
        below = max((each for each in self._solutions if each < removed), default=None)
        starts = [] if below is None else [self._solution(below)]
        return refit(
            self.problem,
            mask,
            target_loss=self._target,
            passes=BUDGETS[-1] * config.refit_passes,
            starts=starts,
            first=self.minibatch_passes,
            lr=config.refit_lr,
            batch_size=config.refit_batch_size,
            seed=self.problem.seed,
            steps=steps,
            progress=self._named,
        )

    def _result(self, mask: Tensor, state: dict[str, Any]) -> RefitResult:
        """The stored result of survivors that were trained.

        Raises:
            ValueError: it is of another network.
        """
        weights, survivors = self.problem.vector().masked_fill_(~mask, 0), state["weights"]
        if (survivors.shape, survivors.dtype) != (weights[mask].shape, weights.dtype):
            raise ValueError("its weights are those of another network")
        if not bool(torch.isfinite(survivors).all()):
            raise ValueError("a weight is not finite")
        loss, passes = float(state["loss"]), float(state["passes"])
        if not math.isfinite(loss) or not 0 <= passes < math.inf:
            raise ValueError("its loss or its passes make no sense")
        if state["outcome"] not in OUTCOMES:
            raise ValueError("it ended for no reason")
        weights[mask] = survivors
        return RefitResult(weights, loss, passes, state["outcome"])

    def _solution(self, removed: int) -> Tensor:
        """The weights (D,) that solved ``removed``. The survivors of the next training start from
        them."""
        weights = torch.zeros(
            self.problem.layout.size, dtype=self.problem.dtype, device=self.problem.device
        )
        weights[self.selection.mask(removed)] = self._solutions[removed]
        return weights

    def _named(self, stage: str, done: int, total: int, note: str = "") -> None:
        self._progress(f"{stage} {self._where}", done, total, note)

    def _within_a_point(self, stage: str, done: int, total: int, note: str = "") -> None:
        # Otherwise each of a path's many stages would begin a new bar.
        if stage == "solving":
            self._named(stage, done, total, note)
