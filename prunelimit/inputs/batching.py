"""How many samples go through a network at once, where the user leaves that open."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .structure import Inputs
from .structure import leaves as tensors_of

__all__ = ["samples_at_once"]

MOST, LEAST = 500, 16

CACHED = 4 * 2**20
"""Bytes of a layer's output on a CPU. A larger one leaves the caches before the next layer reads
it. A forward pass of ResNet-20 takes 1.6 times as long by batches of 500 as by 64."""


def samples_at_once(model: nn.Module, inputs: Inputs) -> int:
    """The batch size at which ``model`` is fast on its device; ``inputs`` (1, ...) is one sample.

    On a CPU, the largest output of a layer has to stay near the caches. But there are enough
    samples that computing outweighs reading the parameters.
    """
    if tensors_of(inputs)[0].device.type != "cpu":
        return MOST
    sizes = [1]

    def note(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.nbytes)

    leaves = [module for module in model.modules() if not any(module.children())]
    # A scripted module allows no hooks, so the layers inside it are not seen.
    seen = [module for module in leaves if not isinstance(module, torch.jit.ScriptModule)]
    hooks = [module.register_forward_hook(note) for module in seen]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    parameters = sum(parameter.nbytes for parameter in model.parameters())
    return max(LEAST, min(MOST, max(CACHED // max(sizes), parameters // sum(sizes))))
