"""A network as it was made, made ready for weights to be put in."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import InputError
from .call import outputs_of
from .device import placed
from .plain import unwrapped
from .problem import Split
from .resolve import guarded, reason
from .structure import Spread, cloned, mapped, words_of_shape

__all__ = ["prepared"]

log = logging.getLogger(__name__)

SAID = "_prunelimit_said"
"""Attribute of a network whose several outputs were reported already."""


def prepared(
    network: nn.Module, spec: str, split: Split, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """``network`` in eval mode on ``device`` and of ``dtype``, without what wraps it.

    It then gives its outputs alone (:func:`.call.outputs_of`). Lazy layers get their shapes from a
    sample of ``split``. Tensors made in inference mode become ordinary ones. Tensors on the device
    "meta" stay there, to be replaced by a file's.

    Raises:
        InputError: it is a scripted module, or lazy layers cannot take their shapes.
    """
    network = unwrapped(network)
    if isinstance(network, torch.jit.ScriptModule):
        raise InputError(
            f"{spec} gives a scripted module, whose weights cannot be replaced; give the network "
            "from which it was scripted."
        )
    network.eval()
    network.register_forward_pre_hook(Spread.of(network), with_kwargs=True)
    if any(map(is_lazy, [*network.parameters(), *network.buffers()])):
        inputs, _ = next(iter(split.batches(1)))
        kind = _kind(network)
        given = mapped(lambda x: x.cpu().to(kind) if x.is_floating_point() else x.cpu(), inputs)
        try:
            with guarded(), torch.no_grad():
                network(cloned(given))
        except Exception as error:
            raise InputError(
                f"The lazy layers of {spec} cannot take their shapes from a sample of "
                f"{words_of_shape(inputs)} ({reason(error)}); check `model` and `data`."
            ) from error
    _leave_inference_mode(network)
    network.register_forward_hook(_only_outputs)
    if any(each.is_meta for each in [*network.parameters(), *network.buffers()]):
        return network
    return placed(network, device, dtype)


def _kind(network: nn.Module) -> torch.dtype:
    """The floating-point type that the network was made in."""
    kinds = [each.dtype for each in network.parameters() if each.is_floating_point()]
    return kinds[0] if kinds else torch.get_default_dtype()


def _only_outputs(network: nn.Module, given: Any, found: Any) -> Tensor:
    """The outputs in the return value of a network, whoever calls it."""
    outputs = outputs_of(found)
    if isinstance(found, (tuple, list)) and len(found) > 1 and not hasattr(network, SAID):
        setattr(network, SAID, True)
        log.warning("The network returns %d values; the first is used as its outputs.", len(found))
    return outputs


def _leave_inference_mode(network: nn.Module) -> None:
    """Make tensors that were made in inference mode ordinary ones, in place; tied ones once."""
    made: dict[int, Tensor] = {}
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and parameter.is_inference():
                if id(parameter) not in made:
                    made[id(parameter)] = nn.Parameter(
                        parameter.clone(), requires_grad=parameter.requires_grad
                    )
                setattr(module, name, made[id(parameter)])
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_inference():
                made.setdefault(id(buffer), buffer.clone())
                module._buffers[name] = made[id(buffer)]
