"""LeNet-5."""

from __future__ import annotations

from ..architectures.dense import LeNet5
from ..network import NetworkFamily

NAME = "lenet5"
ORDER = 2
SOURCE = (
    "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition. 1998"
)
HELP = "Two convolutions of 20 and 50 maps, 500 hidden units."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(NAME, SOURCE, HELP, build=LeNet5, smallest_side=8)
