"""Exact products of the Hessian or the generalised Gauss-Newton matrix with vectors.

Both belong to the mean loss over a split in eval mode: every sample weighs the same whatever the
batches. Sources: Pearlmutter 1994 (Hessian products by double backward); Schraudolph 2002 (GGN
products J^T B J v, with B the Hessian of the loss in the outputs).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, NumericalError, UsageError
from ..inputs.problem import Problem, Split
from .folding import fold
from .memory import available_bytes

__all__ = ["CurvatureProduct"]

EXAMPLE = 32
"""Samples on which a network with folded normalisations is compared with the original."""


@dataclass(frozen=True)
class _Linearised:
    """One batch, ready for products: differentiable outputs of its graph.

    For the Hessian ``first`` holds the gradient of the batch's share of the mean loss. For the
    GGN it holds J^T u as a function of the dummy ``cotangent`` u, ``outputs`` the network's
    outputs and ``output_gradient`` the gradient of the loss in the ``detached`` outputs.
    """

    leaves: tuple[Tensor, ...]
    first: tuple[Tensor, ...]
    outputs: Tensor | None = None
    cotangent: Tensor | None = None
    detached: Tensor | None = None
    output_gradient: Tensor | None = None


class CurvatureProduct:
    """v -> H v or G v for the mean loss of ``split``; a matvec over the flat free parameters.

    Normalisation layers are folded into the layers before them where that is the same function
    (:func:`~prunelimit.curvature.folding.fold`). The differentiated graph of every batch is kept
    between products while all of them fit into ``memory_bytes`` (default: half of what is free),
    and rebuilt for each product otherwise; both give the same numbers.
    ``products`` counts the calls.

    Raises:
        UsageError: ``kind`` is neither "hessian" nor "ggn".
        InputError: an operator of the network cannot be differentiated twice (named).
        NumericalError: the gradient is not finite.
    """

    def __init__(
        self,
        problem: Problem,
        split: Split,
        kind: str = "hessian",
        *,
        memory_bytes: int | None = None,
    ) -> None:
        if kind not in ("hessian", "ggn"):
            raise UsageError(f"There is no curvature {kind!r}; choose hessian or ggn.")
        self.problem = problem
        self.split = split
        self.kind = kind
        self.products = 0
        self.seconds = 0.0
        self._count = len(split)
        self._fixed = {
            name: tensor.detach()
            for name, tensor in problem.model.named_parameters()
            if name not in set(problem.layout.names)
        }
        example, _ = next(iter(split.batches(min(problem.batch_size, EXAMPLE))))
        self._folded = fold(problem.model, set(problem.layout.names), example)
        self._kept: list[_Linearised] | None = None
        budget = available_bytes(problem.device) // 2 if memory_bytes is None else memory_bytes
        if self._bytes_of_all_graphs() <= budget:
            self._kept = list(self._linearise_all())

    @property
    def dimension(self) -> int:
        """D, the length of the vectors."""
        return self.problem.layout.size

    @property
    def retained(self) -> bool:
        """Whether the graphs are kept between products."""
        return self._kept is not None

    def __call__(self, vector: Tensor) -> Tensor:
        """The product with ``vector`` (D,), in the problem's dtype."""
        begin = time.perf_counter()
        pieces = tuple(self.problem.layout.unflatten(vector).values())
        total = torch.zeros_like(vector)
        retain = self._kept is not None
        for batch in self._kept if self._kept is not None else self._linearise_all():
            multiply = _hessian_product if self.kind == "hessian" else _ggn_product
            result = multiply(batch, pieces, retain)
            total += torch.cat([piece.reshape(-1) for piece in result])
        self.products += 1
        self.seconds += time.perf_counter() - begin
        return total

    def gradient(self) -> Tensor:
        """Gradient of the mean loss, shape (D,).

        Raises:
            NumericalError: it is not finite.
        """
        total = torch.zeros(self.dimension, dtype=self.problem.dtype, device=self.problem.device)
        for inputs, targets in self.split.batches(self.problem.batch_size):
            leaves, outputs = self._forward(inputs)
            share = self.problem.loss(outputs, targets).sum() / self._count
            pieces = torch.autograd.grad(share, leaves, materialize_grads=True)
            total += torch.cat([piece.reshape(-1) for piece in pieces])
        if not bool(torch.isfinite(total).all()):
            raise NumericalError(
                "The gradient of the loss is not finite; check the weights, or use --dtype float64."
            )
        return total

    def _forward(self, inputs: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        leaves = {n: p.detach().requires_grad_() for n, p in self.problem.parameters().items()}
        model, tensors = self.problem.model, {**self._fixed, **leaves}
        if self._folded is not None:
            model, tensors = self._folded.model, self._folded.tensors(tensors)
        outputs = torch.func.functional_call(model, tensors, (inputs,))
        return tuple(leaves.values()), outputs

    def _linearise(self, inputs: Tensor, targets: Tensor) -> _Linearised:
        leaves, outputs = self._forward(inputs)
        if self.kind == "hessian":
            share = self.problem.loss(outputs, targets).sum() / self._count
            first = torch.autograd.grad(share, leaves, create_graph=True, materialize_grads=True)
            return _Linearised(leaves, first)
        cotangent = torch.zeros_like(outputs, requires_grad=True)
        first = torch.autograd.grad(
            outputs, leaves, cotangent, create_graph=True, materialize_grads=True
        )
        detached = outputs.detach().requires_grad_()
        share = self.problem.loss(detached, targets).sum() / self._count
        (output_gradient,) = torch.autograd.grad(share, detached, create_graph=True)
        return _Linearised(leaves, first, outputs, cotangent, detached, output_gradient)

    def _linearise_all(self) -> Iterator[_Linearised]:
        for inputs, targets in self.split.batches(self.problem.batch_size):
            yield self._linearise(inputs, targets)

    def _bytes_of_all_graphs(self) -> int:
        """Bytes that the graphs of all batches would hold, from those of the first batch."""
        seen: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        inputs, targets = next(iter(self.split.batches(self.problem.batch_size)))
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            batch = self._linearise(inputs, targets)
            _check_twice_differentiable(batch.first)
        parameters = sum(leaf.numel() * leaf.element_size() for leaf in batch.leaves)
        per_sample = max(0, sum(seen.values()) - 2 * parameters) / len(targets)
        batches = -(-self._count // self.problem.batch_size)
        return int(per_sample * self._count + parameters * batches)


def _check_twice_differentiable(first: tuple[Tensor, ...]) -> None:
    """Look for the nodes that torch leaves where an operator has no second derivative.

    They only raise when backward passes through them, which it skips when nothing asked for lies
    behind: the product would then silently lack that operator's share.
    """
    pending = [tensor.grad_fn for tensor in first if tensor.grad_fn is not None]
    seen = set(pending)
    while pending:
        node = pending.pop()
        if type(node).__name__.endswith("Error") or "NotImplemented" in type(node).__name__:
            raise InputError(
                "An operator of the network cannot be differentiated twice (it is marked "
                "once_differentiable), so its curvature is unknown; replace it."
            )
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                pending.append(following)


def _hessian_product(
    batch: _Linearised, pieces: tuple[Tensor, ...], retain: bool
) -> tuple[Any, ...]:
    used = [(g, v) for g, v in zip(batch.first, pieces, strict=True) if g.requires_grad]
    if not used:
        return tuple(torch.zeros_like(leaf) for leaf in batch.leaves)
    first, vectors = zip(*used, strict=True)
    return torch.autograd.grad(
        first, batch.leaves, vectors, retain_graph=retain, materialize_grads=True
    )


def _ggn_product(batch: _Linearised, pieces: tuple[Tensor, ...], retain: bool) -> tuple[Any, ...]:
    assert batch.cotangent is not None and batch.detached is not None
    assert batch.output_gradient is not None and batch.outputs is not None
    # J v by differentiating J^T u in u, in which it is linear.
    (forward,) = torch.autograd.grad(
        batch.first, batch.cotangent, pieces, retain_graph=True, materialize_grads=True
    )
    if not batch.output_gradient.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in batch.leaves)
    (curved,) = torch.autograd.grad(
        batch.output_gradient, batch.detached, forward, retain_graph=retain
    )
    return torch.autograd.grad(
        batch.outputs, batch.leaves, curved, retain_graph=retain, materialize_grads=True
    )
