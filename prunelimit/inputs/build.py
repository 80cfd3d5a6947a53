"""A network from the name a user gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from .. import plugins
from ..errors import InputError, UsageError
from ..values import is_attribute
from .network import NetworkFamily, NetworkLibrary
from .plain import copied
from .resolve import did_you_mean, guarded, reason, resolve_attribute
from .source import Moments

__all__ = ["build_network", "built_in_names", "family", "library", "usual_moments"]


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
    found = library(spec)
    if found is not None:
        return found.make(spec.partition(":")[2], input_shape, classes, arguments)
    known = built_in_names()
    if spec in known:
        return _built_in(spec, input_shape, classes, arguments)
    if is_attribute(spec):
        return _own(spec, arguments)
    forms = [each.label for each in plugins.describe("network") if "form" in each.facts]
    raise UsageError(f"There is no network {spec!r}; {did_you_mean(spec, (*known, *forms))}")


def built_in_names() -> tuple[str, ...]:
    """Names of networks that are whole specs, other packages' among them."""
    found = plugins.describe("network")
    return tuple(dict.fromkeys(each.name for each in found if "form" not in each.facts))


def library(spec: str) -> NetworkLibrary | None:
    """The library of the network that ``spec`` names; None if it is in no library."""
    for each in plugins.describe("network"):
        if "form" in each.facts and re.fullmatch(str(each.facts["form"]), spec):
            found = plugins.find("network", each.name)
            assert isinstance(found, NetworkLibrary)
            return found
    return None


def usual_moments(spec: str) -> Moments:
    """Channel means and deviations that the network ``spec`` names was published with."""
    found = library(spec)
    return None if found is None else found.moments(spec.partition(":")[2])


def _built_in(
    name: str, shape: tuple[int, ...], classes: int, arguments: dict[str, Any]
) -> nn.Module:
    if arguments:
        raise UsageError(f"The built-in network {name} takes no `model_arg`; leave it out.")
    if not shape:
        raise UsageError(
            f"{name} takes one input tensor of one shape, and the data give several tensors or "
            "shapes; give a network of your own."
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


def _own(spec: str, arguments: dict[str, Any]) -> nn.Module:
    found = resolve_attribute(spec)
    if isinstance(found, nn.Module):
        # Loading a checkpoint into it must not change the user's own object.
        return copied(found)
    if not callable(found):
        raise InputError(
            f"{spec} is neither a network nor a function that makes one; name a network or such a "
            "function."
        )
    try:
        with guarded():
            network = found(**arguments)
    except Exception as error:
        raise InputError(
            f"{spec} cannot be made ({reason(error)}); correct its code or give `model_arg`."
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{spec} gives a {type(network).__name__}, not a torch.nn.Module; return one."
        )
    return network
