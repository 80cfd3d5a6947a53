"""What a built-in network is: how it is made for inputs and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ..plugins import Plugin

__all__ = ["NetworkFamily"]


@dataclass(frozen=True, kw_only=True)
class NetworkFamily(Plugin):
    """A network by name: the object NETWORK of a file in ``networks``.

    ``build(shape, classes)`` makes it with fresh weights, for inputs of ``shape`` without the
    sample dimension. ``smallest_side`` is how many pixels a side images (channels, height, width)
    need; None for a network that takes inputs of any shape.
    """

    build: Callable[[tuple[int, ...], int], nn.Module]
    smallest_side: int | None = 4
