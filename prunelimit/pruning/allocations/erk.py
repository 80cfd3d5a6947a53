"""Erdos-Renyi-Kernel: the larger a layer, the larger the share that goes."""

from __future__ import annotations

from collections.abc import Sequence

from ..allocation import Allocation, in_proportion

NAME = "erk"
ORDER = 3
SOURCE = "Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery. ICML 2020"
HELP = "More of larger layers: what is kept goes with the sum of a layer's dimensions."

__all__ = ["ALLOCATION", "erk_weights"]


def erk_weights(shapes: Sequence[Sequence[int]]) -> list[float]:
    """The number of kept weights of each layer, up to a common factor, unless the layer is kept
    whole.

    Evci et al. 2020: the density of a layer goes with (sum of dimensions) / (product of
    dimensions). The sum is n_in + n_out for a linear layer and n_in + n_out + height + width for a
    convolution. The number kept hence goes with the sum.
    """
    return [float(sum(shape)) for shape in shapes]


ALLOCATION = Allocation(
    NAME,
    SOURCE,
    HELP,
    function=in_proportion(lambda ranking: erk_weights([each.shape for each in ranking.layers])),
)
