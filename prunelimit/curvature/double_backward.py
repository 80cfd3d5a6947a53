"""Products by differentiating a kept graph of the gradient: what every network allows.

Sources: Pearlmutter 1994 (Hessian products by double backward); Schraudolph 2002 (GGN products
J^T B J v, with B the Hessian of the loss in the outputs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["DoubleBackward"]


class Function(Protocol):
    """What is differentiated, as :class:`.function.NetworkFunction` is."""

    def outputs(self, free: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """Outputs for ``inputs`` with the free parameters ``free``."""
        ...

    def share(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What a batch with these ``outputs`` adds to the mean loss; a scalar."""
        ...

    def put_away(self, tensor: Tensor) -> Any:
        """What the graph keeps in place of ``tensor``; a tensor counts as memory."""
        ...

    def take_out(self, kept: Any) -> Tensor:
        """The tensor that :meth:`put_away` was given."""
        ...


@dataclass(frozen=True)
class _Graph:
    """One batch, ready for products: differentiable outputs of its graph.

    For the Hessian ``first`` holds the gradient of the batch's share of the mean loss. For the
    GGN it holds J^T u as a function of the dummy ``cotangent`` u, ``outputs`` the network's
    outputs and ``output_gradient`` the gradient of the loss in the ``detached`` outputs.
    ``bytes`` is the memory that keeping it takes.
    """

    leaves: tuple[Tensor, ...]
    first: tuple[Tensor, ...]
    bytes: int
    outputs: Tensor | None = None
    cotangent: Tensor | None = None
    detached: Tensor | None = None
    output_gradient: Tensor | None = None


class DoubleBackward:
    """Products with the Hessian ("hessian") or the GGN ("ggn") of ``function``, by batches."""

    def __init__(self, function: Function, parameters: Sequence[Tensor], kind: str) -> None:
        self.function = function
        self.kind = kind
        self._parameters = parameters

    def prepare(self, inputs: Tensor, targets: Tensor) -> _Graph:
        """The differentiated graph of one batch.

        Raises:
            InputError: an operator of the network cannot be differentiated twice.
        """
        leaves = tuple(parameter.detach().requires_grad_() for parameter in self._parameters)
        own = {_own(leaf).untyped_storage().data_ptr() for leaf in leaves}
        saved: dict[int, int] = {}

        def note(tensor: Tensor) -> Any:
            kept = self.function.put_away(tensor)
            if isinstance(kept, Tensor):
                storage = _own(kept).untyped_storage()
                if storage.data_ptr() not in own:
                    saved[storage.data_ptr()] = storage.nbytes()
            return kept

        with torch.autograd.graph.saved_tensors_hooks(note, self.function.take_out):
            found = self._differentiate(leaves, inputs, targets)
        _check_twice_differentiable(found["first"])
        for tensor in found["first"]:
            note(tensor)
        return _Graph(leaves, bytes=sum(saved.values()), **found)

    def direction(self, pieces: Sequence[Tensor]) -> Sequence[Tensor]:
        """A vector, one tensor per parameter, made ready: as it is."""
        return pieces

    def multiply(self, graph: _Graph, direction: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
        """The batch's share of the product with ``direction``, one tensor per parameter."""
        if self.kind == "hessian":
            return _hessian_product(graph, direction, keep)
        return _ggn_product(graph, direction, keep)

    def _differentiate(
        self, leaves: tuple[Tensor, ...], inputs: Tensor, targets: Tensor
    ) -> dict[str, Any]:
        outputs = self.function.outputs(leaves, inputs)
        if self.kind == "hessian":
            share = self.function.share(outputs, targets)
            first = torch.autograd.grad(share, leaves, create_graph=True, materialize_grads=True)
            return {"first": first}
        cotangent = torch.zeros_like(outputs, requires_grad=True)
        first = torch.autograd.grad(
            outputs, leaves, cotangent, create_graph=True, materialize_grads=True
        )
        detached = outputs.detach().requires_grad_()
        share = self.function.share(detached, targets)
        (output_gradient,) = torch.autograd.grad(share, detached, create_graph=True)
        return {
            "first": first,
            "outputs": outputs,
            "cotangent": cotangent,
            "detached": detached,
            "output_gradient": output_gradient,
        }


def _own(tensor: Tensor) -> Tensor:
    """What lies in this process of a tensor: of a DTensor its part, else all."""
    part: Tensor = getattr(tensor, "_local_tensor", tensor)
    return part


def _check_twice_differentiable(first: Sequence[Tensor]) -> None:
    """Look for the nodes that torch leaves where an operator has no second derivative.

    They only raise when backward passes through them, which it skips when nothing asked for lies
    behind: the product would then silently lack that operator's share.
    """
    names, refusal = set(), None
    for node in _nodes(first):
        kind = type(node).__name__
        if kind.endswith("Error") or "NotImplemented" in kind:
            refusal = refusal or _words(node)
        if hasattr(getattr(getattr(node, "_forward_cls", None), "backward", None), "__wrapped__"):
            names.add(kind.removesuffix("Backward"))
    if refusal is not None:
        called = f" ({', '.join(sorted(names))})" if names else ""
        raise InputError(
            f"An operator of the network{called} cannot be differentiated twice: {refusal}; "
            "replace it."
        )


def _nodes(tensors: Sequence[Tensor]) -> set[Any]:
    """Every node of the graph that made ``tensors``."""
    pending = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen = set(pending)
    while pending:
        for following, _ in pending.pop().next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                pending.append(following)
    return seen


def _words(node: Any) -> str:
    """What a node that only raises has to say."""
    try:
        node(torch.zeros(()))
    except Exception as error:  # that is all it does
        return " ".join(str(error).split()).rstrip(".")
    return "torch has no derivative for it"


def _hessian_product(graph: _Graph, direction: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
    used = [(g, v) for g, v in zip(graph.first, direction, strict=True) if g.requires_grad]
    if not used:
        return tuple(torch.zeros_like(leaf) for leaf in graph.leaves)
    first, vectors = zip(*used, strict=True)
    found: tuple[Tensor, ...] = torch.autograd.grad(
        first, graph.leaves, vectors, retain_graph=keep, materialize_grads=True
    )
    return found


def _ggn_product(graph: _Graph, direction: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
    assert graph.cotangent is not None and graph.detached is not None
    assert graph.output_gradient is not None and graph.outputs is not None
    # J v by differentiating J^T u in u, in which it is linear.
    (forward,) = torch.autograd.grad(
        graph.first, graph.cotangent, tuple(direction), retain_graph=True, materialize_grads=True
    )
    if not graph.output_gradient.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in graph.leaves)
    (curved,) = torch.autograd.grad(
        graph.output_gradient, graph.detached, forward, retain_graph=keep
    )
    found: tuple[Tensor, ...] = torch.autograd.grad(
        graph.outputs, graph.leaves, curved, retain_graph=keep, materialize_grads=True
    )
    return found
