"""FashionMNIST as torchvision has it."""

from __future__ import annotations

from ..source import DataSource
from ..torchvision_data import read_torchvision

NAME = "fashion-mnist"
ORDER = 3
FORM = r"fashion-mnist"
LABEL = "fashion-mnist"
SOURCE = "Xiao, Rasul, Vollgraf: Fashion-MNIST. 2017"
HELP = "FashionMNIST, from `data_dir`."

__all__ = ["DATA"]

MOMENTS = ((0.2860,), (0.3530,))
"""Channel means and deviations usual for the set."""

DATA = DataSource(
    NAME,
    SOURCE,
    HELP,
    read=lambda spec, config: read_torchvision("FashionMNIST", config),
    moments=MOMENTS,
)
