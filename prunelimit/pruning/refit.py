"""Training the weights that survive a mask, to learn whether they can reach a loss.

This tests the event the limit is about (Zhang et al. 2024): that *some* setting of the surviving
weights keeps the loss within the tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..inputs.problem import Problem, evaluate
from ..progress import Progress, silent
from .magnitude import pruned_weights

__all__ = ["RefitResult", "refit"]


@dataclass(frozen=True)
class RefitResult:
    """The survivors as refitted.

    ``weights`` (D,) are the free parameters of least training loss seen, exactly zero where
    removed; ``loss`` (nats, mean over the training split) and ``accuracy`` (fraction, test split)
    are theirs. ``feasible``: the loss came down to the target within ``epochs_used`` epochs.
    """

    weights: Tensor
    loss: float
    accuracy: float
    epochs_used: int
    feasible: bool


def refit(
    problem: Problem,
    mask: Tensor,
    *,
    target_loss: float,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    progress: Progress = silent,
) -> RefitResult:
    """Train the free parameters that ``mask`` (bool, (D,)) keeps until the loss is on target.

    Adam with the learning rate falling to zero along a cosine, at most ``epochs`` passes over
    ``problem.train``, the training loss evaluated after each. The network stays in eval mode:
    norm layers, their statistics and excluded modules are held, no dropout acts, and the network
    itself is unchanged afterwards. Masked weights that are on target already take 0 epochs.
    An infeasible outcome means only that this budget did not suffice.

    Raises:
        UsageError: a setting makes no sense.
    """
    if epochs < 0:
        raise UsageError(f"--refit-epochs is {epochs}; give 0 or more.")
    if not 0 < lr < math.inf:
        raise UsageError(f"--refit-lr is {lr}; give a number greater than 0.")
    if batch_size < 1:
        raise UsageError(f"--refit-batch-size is {batch_size}; give 1 or more.")
    best = pruned_weights(problem, mask)
    least = evaluate(problem, problem.train, best).loss
    used = 0
    if epochs and not least <= target_loss:
        trainer = _Trainer(problem, mask, best, epochs, lr, batch_size, seed)
        for used in range(1, epochs + 1):
            trainer.epoch()
            weights = trainer.weights()
            loss = evaluate(problem, problem.train, weights).loss
            if loss < least or math.isnan(least):
                best, least = weights, loss
            reached = least <= target_loss
            progress("refit", epochs if reached else used, epochs, f"loss {loss:.4g}")
            if reached or not math.isfinite(loss):
                break
    return RefitResult(
        best, least, evaluate(problem, problem.test, best).accuracy, used, least <= target_loss
    )


class _Trainer:
    def __init__(
        self,
        problem: Problem,
        mask: Tensor,
        start: Tensor,
        epochs: int,
        lr: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.problem = problem
        self.mask = mask
        self.batch_size = min(batch_size, len(problem.train))
        self.lr = lr
        self.leaves = {
            name: piece.clone().requires_grad_()
            for name, piece in problem.layout.unflatten(start).items()
        }
        pieces = problem.layout.unflatten(mask)
        self.removed = {n: ~pieces[n] for n in problem.prunable if not bool(pieces[n].all())}
        self.optimizer = _adam(list(self.leaves.values()), lr)
        self.generator = torch.Generator().manual_seed(seed % 2**63)
        self.steps = epochs * math.ceil(len(problem.train) / self.batch_size)
        self.step = 0

    def epoch(self) -> None:
        problem = self.problem
        names, leaves = list(self.leaves), list(self.leaves.values())
        order = torch.randperm(len(problem.train), generator=self.generator)
        with torch.enable_grad():
            for inputs, targets in problem.train.batches(self.batch_size, order=order):
                for group in self.optimizer.param_groups:
                    share = self.step / self.steps
                    group["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * share))
                outputs = problem.outputs(inputs, self.leaves)
                loss = problem.loss(outputs, targets).mean()
                gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
                for name, leaf, gradient in zip(names, leaves, gradients, strict=True):
                    leaf.grad = gradient
                    # Without a gradient Adam's moments stay zero, and so does the weight.
                    if gradient is not None and name in self.removed:
                        leaf.grad = gradient.masked_fill(self.removed[name], 0)
                self.optimizer.step()
                self.step += 1

    def weights(self) -> Tensor:
        flat = self.problem.layout.flatten({n: p.detach() for n, p in self.leaves.items()})
        return flat.masked_fill(~self.mask, 0)


def _adam(leaves: list[Tensor] | list[nn.Parameter], lr: float) -> torch.optim.Adam:
    settings: dict[str, Any] = {"lr": lr}
    try:
        return torch.optim.Adam(leaves, fused=True, **settings)
    except (RuntimeError, TypeError):  # older torch, or a device without fused steps
        return torch.optim.Adam(leaves, foreach=True, **settings)
