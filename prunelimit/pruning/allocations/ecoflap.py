"""ECoFLaP: fewer weights go from layers in which the loss is steeper, which forward passes alone
show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...devices import wide
from ...inputs.problem import Problem
from ...inputs.structure import Inputs
from ...randomness import generator
from ..allocation import Allocation, Counts, Ranking, apportion

NAME = "ecoflap"
ORDER = 8
SOURCE = (
    "Sung, Yoon, Bansal: ECoFLaP: Efficient Coarse-to-Fine Layer-Wise Pruning for Vision-Language "
    "Models. ICLR 2024"
)
HELP = "Less of layers in which random steps change the loss more; reads inputs and labels."

__all__ = ["ALLOCATION", "ecoflap_kept", "zeroth_order"]

STEP = 1e-3
"""Length of a step in units of a normal draw: the epsilon of the paper."""

MARGIN = 0.1
"""How far the sparsity of a layer may exceed that of all."""

SAMPLES = 256
"""Most samples that are read."""

BATCH = 32
"""Samples that share one random step."""


def zeroth_order(ranking: Ranking) -> list[float]:
    """Mean over mini-batches of |L(W + e z) - L(W - e z)| / (2 e), for each layer alone.

    Sung et al. 2024, the coarse step: e is 1e-3 and L is the mean loss of the mini-batch. The
    direction z is standard normal and drawn anew for every mini-batch and layer by the problem's
    seed. It costs two forward passes of at most 256 samples per layer. Reads labels.
    """
    problem = ranking.problem
    some = ranking.split.subset(SAMPLES, problem.seed)
    parameters = problem.parameters()
    found = []
    for place, layer in enumerate(ranking.layers):
        ranking.progress("zeroth-order gradients", place, len(ranking.layers), layer.name)
        weight = parameters[layer.name].detach()
        slopes = []
        for number, (inputs, targets) in enumerate(some.batches(problem.batch(BATCH))):
            draws = generator(problem.seed, "zeroth-order steps", place, number)
            normal = torch.randn(tuple(layer.shape), generator=draws, dtype=torch.float64)
            step = STEP * normal.to(weight)
            up, down = (
                _loss(problem, inputs, targets, {layer.name: weight + sign * step})
                for sign in (1, -1)
            )
            slopes.append(abs(up - down) / (2 * STEP))
        mean = math.fsum(slopes) / len(slopes)
        # A loss beyond the largest number is steeper than any other.
        found.append(mean if math.isfinite(mean) else 1e300)
    ranking.progress("zeroth-order gradients", len(ranking.layers), len(ranking.layers))
    return found


def _loss(problem: Problem, inputs: Inputs, targets: Tensor, tensors: dict[str, Tensor]) -> float:
    with torch.no_grad():
        losses = problem.loss(problem.outputs(inputs, tensors), targets)
    return float(wide(losses).mean())


def ecoflap_kept(
    slopes: Sequence[float], sizes: Sequence[int], lower: Sequence[int], keep: int
) -> list[int]:
    """How many weights each layer keeps, ``keep`` in all and at least ``lower`` of each.

    Sung et al. 2024: every layer first keeps enough to be at most :data:`MARGIN` sparser than all
    together. The rest is shared in proportion to ``slopes``. If a layer is full, its surplus goes
    to the others in the same proportion. In the paper a layer is a matrix or a block; here it is a
    prunable tensor. The margin is that of their experiments at 50%.
    """
    least = 1 - keep / sum(sizes) + MARGIN
    first = [
        max(low, math.ceil((1 - least) * n - 1e-9)) for low, n in zip(lower, sizes, strict=True)
    ]
    if sum(first) > keep:  # the floors alone take more than the margin leaves
        first = list(lower)
    steepest = max(slopes)
    weights = [max(each / steepest, 1e-9) if steepest > 0 else 1.0 for each in slopes]
    room = [size - count for size, count in zip(sizes, first, strict=True)]
    more = apportion(weights, [0] * len(room), room, keep - sum(first))
    return [one + other for one, other in zip(first, more, strict=True)]


def _coarse(ranking: Ranking) -> Counts:
    sizes = [layer.size for layer in ranking.layers]
    slopes: list[float] = []

    def counts(caps: Sequence[int], remove: int) -> list[int]:
        if not slopes:
            slopes.extend(zeroth_order(ranking))
        lower = [size - cap for size, cap in zip(sizes, caps, strict=True)]
        kept = ecoflap_kept(slopes, sizes, lower, sum(sizes) - remove)
        return [size - count for size, count in zip(sizes, kept, strict=True)]

    return counts


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=_coarse, reads="labels", of_network=True)
