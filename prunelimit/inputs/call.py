"""A network called with other tensors in place of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .structure import Inputs, leaves

__all__ = ["call", "outputs_of"]

OUTPUTS = ("logits", "out")
"""Names under which networks give their outputs beside other things."""


def call(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
    """Outputs of ``model`` for ``inputs``, with ``tensors`` in place of parameters and buffers of
    the same name, wherever those are used; differentiable. The network is unchanged afterwards.

    torch.func.functional_call puts a tensor in by all of its names. If a module has several, it
    swaps twice in one place and leaves the replacement there (pytorch issue 164759). Here every
    place is swapped once.

    Raises:
        InputError: the network writes to ``inputs``, which others read after it.
    """
    gradients = torch.is_grad_enabled()
    versions = _versions(inputs)
    try:
        found = torch.func.functional_call(
            model, _by_place(model, tensors), (inputs,), tie_weights=False
        )
    finally:
        torch.set_grad_enabled(gradients)  # a network may leave it switched
    if versions != _versions(inputs):
        raise InputError(
            "The network writes to its inputs (as x -= 1 does); let it make new tensors "
            "(x = x - 1)."
        )
    return outputs_of(found)


def _versions(inputs: Inputs) -> list[int | None]:
    """How often each tensor was written to; None for inference tensors, which do not count it."""
    return [None if each.is_inference() else each._version for each in leaves(inputs)]


def outputs_of(found: Any) -> Tensor:
    """The outputs in the return value of a network. They are the value itself, its ``logits`` or
    ``out`` by attribute or by key, or the first of a tuple or list.

    Raises:
        InputError: there is no tensor there.
    """
    if isinstance(found, Tensor):
        return found
    for name in OUTPUTS:
        inner = getattr(found, name, None)
        if inner is None and isinstance(found, Mapping):
            inner = found.get(name)
        if isinstance(inner, Tensor):
            return inner
    if isinstance(found, (tuple, list)) and found and isinstance(found[0], Tensor):
        first: Tensor = found[0]
        return first
    raise InputError(
        f"The network gives a {type(found).__name__}; let it return a tensor of outputs, or "
        "something with .logits."
    )


def _by_place(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` under one name for every module that holds the tensor in question."""
    places: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():  # each module once
        for name, held in (*module._parameters.items(), *module._buffers.items()):
            if held is not None:
                places.setdefault(id(held), []).append(f"{prefix}.{name}" if prefix else name)
    names = {
        name: id(held)
        for named in (model.named_parameters, model.named_buffers)
        for name, held in named(remove_duplicate=False)
    }
    return {
        place: tensor
        for name, tensor in tensors.items()
        for place in (places[names[name]] if name in names else [name])
    }
