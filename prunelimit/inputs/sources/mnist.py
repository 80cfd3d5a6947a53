"""MNIST as torchvision has it."""

from __future__ import annotations

from ..source import DataSource
from ..torchvision_data import read_torchvision

NAME = "mnist"
ORDER = 2
FORM = r"mnist"
LABEL = "mnist"
SOURCE = "LeCun, Cortes, Burges: The MNIST Database. 1998"
HELP = "MNIST, from `data_dir`."

__all__ = ["DATA"]

MOMENTS = ((0.1307,), (0.3081,))
"""Channel means and deviations usual for the set."""

DATA = DataSource(
    NAME, SOURCE, HELP, read=lambda spec, config: read_torchvision("MNIST", config), moments=MOMENTS
)
