"""Five fully connected layers."""

from __future__ import annotations

from ..architectures.dense import FullyConnected
from ..network import NetworkFamily

NAME = "fc5"
ORDER = 3
SOURCE = "Zhang, Zhang, Sun, Liu: How Sparse Can We Prune A Deep Network. NeurIPS 2024"
HELP = "Five fully connected layers, 1000 hidden units and fewer."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(
    NAME,
    SOURCE,
    HELP,
    build=lambda shape, classes: FullyConnected((1000, 600, 300, 100), shape, classes),
    smallest_side=None,
)
