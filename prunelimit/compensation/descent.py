"""Survivors moved by minibatches: the outputs drawn back to the dense network's.

Distillation without labels: Adam goes down the mean squared distance of the outputs, minibatch by
minibatch. A step costs one gradient of a few inputs, so that all inputs are seen many times at the
price of a few curvature products. Where survivors are more than the inputs can tell apart, it
generalises better than a solve on the same inputs.

Every tensor has a rate of its own, a share of the typical size of its survivors. So a layer that is
rescaled, and the next one that undoes it, move alike.

Sources: Ba and Caruana 2014 (the squared distance of logits); Kingma and Ba 2015 (Adam); You et al.
2017 (rates by the size of each layer's weights); Loshchilov and Hutter 2017 (the cosine).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..curvature.function import NetworkFunction
from ..devices import wide
from ..inputs.problem import Problem, Split
from ..progress import Progress, silent
from ..randomness import generator

__all__ = ["descent", "passes_of", "typical_sizes"]

BATCH = 32
"""Inputs of a step."""

STEPS = 400
"""Steps, about: few inputs are passed as often as that takes."""

LEAST_PASSES, MOST_PASSES = 3, 10
"""Passes at least and at most. Fewer leave many inputs half used; further ones fit what few inputs
have of their own."""

WARM_UP = 0.1
"""Share of the steps in which the rate rises."""

FLOOR = 0.01
"""Share of the network's typical weight that a tensor's is taken to be at least: one that is all
zero moves too."""


def passes_of(inputs: int) -> int:
    """How often ``inputs`` inputs are passed."""
    return min(MOST_PASSES, max(LEAST_PASSES, round(STEPS * BATCH / inputs)))


def descent(
    problem: Problem,
    samples: Split,
    weights: Tensor,
    kept: Tensor,
    *,
    rate: float,
    place: int = 0,
    progress: Progress = silent,
) -> Tensor:
    """The free parameters (D,) after Adam on the mean loss of ``samples``.

    ``problem`` has the loss and the network, whose weights are ``weights`` (D,), zero where
    ``kept`` (bool, (D,)) is False; those stay zero. The rate rises to ``rate`` times the typical
    size of a tensor's survivors and falls along a cosine. Minibatches are drawn by the problem's
    seed, for every ``place`` anew.

    Raises:
        InputError: the same samples give other outputs, or are others, when asked for again.
    """
    size = problem.batch(BATCH)
    first, _ = next(iter(samples.batches(size)))
    masks = list(problem.layout.unflatten(kept).values())
    leaves = [each.clone() for each in problem.layout.unflatten(weights.detach()).values()]
    function = NetworkFunction.of(problem, samples).in_channels_last(leaves, first)
    sizes = typical_sizes(leaves, masks)
    passes = passes_of(len(samples))
    steps = passes * math.ceil(len(samples) / size)
    adam = [_Adam(leaf) for leaf in leaves]
    step = 0
    draws = generator(problem.seed, "descent order", place)
    for number in range(passes):
        order = torch.randperm(len(samples), generator=draws)
        for inputs, targets in samples.batches(size, order=order):
            with torch.enable_grad():
                free = [leaf.requires_grad_() for leaf in leaves]
                loss = problem.loss(function.outputs(free, inputs), targets).mean()
                found = torch.autograd.grad(loss, free, materialize_grads=True)
            now = rate * _share(step, steps)
            for each, size_of, gradient, mask in zip(adam, sizes, found, masks, strict=True):
                each.step(gradient * mask, now * size_of)
            step += 1
        progress("drawing outputs back", number + 1, passes)
    moved = {name: leaf.detach() for name, leaf in zip(problem.layout.names, leaves, strict=True)}
    return problem.layout.flatten(moved).masked_fill(~kept, 0)


class _Adam:
    """Adam on one tensor, without what torch's own loads of its compiler: 900 modules, 150 MiB.

    Nothing is added to the root of the mean square. So a loss in other units moves weights alike.
    """

    MEAN, SQUARE = 0.9, 0.999

    def __init__(self, leaf: Tensor) -> None:
        self._leaf = leaf
        self._mean, self._square = torch.zeros_like(leaf), torch.zeros_like(leaf)
        self._tiny = torch.finfo(leaf.dtype).tiny
        self._steps = 0

    def step(self, gradient: Tensor, rate: float) -> None:
        """Move the tensor, at most by about ``rate`` everywhere."""
        self._steps += 1
        self._mean.lerp_(gradient, 1 - self.MEAN)
        self._square.mul_(self.SQUARE).addcmul_(gradient, gradient, value=1 - self.SQUARE)
        seen = math.sqrt(1 - self.SQUARE**self._steps)
        size = (self._square.sqrt() / seen).add_(self._tiny)
        self._leaf.detach().addcdiv_(self._mean, size, value=-rate / (1 - self.MEAN**self._steps))


def typical_sizes(tensors: list[Tensor], masks: list[Tensor]) -> list[float]:
    """The root mean square of what is kept of every tensor, at least a share of that of all."""
    squares = [float(wide(each).square().sum()) for each in tensors]
    counts = [int(mask.sum()) for mask in masks]
    least = FLOOR * math.sqrt(sum(squares) / max(1, sum(counts)))
    return [
        max(least, math.sqrt(square / max(1, count)))
        for square, count in zip(squares, counts, strict=True)
    ]


def _share(step: int, steps: int) -> float:
    """Of the highest rate."""
    rise = min(1.0, (step + 1) / max(1.0, WARM_UP * steps))
    return rise * 0.5 * (1 + math.cos(math.pi * step / steps))
