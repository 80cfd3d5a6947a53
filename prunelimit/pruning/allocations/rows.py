"""The same share of every row, that is of every output."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..allocation import Allocation, in_proportion
from ..layers import PrunableLayer, smallest

NAME = "rows"
ORDER = 6
SOURCE = (
    "Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models. "
    "ICLR 2024"
)
CHOOSES = True
HELP = "The same share of every row of every layer, a row being what makes one output."

__all__ = ["ALLOCATION", "even_rows"]


def even_rows(layer: PrunableLayer, scores: Tensor, count: int) -> Tensor:
    """True for what stays of a layer; bool, (size,).

    ``count`` of its weights go by ``scores`` (size,), as evenly among its rows as can be.
    A row is one index of the first dimension, an output of a linear layer or convolution.
    """
    rows = layer.shape[0]
    width = layer.size // rows
    base, extra = divmod(count, rows)
    table = scores.view(rows, width)
    gone = smallest(table, [base] * rows)
    if extra:
        # One more from the rows whose next smallest score is smallest.
        following = table.masked_fill(gone, math.inf)
        least = following.min(dim=1)
        chosen = torch.argsort(least.values, stable=True)[:extra]
        gone[chosen, least.indices[chosen]] = True
    return ~gone.reshape(-1)


ALLOCATION = Allocation(
    NAME,
    SOURCE,
    HELP,
    function=in_proportion(lambda ranking: [float(layer.size) for layer in ranking.layers]),
    choose=even_rows,
)
