"""Smart ratio: by depth alone, less the deeper a layer lies, as random tickets are given."""

from __future__ import annotations

from collections.abc import Sequence

from ..allocation import Allocation, Counts, Ranking, apportion

NAME = "smart-ratio"
ORDER = 10
SOURCE = (
    "Su, Chen, Cai, Wu, Gao, Wang, Lee: Sanity-Checking Pruning Methods: Random Tickets can Win "
    "the Jackpot. NeurIPS 2020"
)
HELP = "More of deeper layers, by place alone, and 70% of the last; for the random criterion."

__all__ = ["ALLOCATION", "smart_ratio_kept"]

LAST = 0.3
"""Density of the last layer."""


def smart_ratio_kept(sizes: Sequence[int], lower: Sequence[int], keep: int) -> list[int]:
    """How many weights each layer keeps, ``keep`` in all and at least ``lower`` of each.

    Su et al. 2020: of L layers the density of the l-th goes with (L - l + 1)^2 + (L - l + 1). The
    last one keeps 0.3 of its weights. What a full layer cannot take is given to the others: in the
    paper to the next ones in turn, here to all in the same proportion. It leaves open what to do
    where 0.3 of the last layer is most of what is kept in all. Here that layer then has no more
    than half. Its variant for VGG, which divides the density by l^2, is not this one.
    """
    count = len(sizes)
    rest = range(count - 1)
    last = min(LAST * sizes[-1], keep / 2) if count > 1 else keep
    least = max(lower[-1], keep - sum(sizes[place] for place in rest))
    most = min(sizes[-1], keep - sum(lower[place] for place in rest))
    chosen = min(most, max(least, round(last)))
    weights = [((count - place) ** 2 + count - place) * float(sizes[place]) for place in rest]
    bounds = [lower[place] for place in rest], [sizes[place] for place in rest]
    return [*apportion(weights, *bounds, keep - chosen), chosen]


def _by_depth(ranking: Ranking) -> Counts:
    """Layers count in the network's order, which for most is that of their depth."""
    sizes = [layer.size for layer in ranking.layers]

    def counts(caps: Sequence[int], remove: int) -> list[int]:
        lower = [size - cap for size, cap in zip(sizes, caps, strict=True)]
        kept = smart_ratio_kept(sizes, lower, sum(sizes) - remove)
        return [size - count for size, count in zip(sizes, kept, strict=True)]

    return counts


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=_by_depth)
