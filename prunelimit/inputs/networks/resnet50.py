"""ResNet-50 for small images."""

from __future__ import annotations

from ..architectures.residual import WideStemResNet
from ..network import NetworkFamily

NAME = "resnet50"
ORDER = 10
SOURCE = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016"
HELP = "ResNet-50 as in torchvision, with a stem for small images."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(
    NAME, SOURCE, HELP, build=lambda shape, classes: WideStemResNet(50, shape, classes)
)
