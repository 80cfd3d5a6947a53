"""ResNet-20 for small images."""

from __future__ import annotations

from ..architectures.residual import NarrowResNet
from ..network import NetworkFamily

NAME = "resnet20"
ORDER = 8
SOURCE = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016"
HELP = "ResNet-20 of 16, 32 and 64 channels."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(
    NAME, SOURCE, HELP, build=lambda shape, classes: NarrowResNet(3, shape, classes)
)
