"""CIFAR10 as torchvision has it."""

from __future__ import annotations

from ..source import DataSource
from ..torchvision_data import read_torchvision

NAME = "cifar10"
ORDER = 4
FORM = r"cifar10"
LABEL = "cifar10"
SOURCE = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009"
HELP = "CIFAR10, from `data_dir`."

__all__ = ["DATA"]

MOMENTS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
"""Channel means and deviations usual for the set."""

DATA = DataSource(
    NAME,
    SOURCE,
    HELP,
    read=lambda spec, config: read_torchvision("CIFAR10", config),
    moments=MOMENTS,
)
