"""Products whose parameters are shared by a group of processes, as the vectors are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import NumericalError
from ..inputs.problem import Split
from ..inputs.sharded import ShardedProblem
from .double_backward import DoubleBackward
from .function import check_repeatable, differentiable
from .memory import available_bytes
from .operator import CurvatureOperator, operator_of

__all__ = ["ShardedProduct"]


@dataclass(frozen=True)
class _Function:
    """This process's share of the mean loss over ``count`` samples, for DTensors of the free
    parameters; graphs keep no gathered parameter."""

    problem: ShardedProblem
    count: int

    def outputs(self, free: Sequence[Tensor], inputs: Tensor) -> Tensor:
        with differentiable(self.problem.model, self.problem.device):
            tensors = dict(zip(self.problem.layout.names, free, strict=True))
            return self.problem.outputs(inputs, tensors)

    def share(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.problem.loss(outputs, targets).sum() / self.count

    def pack(self, tensor: Tensor) -> Any:
        return self.problem.gathering.pack(tensor)

    def unpack(self, kept: Any) -> Tensor:
        return self.problem.gathering.unpack(kept)


class ShardedProduct:
    """This process's part of H v or G v from its part of v, cut as the parameters of ``problem``
    are; by double backward.

    No vector (D,) is whole on a device. Samples are shared too. Each process multiplies by the
    share of its own, layer by layer. The layers' parts of the product are added up as they come in.
    All processes have the same number of batches, since they gather together. Graphs are kept for
    as many as fit into everybody's ``memory_bytes`` (default: half of what is free).

    Raises:
        UsageError: there is no such ``kind``, or there are fewer samples than
            processes.
        InputError: an operator of the network cannot be differentiated twice, or takes parameters
            where they cannot be gathered for it.
    """

    def __init__(
        self,
        problem: ShardedProblem,
        split: Split,
        kind: str | CurvatureOperator = "hessian",
        *,
        memory_bytes: int | None = None,
        count: int | None = None,
    ) -> None:
        operator = operator_of(kind)
        self.problem = problem
        self.split = split
        self.products = 0
        self.seconds = 0.0
        self.rounding_error: float | None = None
        group = problem.group
        self._parts = problem.parts(group)
        self._own = group.samples(len(split))
        fewest, most = len(split) // group.size, -(-len(split) // group.size)
        self._batches = min(fewest, -(-most // problem.batch_size))
        check_repeatable(problem, split)
        self._function = _Function(problem, count or len(split))
        self._route = DoubleBackward(self._function, list(problem.parameters().values()), operator)
        free = available_bytes(problem.device) // 2 if memory_bytes is None else memory_bytes
        self._kept: list[Any] = []
        with problem.working():
            self._keep(free)

    @property
    def dimension(self) -> int:
        """D, of the whole vectors."""
        return self.problem.layout.size

    @property
    def retained(self) -> bool:
        """Whether the graphs of all batches are kept."""
        return len(self._kept) == self._batches

    def __call__(self, part: Tensor) -> Tensor:
        """The part of the product, in the problem's dtype."""
        begin = time.perf_counter()
        direction = list(self.problem.sharded(part).values())
        total = torch.zeros_like(part)
        with self.problem.working():
            for graph, kept in self._prepared():
                total += _flat(self._route.multiply(graph, direction, kept))
        self.products += 1
        self.seconds += time.perf_counter() - begin
        return total

    def gradient(self) -> Tensor:
        """Gradient of the mean loss (D,), in host memory.

        Raises:
            NumericalError: it is not finite.
        """
        total = torch.zeros(
            self._parts.length, dtype=self.problem.dtype, device=self.problem.device
        )
        hooks = self._function.pack, self._function.unpack
        with self.problem.working(), torch.autograd.graph.saved_tensors_hooks(*hooks):
            for inputs, targets in self._each_batch():
                leaves = [p.detach().requires_grad_() for p in self.problem.parameters().values()]
                share = self._function.share(self._function.outputs(leaves, inputs), targets)
                total += _flat(torch.autograd.grad(share, leaves, materialize_grads=True))
        found = self._parts.all_gather(total)
        if not bool(torch.isfinite(found).all()):
            raise NumericalError(
                "The gradient of the loss is not finite; check the weights, or use `dtype` float64."
            )
        return found

    def _each_batch(self, first: int = 0) -> Iterator[tuple[Any, Tensor]]:
        """This process's batches from number ``first`` on."""
        own, count = self._own, self._batches
        for place in range(first, count):
            start, stop = (own.start + len(own) * each // count for each in (place, place + 1))
            yield from self.split.batches(stop - start, order=torch.arange(start, stop))

    def _keep(self, room: int) -> None:
        """Keep graphs, from the first batch on, as long as every process has room for its own."""
        for inputs, targets in self._each_batch():
            graph = self._route.prepare(inputs, targets)
            room -= graph.bytes
            if not self.problem.group.all_reduce_min(int(room >= 0), self.problem.device):
                return
            self._kept.append(graph)

    def _prepared(self) -> Iterator[tuple[Any, bool]]:
        """Every batch's graph, and whether it is kept."""
        for graph in self._kept:
            yield graph, True
        for inputs, targets in self._each_batch(len(self._kept)):
            yield self._route.prepare(inputs, targets), False


def _flat(pieces: Sequence[Tensor]) -> Tensor:
    """This process's rows of the DTensors as one vector."""
    from torch.distributed.tensor import Shard

    rows = [each.detach().redistribute(placements=[Shard(0)]) for each in pieces]  # type: ignore[attr-defined]
    return torch.cat([each.to_local().reshape(-1) for each in rows])
