"""Rate and distortion: the shares that move the outputs least."""

from __future__ import annotations

from collections.abc import Sequence

from ..allocation import Allocation, Counts, Ranking
from ..distortion import DistortionCurve, least_distortion, measured_distortion

NAME = "rd"
ORDER = 5
SOURCE = (
    "Xu, Wang, Geng, Wu, Li, Lin: Efficient Joint Optimization of Layer-Adaptive Weight Pruning in "
    "Deep Neural Networks. ICCV 2023"
)
HELP = "What moves the outputs least, layer by layer; reads inputs."

__all__ = ["ALLOCATION"]


def _least(ranking: Ranking) -> Counts:
    curves: list[DistortionCurve] = []

    def counts(caps: Sequence[int], remove: int) -> list[int]:
        if not curves:
            curves.extend(
                measured_distortion(
                    ranking.problem,
                    ranking.split,
                    ranking.layers,
                    ranking.orders,
                    ranking.progress,
                )
            )
        return least_distortion(curves, caps, remove)

    return counts


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=_least, reads="inputs", of_network=True)
