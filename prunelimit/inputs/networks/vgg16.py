"""VGG-16 for small images."""

from __future__ import annotations

from ..architectures.plain import Vgg16
from ..network import NetworkFamily

NAME = "vgg16"
ORDER = 6
SOURCE = "Simonyan, Zisserman: Very Deep Convolutional Networks. ICLR 2015"
HELP = "VGG-16 with batch normalisation and one linear layer."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(NAME, SOURCE, HELP, build=Vgg16, smallest_side=32)
