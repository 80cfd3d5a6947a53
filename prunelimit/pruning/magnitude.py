"""Global magnitude pruning: which weights go, in exact counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UsageError
from ..inputs.problem import Problem
from ..results.types import LayerResult

__all__ = ["keep_mask", "layer_results", "magnitude_order", "pruned_weights", "removal_count"]


def magnitude_order(
    problem: Problem, *, min_keep: int = 0, magnitudes: Tensor | None = None
) -> Tensor:
    """The removable entries of the flat free vector, smallest magnitude first; int64, (R,).

    ``magnitudes`` (D,), if given, replace those of the problem's own weights. Entries of equal
    magnitude come in the order of their index, so any prefix is reproducible. The ``min_keep``
    largest entries of every prunable tensor are not removable (Gupta et al. 2022, Global Magnitude
    Pruning); without it, R is the number of prunable weights.

    Raises:
        UsageError: ``min_keep`` is negative.
    """
    if min_keep < 0:
        raise UsageError(f"`min_keep` is {min_keep}; give 0 or more.")
    magnitudes = problem.vector().abs() if magnitudes is None else magnitudes
    removable = []
    start = 0
    for name, size in zip(problem.layout.names, problem.layout.sizes, strict=True):
        if name in problem.prunable:
            indices = torch.arange(start, start + size, device=magnitudes.device)
            if min_keep:
                order = torch.argsort(magnitudes[start : start + size], stable=True)
                indices = start + order[: max(0, size - min_keep)].sort().values
            removable.append(indices)
        start += size
    if not removable:
        return torch.empty(0, dtype=torch.int64, device=magnitudes.device)
    indices = torch.cat(removable)
    return indices[torch.argsort(magnitudes[indices], stable=True)]


def keep_mask(problem: Problem, order: Tensor, remove: int) -> Tensor:
    """True where an entry of the flat free vector is kept; bool, (D,), ``remove`` of them False.

    Raises:
        UsageError: there are fewer than ``remove`` removable weights in ``order``.
    """
    if not 0 <= remove <= len(order):
        raise UsageError(
            f"{remove} weights cannot be removed, only 0 to {len(order)}; give a smaller amount "
            "or a smaller `min_keep`."
        )
    mask = torch.ones(problem.layout.size, dtype=torch.bool, device=order.device)
    mask[order[:remove]] = False
    return mask


def removal_count(amount: float, prunable: int) -> int:
    """The number of weights nearest to the fraction ``amount`` of ``prunable`` weights.

    Raises:
        UsageError: ``amount`` is not from 0 to 1.
    """
    if not 0 <= amount <= 1:
        raise UsageError(f"A sparsity of {amount} makes no sense; give a fraction from 0 to 1.")
    return min(prunable, math.floor(amount * prunable + 0.5))


def layer_results(problem: Problem, mask: Tensor) -> tuple[LayerResult, ...]:
    """What ``mask`` (D,) keeps of every prunable tensor, in the network's order."""
    masks = problem.layout.unflatten(mask)
    layers = []
    for name in problem.layout.names:
        if name in problem.prunable:
            kept, size = int(masks[name].sum()), masks[name].numel()
            shape = tuple(masks[name].shape)
            layers.append(LayerResult(name=name, shape=shape, kept=kept, sparsity=1 - kept / size))
    return tuple(layers)


def pruned_weights(problem: Problem, mask: Tensor) -> Tensor:
    """The free parameters with zero where ``mask`` is False; a new vector, (D,)."""
    return problem.vector().masked_fill_(~mask, 0)
