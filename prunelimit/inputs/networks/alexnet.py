"""AlexNet for small images."""

from __future__ import annotations

from ..architectures.plain import AlexNet
from ..network import NetworkFamily

NAME = "alexnet"
ORDER = 5
SOURCE = "Krizhevsky, Sutskever, Hinton: ImageNet Classification. NeurIPS 2012"
HELP = "AlexNet with the stem and head that small images call for."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(NAME, SOURCE, HELP, build=AlexNet, smallest_side=16)
