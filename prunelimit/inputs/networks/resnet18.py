"""ResNet-18 for small images."""

from __future__ import annotations

from ..architectures.residual import WideStemResNet
from ..network import NetworkFamily

NAME = "resnet18"
ORDER = 7
SOURCE = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016"
HELP = "ResNet-18 as in torchvision, with a stem for small images."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(
    NAME, SOURCE, HELP, build=lambda shape, classes: WideStemResNet(18, shape, classes)
)
