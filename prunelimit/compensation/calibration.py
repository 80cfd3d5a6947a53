"""The measure of compensation: how far the outputs are from the dense network's.

No labels are read. With a built-in loss, a network is judged by its divergence. For cross-entropy
that is the divergence of the outputs' distributions; its Hessian at the dense network is the GGN of
the loss. With a loss of the user's own, it is half the squared distance of the outputs.

It is fitted by the squared distance of the outputs in every case. For cross-entropy that is the
divergence at a high temperature (Hinton, Vinyals and Dean 2015, section 2.1; Ba and Caruana 2014).
The dense network is mostly sure of its own training samples. The divergence at temperature one has
almost no curvature there, so a fit to it says little about other inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..devices import wide
from ..distributed import Group
from ..errors import InputError, UsageError
from ..inputs.loss import Loss
from ..inputs.problem import Problem, SampleLoss, Split, loss_bends
from ..inputs.splits import SplitSubset
from ..inputs.structure import Inputs, words_of_shape
from ..randomness import generator

__all__ = [
    "Calibration",
    "Windows",
    "own_losses",
    "squared_distance",
]


MOST_HELD = 1_000
"""Inputs that judge, at most: more would tell little more, and are looked at many times a stage."""


def squared_distance(outputs: Tensor, dense: Tensor) -> Tensor:
    """Half the squared distance of the outputs, one per sample; both are (n, ...)."""
    return 0.5 * (outputs - dense).square().flatten(1).sum(1)


class Calibration:
    """Inputs with the dense network's outputs in the place of targets. It is a
    :class:`~prunelimit.inputs.problem.Split`; labels, if there are any, are never read.

    ``inputs`` are n samples, and ``dense`` (n, ...) the dense network's outputs for them.
    """

    def __init__(self, inputs: Split, dense: Tensor) -> None:
        self._inputs = inputs
        self.dense = dense
        self.single = bool(getattr(inputs, "single", False))
        self.ragged = bool(getattr(inputs, "ragged", False))

    @staticmethod
    def of(problem: Problem, split: Split, order: Tensor) -> Calibration:
        """The samples of ``split`` that ``order`` (n,) int64 names.

        Raises:
            InputError: the network does not take the inputs.
        """
        inputs = SplitSubset(split, order)
        return Calibration(inputs, _dense_outputs(problem, inputs))

    def __len__(self) -> int:
        return len(self.dense)

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """As :meth:`~prunelimit.inputs.problem.Split.batches`; targets are dense outputs."""
        chosen = torch.arange(len(self)) if order is None else order.cpu()
        begin = 0
        for inputs, targets in self._inputs.batches(batch_size, order=chosen):
            end = begin + len(targets)
            yield inputs, self.dense[chosen[begin:end].to(self.dense.device)]
            begin = end

    def subset(self, count: int, seed: int) -> Split:
        """The first ``count`` samples, whatever the seed: the order was drawn already."""
        count = min(count, len(self)) or len(self)
        return Calibration(SplitSubset(self._inputs, torch.arange(count)), self.dense[:count])

    def own(self, group: Group) -> Calibration:
        """This process's share of the samples."""
        if group.size == 1:
            return self
        rows = torch.tensor(group.samples(len(self)))
        return Calibration(SplitSubset(self._inputs, rows), self.dense[rows[0] : rows[-1] + 1])

    def problem(self, problem: Problem, model: nn.Module) -> Problem:
        """The problem by which ``model`` is judged on these samples."""
        loss = problem.loss
        return self._problem(
            problem, model, loss.of_divergence if isinstance(loss, Loss) else squared_distance
        )

    def fit_problem(self, problem: Problem, model: nn.Module) -> Problem:
        """The problem by which ``model`` is fitted to these samples."""
        loss = problem.loss
        return self._problem(
            problem, model, loss.of_distance if isinstance(loss, Loss) else squared_distance
        )

    def _problem(self, problem: Problem, model: nn.Module, loss: SampleLoss) -> Problem:
        size = min(problem.batch_size, len(self))
        return dataclasses.replace(problem, model=model, train=self, loss=loss, batch_size=size)


class Windows:
    """The calibration inputs of one stage after another.

    ``count`` inputs of ``inputs`` (default: the training split; 0 or more than there are: all)
    make a stage. :attr:`held` of them judge it; they are the same in every stage. The others make
    it. Those are new inputs in every stage, as long as some were not drawn yet. So a path of many
    stages fits more inputs than one stage costs. The order is drawn by the problem's seed.

    Raises:
        InputError: the network does not take the inputs, or there are fewer than two.
        UsageError: ``count`` is less than two, or the loss has no curvature in the outputs.
    """

    def __init__(self, problem: Problem, count: int, held: float, inputs: Split | None) -> None:
        if count < 0:
            raise UsageError(f"`calibration` is {count}; give the number of samples, 0 for all.")
        self._problem = problem
        self._split = problem.train if inputs is None else inputs
        draws = generator(problem.seed, "calibration")
        order = torch.randperm(len(self._split), generator=draws)
        if len(order) < 2:
            raise InputError(
                f"Compensation needs 2 inputs or more, and there is {len(order)}; give more data."
            )
        count = min(count or len(order), len(order))
        if count < 2:
            raise UsageError(f"`calibration` is {count}; give 2 samples or more.")
        _check_curved(problem)
        self.size = count - max(1, min(MOST_HELD, int(held * count)))
        """Inputs of one solve."""
        self.held = Calibration.of(problem, self._split, order[self.size : count])
        self._pool = torch.cat([order[: self.size], order[count:]])
        self._last: tuple[tuple[int, ...], Calibration] | None = None

    def at(self, number: int) -> Calibration:
        """The inputs of solve ``number``, counted from 0. Those of the last call are kept."""
        begin = number * self.size if len(self._pool) > self.size else 0
        places = torch.arange(begin, begin + self.size) % len(self._pool)
        key = (int(places[0]), int(places[-1]))
        if self._last is None or self._last[0] != key:
            drawn = Calibration.of(self._problem, self._split, self._pool[places])
            self._last = key, drawn
        return self._last[1]


def own_losses(dense: Tensor, seed: int, axis: int = 1) -> Tensor:
    """Cross-entropy of each of the dense outputs, classes along ``axis``, with a label drawn from
    their distribution. If a sample has several positions, it is their mean.

    The tolerance is read from them in place of losses, and no labels are needed; (n,), float64.
    """
    draws = generator(seed, "labels")
    logs = wide(dense).log_softmax(axis).movedim(axis, -1).cpu()
    rows = logs.flatten(0, -2)
    drawn = torch.multinomial(rows.exp(), 1, generator=draws)
    return -rows.gather(1, drawn).view(len(dense), -1).mean(1)


def _dense_outputs(problem: Problem, split: Split) -> Tensor:
    found = []
    with torch.no_grad():
        for inputs, _ in split.batches(problem.batch_size):
            try:
                found.append(problem.model(inputs))
            except Exception as error:
                own, _ = next(iter(problem.train.batches(1)))
                raise InputError(
                    f"Calibration inputs of shape {words_of_shape(inputs)} do not go through the "
                    f"network; give inputs of shape {words_of_shape(own)}, as in training."
                ) from error
    if len({each.shape[1:] for each in found}) > 1:
        raise InputError(
            "The network's outputs differ in shape from batch to batch, and these `survivors` "
            "need outputs of one shape; pad all samples to one length."
        )
    return torch.cat(found)


def _check_curved(problem: Problem) -> None:
    """Refuse a loss whose second derivative in the outputs is zero or absent: it has no GGN."""
    if not loss_bends(problem):
        raise UsageError(
            "The loss has no second derivative in the network's outputs, and compensation needs "
            "one; give a smooth `loss`, or leave `survivors` fixed."
        )
