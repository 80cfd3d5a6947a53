"""The same share of every layer."""

from __future__ import annotations

from ..allocation import Allocation, in_proportion

NAME = "uniform"
ORDER = 2
SOURCE = "the baseline that every allocation has to pass"
HELP = "The same share of every layer."

__all__ = ["ALLOCATION"]


ALLOCATION = Allocation(
    NAME,
    SOURCE,
    HELP,
    function=in_proportion(lambda ranking: [float(layer.size) for layer in ranking.layers]),
)
