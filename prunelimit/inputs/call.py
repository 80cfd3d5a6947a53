"""A network called with other tensors in the place of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["call"]


def call(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Outputs of ``model`` for ``inputs``, with ``tensors`` in place of parameters and buffers of
    the same name, wherever those are used; differentiable. The network is unchanged afterwards.

    torch.func.functional_call puts a tensor in by all of its names; where a module has several, it
    swaps twice in one place and leaves the replacement there (pytorch issue 164759). Here every
    place is swapped once.
    """
    outputs: Tensor = torch.func.functional_call(
        model, _by_place(model, tensors), (inputs,), tie_weights=False
    )
    return outputs


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
