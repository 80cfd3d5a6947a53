"""Twelve fully connected layers."""

from __future__ import annotations

from ..architectures.dense import FullyConnected
from ..network import NetworkFamily

NAME = "fc12"
ORDER = 4
SOURCE = "Zhang, Zhang, Sun, Liu: How Sparse Can We Prune A Deep Network. NeurIPS 2024"
HELP = "Twelve fully connected layers, 1000 hidden units and fewer."

__all__ = ["NETWORK"]

NETWORK = NetworkFamily(
    NAME,
    SOURCE,
    HELP,
    build=lambda shape, classes: FullyConnected(
        (1000, 900, 800, 750, 700, 650, 600, 500, 400, 200, 100), shape, classes, deep=True
    ),
    smallest_side=None,
)
