"""All layers together: the smallest scores of all go."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..allocation import Allocation, Ranking, in_one_order

NAME = "global"
ORDER = 1
SOURCE = "the usual way, as in Han, Pool, Tran, Dally. NeurIPS 2015"
HELP = "The smallest scores of all layers together."

__all__ = ["ALLOCATION"]


def _removable_scores(ranking: Ranking, caps: Sequence[int]) -> list[Tensor]:
    return [
        layer.part(ranking.scores)[order[:cap]]
        for layer, order, cap in zip(ranking.layers, ranking.orders, caps, strict=True)
    ]


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=in_one_order(_removable_scores))
