"""Training the weights that survive a mask, to learn whether they can reach a loss.

This tests the event the limit is about (Zhang et al. 2024): that *some* setting of the surviving
weights keeps the loss within the tolerance. Weights that reach it are a witness: they exist.

The solver is L-BFGS over the whole training loss (Liu, Nocedal 1989; scipy's implementation, with
the line search of Moré and Thuente). Where the data are large, a few passes of Adam over
minibatches come first. The solver draws nothing at random. So if it is begun again, and given the
losses and gradients that were kept, it goes the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ..devices import wide, wide_device
from ..errors import UsageError
from ..inputs.problem import Problem, evaluate
from ..progress import Progress, silent
from ..randomness import generator
from ..storage.steps import Steps

__all__ = ["RefitResult", "minibatch_passes", "refit"]

HISTORY = 30
"""Pairs of steps and gradients that L-BFGS keeps. With 10, 30 and 100, thresholds were within a
point of each other."""

HISTORY_BYTES = 2**31
"""Memory that they may take. If they would take more, fewer are kept."""

MANY_STEPS = 100
"""If a pass has at least so many minibatches, minibatches come first."""

MINIBATCH_SHARE = 0.2
"""Share of the budget that they take."""

FORWARD = 1 / 3
"""Share of a pass that an evaluation without a gradient counts as."""

MOMENTS = ("exp_avg", "exp_avg_sq")
"""The state of Adam, by torch's names."""


OUTCOMES = ("on target", "budget", "stalled")
"""Why the training of survivors ended (:class:`RefitResult`)."""


@dataclass(frozen=True)
class RefitResult:
    """The refitted survivors.

    ``weights`` (D,) are the free parameters of least training loss seen, exactly zero where
    removed. ``loss`` (nats, mean over the training split) is theirs. ``passes`` over the training
    split were taken. ``outcome`` says why they ended: "on target" (the loss is reached), "budget"
    (the passes are spent) or "stalled" (the solver finds no lower loss in this arithmetic).
    """

    weights: Tensor
    loss: float
    passes: float
    outcome: str

    @property
    def feasible(self) -> bool:
        """Whether the loss came down to the target."""
        return self.outcome == "on target"


def minibatch_passes(samples: int, batch_size: int, passes: float) -> int:
    """Of a budget of ``passes``, those by minibatches, which come first."""
    if math.ceil(samples / batch_size) < MANY_STEPS:
        return 0
    return max(1, math.floor(MINIBATCH_SHARE * passes)) if passes >= 2 else 0


def refit(
    problem: Problem,
    mask: Tensor,
    *,
    target_loss: float,
    passes: float,
    starts: Sequence[Tensor] = (),
    first: int = 0,
    lr: float = 2e-3,
    batch_size: int = 128,
    seed: int = 0,
    steps: Steps | None = None,
    progress: Progress = silent,
) -> RefitResult:
    """Train the free parameters that ``mask`` (bool, (D,)) keeps until the loss is on target.

    The solver starts at the network's own weights or at one of ``starts`` (each (D,)). It takes the
    one of least loss once masked. ``first`` passes of Adam over minibatches come first, with the
    learning rate falling from ``lr`` to zero along a cosine; L-BFGS takes the rest of ``passes``. A
    pass is one gradient of the loss of all training samples; an evaluation alone counts a third.

    The network stays in eval mode: norm layers, their statistics and excluded modules are held,
    no dropout acts, and the network itself is unchanged afterwards. An outcome other than "on
    target" means only that these passes did not suffice. Every pass is kept in ``steps``; passes
    already there are not taken again.

    Raises:
        InputError: a stored pass cannot be read.
        UsageError: a setting makes no sense.
    """
    if not 0 <= passes < math.inf:
        raise UsageError(f"`refit_passes` is {passes}; give 0 or more.")
    if not 0 < lr < math.inf:
        raise UsageError(f"`refit_lr` is {lr}; give a number greater than 0.")
    if batch_size < 1:
        raise UsageError(f"`refit_batch_size` is {batch_size}; give 1 or more.")
    steps = Steps() if steps is None else steps
    survivors = _Survivors(problem, mask, target_loss, passes, steps, progress)
    for start in (problem.vector(), *starts):
        survivors.try_out(start)
    if passes:
        if first and not survivors.on_target:
            _minibatches(survivors, first, lr, batch_size, seed)
        _lbfgs(survivors)
    if survivors.spent:
        survivors.tell(ended=True)
    weights, loss = survivors.best, survivors.least
    if survivors.on_target:
        outcome = "on target"
    else:
        outcome = "budget" if survivors.spent >= passes else "stalled"
    return RefitResult(weights, loss, survivors.spent, outcome)


class _Spent(Exception):
    """The target is reached, or the passes are spent."""


class _Survivors:
    """The training loss as a function of the surviving weights, and the best of them so far."""

    def __init__(
        self,
        problem: Problem,
        mask: Tensor,
        target: float,
        passes: float,
        steps: Steps,
        progress: Progress,
    ) -> None:
        self.steps = steps
        self.problem = problem
        self.mask = mask
        self.places = mask.nonzero()[:, 0]
        self.best = problem.vector().masked_fill_(~mask, 0)
        self.least = math.inf
        self.spent = 0.0
        self._number = 0
        self._target = target
        self.passes = passes
        self._progress = progress

    @property
    def on_target(self) -> bool:
        return self.least <= self._target

    def try_out(self, weights: Tensor) -> None:
        """Take ``weights`` (D,), masked, if their loss is the least so far. Starts cost no passes,
        since they exist already."""
        masked = weights.masked_fill(~self.mask, 0)
        self._note(masked, evaluate(self.problem, self.problem.train, masked).loss)

    def look(self, weights: Tensor) -> None:
        """As :meth:`try_out`, but counted as an evaluation."""
        self.spent += FORWARD
        self.try_out(weights)
        self.tell()

    def _note(self, weights: Tensor, loss: float) -> None:
        if loss < self.least:
            self.best, self.least = weights, loss

    def tell(self, *, ended: bool = False) -> None:
        """Report progress. When ``ended``, report all as done, once, whatever ended it."""
        total = math.ceil(self.passes)
        done = total if ended else min(math.floor(self.spent), total - 1)
        note = f"training loss {self.least:.4g}, target {self._target:.4g}"
        self._progress("refit", done, total, note)

    def at(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient at the surviving ``values`` (s,) float64: one pass.

        Raises:
            _Spent: the target is reached, or the passes are spent.
        """
        weights = torch.zeros_like(self.best)
        weights[self.places] = torch.as_tensor(values).to(weights)
        self._number += 1
        name = f"pass {self._number}"
        found = self.steps.restored(name, self._read)
        if found is None:
            found = self._pass(weights)
            self.steps.save(name, {"loss": found[0], "slope": torch.from_numpy(found[1])})
        loss, slope = found
        self.spent += 1
        self._note(weights, loss)
        if self.on_target or self.spent >= self.passes:
            raise _Spent
        self.tell()
        if math.isfinite(loss):
            return loss, slope
        # The line search steps back from this value as from a high loss. From a loss of 1e300, its
        # cubic would step back so far that no digit differs. The solver would then give up.
        high = 10 * abs(self.least) + 1 if math.isfinite(self.least) else 1.0
        return high, np.zeros_like(slope)

    def _pass(self, weights: Tensor) -> tuple[float, np.ndarray]:
        """Loss and gradient (s,) at ``weights`` (D,)."""
        problem = self.problem
        free = weights.clone().requires_grad_()
        gradient = torch.zeros_like(free)
        total = torch.zeros((), dtype=torch.float64, device=wide_device(problem.device))
        with torch.enable_grad():
            for inputs, targets in problem.train.batches(problem.batch_size):
                losses = problem.loss(problem.outputs(inputs, problem.tensors(free)), targets)
                # Not backward(): that would leave gradients at parameters that are held.
                gradient += torch.autograd.grad(losses.sum(), free)[0]
                total += wide(losses.detach()).sum()
        samples = len(problem.train)
        slope = gradient[self.places].cpu().double().numpy() / samples
        return float(total) / samples, slope

    def _read(self, state: dict[str, Any]) -> tuple[float, np.ndarray]:
        """The stored result of :meth:`_pass`.

        Raises:
            ValueError: it is that of another network.
        """
        loss, slope = state["loss"], state["slope"].numpy()
        if not isinstance(loss, float) or slope.shape != (len(self.places),):
            raise ValueError("it is the pass of another network")
        if slope.dtype != np.float64 or (math.isfinite(loss) and not np.isfinite(slope).all()):
            raise ValueError("it is no gradient")
        return loss, slope


def _lbfgs(survivors: _Survivors) -> None:
    """L-BFGS from the best weights so far, begun anew while that finds lower losses."""
    count = len(survivors.places)
    if not count or survivors.on_target:
        return
    history = int(max(3, min(HISTORY, HISTORY_BYTES // (16 * count))))
    while survivors.spent < survivors.passes:
        before = survivors.least
        values = survivors.best[survivors.places].cpu().double().numpy()
        options = {"maxcor": history, "maxfun": 10**9, "maxiter": 10**9, "ftol": 0, "gtol": 0}
        try:
            minimize(survivors.at, values, jac=True, method="L-BFGS-B", options=options)
        except _Spent:
            return
        if not survivors.least < before:
            return


def _minibatches(survivors: _Survivors, passes: int, lr: float, batch_size: int, seed: int) -> None:
    """Adam over minibatches, evaluated after every pass, until the target, a loss that is not
    finite or the end of the budget is reached."""
    problem = survivors.problem
    samples = len(problem.train)
    batch = problem.batch(batch_size)
    steps = passes * math.ceil(samples / batch)
    weights = survivors.best.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order_generator = generator(seed, "refit order")
    keep = survivors.mask.to(weights.dtype)

    def put_back(state: dict[str, Any]) -> bool:
        moments = state["moments"]
        for each in (state["weights"], *moments.values()):
            if (each.shape, each.dtype) != (weights.shape, weights.dtype):
                raise ValueError("they are the weights of another network")
        if not 0 <= state["lr"] <= lr:
            raise ValueError("it is no learning rate of this training")
        with torch.no_grad():
            weights.copy_(state["weights"])
        done = schedule.last_epoch + math.ceil(samples / batch)
        step = torch.tensor(float(done))
        optimizer.state[weights] = {"step": step, **{n: moments[n].clone() for n in MOMENTS}}
        optimizer.param_groups[0]["lr"], schedule.last_epoch = state["lr"], done
        return True

    for number in range(passes):
        if survivors.spent + 1 > survivors.passes:
            return
        order = torch.randperm(samples, generator=order_generator)
        name = f"minibatches {number + 1}"
        if not survivors.steps.restored(name, put_back, weights.device):
            with torch.enable_grad():
                for inputs, targets in problem.train.batches(batch, order=order):
                    outputs = problem.outputs(inputs, problem.tensors(weights))
                    loss = problem.loss(outputs, targets).mean()
                    (gradient,) = torch.autograd.grad(loss, weights)
                    # Without a gradient Adam's moments stay zero, and so does the weight.
                    weights.grad = gradient * keep
                    optimizer.step()
                    schedule.step()
            survivors.steps.save(
                name,
                {
                    "weights": weights.detach(),
                    "moments": {each: optimizer.state[weights][each] for each in MOMENTS},
                    "lr": optimizer.param_groups[0]["lr"],
                },
            )
        survivors.spent += 1
        survivors.look(weights.detach().clone())
        if survivors.on_target or not bool(torch.isfinite(weights).all()):
            return
