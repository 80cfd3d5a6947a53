"""A network by name can be made for any inputs and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..plugins import Plugin
from .source import Moments

__all__ = ["NetworkFamily", "NetworkLibrary"]


@dataclass(frozen=True, kw_only=True)
class NetworkFamily(Plugin):
    """A network by name: the object NETWORK of a file in ``networks``.

    ``build(shape, classes)`` makes it with fresh weights, for inputs of ``shape`` without the
    sample dimension. ``smallest_side`` is the least side, in pixels, of images (channels, height,
    width). It is None for a network that takes inputs of any shape.
    """

    build: Callable[[tuple[int, ...], int], nn.Module]
    smallest_side: int | None = 4


def _no_moments(name: str) -> Moments:
    return None


def _no_names(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    return None


def _of_a_library(shape: tuple[int, ...], classes: int) -> nn.Module:
    raise NotImplementedError("a library's networks have names of their own")


@dataclass(frozen=True, kw_only=True)
class NetworkLibrary(NetworkFamily):
    """The networks of another package, LIBRARY:NAME; the literal ``FORM`` in its file says so.

    ``make(name, shape, classes, arguments)`` makes one with fresh weights and ``classes`` outputs.
    ``arguments`` are those of ``model_arg``. ``moments(name)`` gives the channel means and
    deviations that its published weights were trained with; None if they are not known.
    ``translate(network, tensors)`` is for a library whose files have other names. It gives a file's
    tensors under the names that they have in ``network``; None if it cannot tell.
    """

    make: Callable[[str, tuple[int, ...], int, Mapping[str, Any]], nn.Module]
    moments: Callable[[str], Moments] = _no_moments
    translate: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor] | None] = _no_names
    build: Callable[[tuple[int, ...], int], nn.Module] = _of_a_library
