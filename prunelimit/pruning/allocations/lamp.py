"""LAMP: every weight compared with those that are left of its layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...devices import wide
from ..allocation import Allocation, Ranking, in_one_order
from ..layers import prunable_part

NAME = "lamp"
ORDER = 4
SOURCE = (
    "Lee, Park, Mo, Ahn, Shin: Layer-adaptive sparsity for the Magnitude-based Pruning. ICLR 2021"
)
HELP = "Squared weights beside the sum of those that are left of their layer."

__all__ = ["ALLOCATION", "lamp_scores"]


def lamp_scores(magnitudes: Tensor) -> Tensor:
    """w_u^2 / (sum of w_v^2 over v not before u in ascending order), of one layer; float64, (n,).

    Lee et al. 2021. The score is monotone in |w|, ties by index, and 1 for the largest weight. It
    is zero where all that is left is zero.
    """
    squares = wide(magnitudes).square()
    order = torch.argsort(squares, stable=True)
    ascending = squares[order]
    left = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = torch.where(left > 0, ascending / left, torch.zeros_like(left))
    return scores


def _removable(ranking: Ranking, caps: Sequence[int]) -> list[Tensor]:
    """Sorted, since only counts are read from them. The criterion says which weights of a layer
    go."""
    magnitudes = prunable_part(ranking.problem, ranking.problem.vector())
    return [
        lamp_scores(layer.part(magnitudes)).sort().values[:cap]
        for layer, cap in zip(ranking.layers, caps, strict=True)
    ]


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=in_one_order(_removable), of_network=True)
