"""Products by differentiating a kept graph of the gradient. Every network allows that.

Each matrix says what is differentiated, and how a product comes from it (:mod:`.operators`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..inputs import structure
from ..inputs.structure import Inputs
from .memory import storage_of
from .operator import CurvatureOperator, Derivatives, Function

__all__ = ["DoubleBackward"]


@dataclass(frozen=True)
class _Graph:
    """One batch, ready for products; ``bytes`` is the memory that keeping it takes."""

    derivatives: Derivatives
    bytes: int


class DoubleBackward:
    """Products with the matrix ``operator`` of ``function``, by batches."""

    def __init__(
        self, function: Function, parameters: Sequence[Tensor], operator: CurvatureOperator
    ) -> None:
        self.function = function
        self.operator = operator
        self._parameters = parameters

    def prepare(self, inputs: Inputs, targets: Tensor) -> _Graph:
        """The differentiated graph of one batch.

        Raises:
            InputError: an operator of the network cannot be differentiated twice.
        """
        leaves = tuple(parameter.detach().requires_grad_() for parameter in self._parameters)
        own = {storage_of(_own(leaf))[0] for leaf in leaves}
        # These are rows of data that lie in memory anyway.
        views = (*structure.leaves(inputs), targets)
        own |= {storage_of(each)[0] for each in views if storage_of(each)[1] > each.nbytes}
        saved: dict[int, int] = {}

        def note(tensor: Tensor) -> Any:
            kept = self.function.pack(tensor)
            if isinstance(kept, Tensor):
                place, size = storage_of(_own(kept))
                if place not in own:
                    saved[place] = size
            # A node that holds its own output would never be freed. Torch attaches what is
            # unpacked to the graph again.
            return tensor.detach() if kept is tensor and tensor.grad_fn is not None else kept

        with torch.autograd.graph.saved_tensors_hooks(note, self.function.unpack):
            found = self.operator.differentiate(self.function, leaves, inputs, targets)
        _check_twice_differentiable(found.first)
        for tensor in found.first:
            note(tensor)
        return _Graph(found, bytes=sum(saved.values()))

    def direction(self, pieces: Sequence[Tensor]) -> Sequence[Tensor]:
        """A vector, one tensor per parameter, ready for products: here unchanged."""
        return pieces

    def multiply(self, graph: _Graph, direction: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
        """The batch's share of the product with ``direction``, one tensor per parameter."""
        return self.operator.multiply(graph.derivatives, direction, keep)


def _own(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies in this process: the local part of a DTensor, else all."""
    part: Tensor = getattr(tensor, "_local_tensor", tensor)
    return part


def _check_twice_differentiable(first: Sequence[Tensor]) -> None:
    """Look for the nodes that torch leaves where an operator has no second derivative.

    They raise only when backward passes through them. Backward skips them if nothing that is asked
    for lies behind them. The product would then silently lack that operator's share.
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
            "replace that operator."
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
    """The message of a node that only raises."""
    try:
        node(torch.zeros(()))
    except Exception as error:  # that is all it does
        return " ".join(str(error).split()).rstrip(".")
    return "torch has no derivative for it"
