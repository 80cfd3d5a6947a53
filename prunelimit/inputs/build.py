"""A network from the name a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .. import plugins
from ..errors import InputError, UsageError
from ..values import is_attribute
from .network import NetworkFamily
from .plain import copied
from .resolve import did_you_mean, guarded, reason, resolve_attribute

__all__ = ["build_network", "family"]


def family(name: str) -> NetworkFamily:
    """The built-in network, or another package's, of that name.

    Raises:
        UsageError: there is none, or two packages each have one.
        InputError: it cannot be imported.
    """
    found: NetworkFamily = plugins.find("network", name)
    return found


def build_network(
    spec: str,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The network that ``spec`` names, with fresh weights.

    Raises:
        UsageError: there is no such network, or it cannot take inputs of ``input_shape``.
        InputError: a user's own network cannot be made.
    """
    arguments = dict(arguments or {})
    if spec.startswith("torchvision:"):
        return _torchvision(spec.removeprefix("torchvision:"), classes, arguments)
    known = plugins.names("network")
    if spec in known:
        return _built_in(spec, input_shape, classes, arguments)
    if is_attribute(spec):
        return _own(spec, arguments)
    raise UsageError(f"There is no network {spec!r}; {did_you_mean(spec, known)}")


def _built_in(
    name: str, shape: tuple[int, ...], classes: int, arguments: dict[str, Any]
) -> nn.Module:
    if arguments:
        raise UsageError(f"The built-in network {name} takes no `model_arg`; leave it out.")
    if not shape:
        raise UsageError(
            f"{name} takes one tensor of inputs of one shape, and the data give several, or of "
            "differing size; give a network of your own."
        )
    found = family(name)
    if found.smallest_side is None:
        return found.build(shape, classes)
    if len(shape) != 3:
        raise UsageError(
            f"{name} is convolutional, but inputs have shape {shape}; give images of shape "
            "(channels, height, width) or choose a fully connected network such as lenet-300-100."
        )
    if min(shape[1:]) < found.smallest_side:
        raise UsageError(
            f"{name} needs images of at least {found.smallest_side} pixels a side, not "
            f"{shape[1]}x{shape[2]}; choose a smaller network such as lenet5."
        )
    return found.build(shape, classes)


def _torchvision(name: str, classes: int, arguments: dict[str, Any]) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(f"torchvision has no network {name!r}; {did_you_mean(name, known)}")
    try:
        network: nn.Module = models.get_model(
            name, weights=None, **{"num_classes": classes, **arguments}
        )
    except Exception as error:
        raise UsageError(
            f"torchvision:{name} cannot be made ({reason(error)}); check `model_arg`."
        ) from error
    return network


def _own(spec: str, arguments: dict[str, Any]) -> nn.Module:
    found = resolve_attribute(spec)
    if isinstance(found, nn.Module):
        # Loading a checkpoint into it must not change the user's own object.
        return copied(found)
    if not callable(found):
        raise InputError(f"{spec} is neither a network nor a function that makes one; name one.")
    try:
        with guarded():
            network = found(**arguments)
    except Exception as error:
        raise InputError(
            f"{spec} cannot be made ({reason(error)}); correct it or give `model_arg`."
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{spec} gives a {type(network).__name__}, not a torch.nn.Module; return one."
        )
    return network
