"""What compensation is measured by: how far the outputs are from the dense network's.

No labels: for cross-entropy the divergence of the outputs' distributions, for every other loss
half the squared distance of the outputs. At the dense network its gradient is zero and its
Hessian the GGN, of the loss itself in the case of cross-entropy.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..errors import InputError, UsageError
from ..inputs.problem import Problem, SampleLoss, Split, cross_entropy

__all__ = ["Calibration", "divergence", "own_losses", "squared_distance"]


def divergence(outputs: Tensor, dense: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the dense network's distribution to that of ``outputs``,
    nats, one per sample; both are logits (n, classes)."""
    wanted = dense.log_softmax(-1)
    return (wanted.exp() * (wanted - outputs.log_softmax(-1))).flatten(1).sum(1)


def squared_distance(outputs: Tensor, dense: Tensor) -> Tensor:
    """Half the squared distance of the outputs, one per sample; both are (n, ...)."""
    return 0.5 * (outputs - dense).square().flatten(1).sum(1)


class Calibration:
    """Inputs with the dense network's outputs in the place of targets; a
    :class:`~prunelimit.inputs.problem.Split` whose labels, if there are any, are never read.

    ``inputs`` is the split that samples are drawn from, ``order`` (n,) int64 says which, in which
    order, and ``dense`` (n, ...) what the dense network makes of them.
    """

    def __init__(self, inputs: Split, order: Tensor, dense: Tensor) -> None:
        self._inputs = inputs
        self._order = order
        self._dense = dense

    @staticmethod
    def of(problem: Problem, count: int, seed: int, inputs: Split | None = None) -> Calibration:
        """``count`` samples of ``inputs`` (default: the training split) in an order drawn by
        ``seed``; all of them when ``count`` is 0 or larger than there are. A larger count begins
        with a smaller one's samples.

        Raises:
            InputError: the network does not take the inputs.
            UsageError: ``count`` is negative, or the loss has no curvature in the outputs.
        """
        if count < 0:
            raise UsageError(f"--calibration is {count}; give the number of samples, 0 for all.")
        split = problem.train if inputs is None else inputs
        generator = torch.Generator().manual_seed(seed % 2**63)
        order = torch.randperm(len(split), generator=generator)
        order = order[: count or len(split)]
        _check_curved(problem)
        return Calibration(split, order, _dense_outputs(problem, split, order))

    @property
    def dense(self) -> Tensor:
        """The dense outputs, (n, ...)."""
        return self._dense

    def __len__(self) -> int:
        return len(self._order)

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As :meth:`~prunelimit.inputs.problem.Split.batches`; targets are dense outputs."""
        chosen = torch.arange(len(self)) if order is None else order.cpu()
        begin = 0
        for inputs, _ in self._inputs.batches(batch_size, order=self._order[chosen]):
            end = begin + len(inputs)
            yield inputs, self._dense[chosen[begin:end].to(self._dense.device)]
            begin = end

    def subset(self, count: int, seed: int) -> Split:
        """The first ``count`` samples, whatever the seed: the order was drawn already."""
        return self.part(0, count or len(self))

    def part(self, begin: int, end: int) -> Calibration:
        """Samples ``begin`` to ``end``, counted around the end of all."""
        places = torch.arange(begin, end) % len(self)
        return Calibration(
            self._inputs, self._order[places], self._dense[places.to(self._dense.device)]
        )

    def problem(self, problem: Problem, model: nn.Module) -> Problem:
        """The problem of following the dense network on these samples with ``model``."""
        return dataclasses.replace(
            problem,
            model=model,
            train=self,
            loss=distance_for(problem.loss),
            batch_size=min(problem.batch_size, len(self)),
        )


def distance_for(loss: SampleLoss) -> SampleLoss:
    """What stands for ``loss`` where there are no labels."""
    return divergence if loss is cross_entropy else squared_distance


def own_losses(dense: Tensor, seed: int) -> Tensor:
    """Cross-entropy of each of the dense outputs (n, classes) with a label drawn from them.

    They stand for the losses that the tolerance is read from, and need no labels; (n,), float64.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    logs = dense.double().log_softmax(-1).cpu()
    drawn = torch.multinomial(logs.exp(), 1, generator=generator)
    return -logs.gather(1, drawn)[:, 0]


def _dense_outputs(problem: Problem, split: Split, order: Tensor) -> Tensor:
    found = []
    with torch.no_grad():
        for inputs, _ in split.batches(problem.batch_size, order=order):
            try:
                found.append(problem.model(inputs))
            except Exception as error:
                own = next(iter(problem.train.batches(1)))[0].shape[1:]
                raise InputError(
                    f"Calibration inputs of shape {tuple(inputs.shape[1:])} do not go through the "
                    f"network; give inputs of shape {tuple(own)}, as in training."
                ) from error
    return torch.cat(found)


def _check_curved(problem: Problem) -> None:
    """Refuse a loss whose second derivative in the outputs is zero or absent: it has no GGN."""
    if problem.loss is cross_entropy:
        return
    inputs, targets = next(iter(problem.train.batches(min(8, len(problem.train)))))
    with torch.no_grad():
        outputs = problem.model(inputs)
    leaf = outputs.detach().requires_grad_()
    # Not all ones: a loss may be flat along those, as cross-entropy is.
    probe = torch.linspace(-1, 2, leaf.numel()).to(leaf).view_as(leaf)
    curved = False
    with torch.enable_grad(), contextlib.suppress(RuntimeError):
        share = problem.loss(leaf, targets).sum()
        (slope,) = torch.autograd.grad(share, leaf, create_graph=True)
        if slope.requires_grad:
            (bend,) = torch.autograd.grad(slope, leaf, probe, materialize_grads=True)
            curved = bool(bend.any())
    if not curved:
        raise UsageError(
            "The loss has no second derivative in the network's outputs and so no GGN to "
            "compensate by; give a smooth loss, or prune without --compensate."
        )
