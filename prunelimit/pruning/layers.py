"""The prunable weights as layers: where each lies in the flat vector, and which module it belongs
to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..inputs.problem import Problem
from ..inputs.prunable import is_transposed

__all__ = ["PrunableLayer", "flat_mask", "prunable_layers", "prunable_part", "smallest"]


@dataclass(frozen=True)
class PrunableLayer:
    """One prunable tensor: entries ``start`` to ``stop`` of the P prunable weights.

    ``modules`` are the modules that hold it; several if it is tied.
    """

    name: str
    start: int
    shape: torch.Size
    modules: tuple[nn.Module, ...]

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape.numel()

    @property
    def stop(self) -> int:
        """One past the last entry."""
        return self.start + self.size

    @property
    def input_dimension(self) -> int:
        """The dimension of ``shape`` along which inputs are summed: 1, or 0 of a transposed
        convolution and of transformers' Conv1D."""
        return 0 if any(map(is_transposed, self.modules)) else 1

    def part(self, values: Tensor) -> Tensor:
        """A view of this layer's entries of ``values`` (P,), shape (size,)."""
        return values[self.start : self.stop]


def prunable_layers(problem: Problem) -> tuple[PrunableLayer, ...]:
    """Every prunable tensor, in the order of the flat vector."""
    parameters = problem.parameters()
    owners: dict[int, list[nn.Module]] = {}
    for module in problem.model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(module)
    layers = []
    start = 0
    for name, shape in zip(problem.layout.names, problem.layout.shapes, strict=True):
        if name in problem.prunable:
            modules = tuple(owners[id(parameters[name])])
            layers.append(PrunableLayer(name, start, shape, modules))
            start += shape.numel()
    return tuple(layers)


def prunable_part(problem: Problem, vector: Tensor) -> Tensor:
    """The prunable entries of a flat vector (D,), in its order: shape (P,)."""
    return vector[problem.prunable_mask().to(vector.device)]


def flat_mask(problem: Problem, kept: Tensor) -> Tensor:
    """``kept`` (bool, (P,)) as a mask of the flat vector: bool, (D,), True where nothing is
    prunable."""
    mask = torch.ones(problem.layout.size, dtype=torch.bool, device=problem.device)
    mask[problem.prunable_mask()] = kept.to(problem.device)
    return mask


def smallest(values: Tensor, counts: Sequence[int]) -> Tensor:
    """True for the smallest values of each row, as many as ``counts`` says; ties go by index.

    ``values`` is (rows, n), ``counts`` has one entry per row; bool, (rows, n).
    """
    ranks = torch.argsort(torch.argsort(values, dim=-1, stable=True), dim=-1)
    return ranks < torch.tensor(list(counts), device=values.device)[:, None]
