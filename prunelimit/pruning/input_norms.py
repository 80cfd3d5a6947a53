"""The size of the inputs that every weight reads, layer by layer."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..devices import wide
from ..errors import InputError
from ..inputs.problem import Problem, Split
from ..inputs.prunable import is_transposed_linear
from .layers import prunable_layers

__all__ = ["input_norms"]

KINDS = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers whose inputs are the ones that their weight multiplies."""


def _linear(module: nn.Module) -> Any:
    """A copy of ``module`` without bias, whose weight's derivative is taken."""
    twin = copy.deepcopy(module)
    twin.register_parameter("bias", None)
    return twin.requires_grad_()


def _squared_inputs(twin: Any, inputs: Tensor) -> Tensor:
    """Sum of the squares of the inputs that every weight multiplies; float64, its shape.

    That sum is the derivative of sum(twin(inputs^2)) in the weight, whatever the weight is. So the
    module itself takes care of strides, padding, dilation and groups.
    """
    if is_transposed_linear(twin):
        features = wide(inputs).square().flatten(0, -2).sum(0)
        return features[:, None].expand(twin.weight.shape)
    with torch.enable_grad():
        (found,) = torch.autograd.grad(twin(inputs.square()).sum(), twin.weight)
    total: Tensor = wide(found)
    return total


def input_norms(
    problem: Problem, split: Split, reader: str = "wanda", choice: str = "criterion"
) -> Tensor:
    """l2 norm, over ``split`` and all positions, of the inputs of every prunable weight.

    Float64, (P,). For a linear layer it is the norm of the weight's input feature. For error
    messages, ``reader`` is the name of what needs the norms, and ``choice`` the option that chose
    it.

    Raises:
        InputError: a prunable layer is never called as a module, or is of a kind whose inputs are
            not those of its weight.
    """
    layers = prunable_layers(problem)
    for layer in layers:
        for module in layer.modules:
            if not isinstance(module, KINDS) and not is_transposed_linear(module):
                raise InputError(
                    f"{reader} cannot see the inputs that {layer.name} of a "
                    f"{type(module).__name__} multiplies; leave this layer out with `exclude`, or "
                    f"give another `{choice}`."
                )
    totals: dict[str, Tensor] = {}
    handles = []

    def watch(name: str, module: nn.Module) -> Any:
        twin = _linear(module)

        def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            found = _squared_inputs(twin, arguments[0].detach())
            totals[name] = totals[name] + found if name in totals else found

        return module.register_forward_pre_hook(note)

    try:
        for layer in layers:
            handles += [watch(layer.name, module) for module in layer.modules]
        with torch.no_grad():
            for inputs, _ in split.batches(problem.batch_size):
                problem.model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    unseen = [layer.name for layer in layers if layer.name not in totals]
    if unseen:
        raise InputError(
            f"{reader} sees no inputs of {unseen[0]}, because the network never calls it as a "
            f"module; leave this layer out with `exclude`, or give another `{choice}`."
        )
    return torch.cat([totals[layer.name].reshape(-1) for layer in layers]).sqrt()
