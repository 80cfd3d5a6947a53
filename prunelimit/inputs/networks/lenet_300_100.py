"""LeNet-300-100."""

from __future__ import annotations

from ..architectures.dense import FullyConnected
from ..network import NetworkFamily

NAME = "lenet-300-100"
ORDER = 1
SOURCE = (
    "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition. 1998"
)
HELP = "Fully connected, with 300 and 100 hidden units."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(
    NAME,
    SOURCE,
    HELP,
    build=lambda shape, classes: FullyConnected((300, 100), shape, classes),
    smallest_side=None,
)
