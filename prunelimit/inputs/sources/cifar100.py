"""CIFAR100 as torchvision has it."""

from __future__ import annotations

from ..source import DataSource
from ..torchvision_data import read_torchvision

NAME = "cifar100"
ORDER = 5
FORM = r"cifar100"
LABEL = "cifar100"
SOURCE = "Krizhevsky: Learning Multiple Layers of Features from Tiny Images. 2009"
HELP = "CIFAR100, from `data_dir`."

__all__ = ["DATA"]

MOMENTS = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
"""Channel means and deviations usual for the set."""

DATA = DataSource(
    NAME,
    SOURCE,
    HELP,
    read=lambda spec, config: read_torchvision("CIFAR100", config),
    moments=MOMENTS,
)
