"""OWL: fewer weights go from layers that have more outliers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...devices import wide
from ..allocation import Allocation, Counts, Ranking, apportion
from ..input_norms import input_norms
from ..layers import prunable_part

NAME = "owl"
ORDER = 9
SOURCE = (
    "Yin, Wu, Zhang, Hsieh, Wang, Jia, Li, Liang, Pechenizkiy, Bendersky, Wang, Liu: Outlier "
    "Weighed Layerwise Sparsity (OWL). ICML 2024"
)
HELP = "Less of layers with more outliers, weights far above the mean of size times inputs."

__all__ = ["ALLOCATION", "outlier_shares", "owl_densities"]

OUTLIER = 5.0
"""A weight is an outlier from so many times the layer's mean on: the M of the paper."""

SPREAD = 0.08
"""How far the sparsity of a layer may be from that of all: the lambda of the paper."""


def outlier_shares(ranking: Ranking) -> list[float]:
    """For each layer, the share of outliers: entries of A above M mean(A), with A = |W| times the
    norm of the inputs.

    Yin et al. 2024, the layerwise outlier distribution (LOD): D_l is the mean over i, j of
    1[A_ij > M mean(A)]. Reads inputs.
    """
    problem = ranking.problem
    norms = input_norms(problem, ranking.split, "owl", "allocation")
    sizes = prunable_part(problem, problem.vector()).abs().to(norms.dtype) * norms
    found = []
    for layer in ranking.layers:
        own = layer.part(sizes)
        found.append(float(wide(own > OUTLIER * own.mean()).mean()))
    return found


def owl_densities(outliers: Sequence[float], sizes: Sequence[int], density: float) -> list[float]:
    """The fraction that each layer keeps, if the fraction ``density`` of all is kept.

    Yin et al. 2024: S_l goes with 1 - D_l and is within lambda of S. So the density of a layer is
    ``density`` + 2 lambda (D_l - min D) / (max D - min D). The mean of the second term over layers
    is taken off. The paper has layers of one size and takes their plain mean; here the mean is by
    size, so that all keep ``density`` together. Its sparsities are moderate; near the ends, where
    no density could be lambda away, lambda is half of what is kept or half of what goes, whichever
    is less. The same for all where no layer has more outliers than another.
    """
    shares, weights = np.asarray(outliers, dtype=float), np.asarray(sizes, dtype=float)
    width = float(np.ptp(shares))
    if width == 0:
        return [density] * len(shares)
    spread = min(SPREAD, density / 2, (1 - density) / 2)
    scaled = 2 * spread * (shares - shares.min()) / width
    scaled += density - float(np.average(scaled, weights=weights))
    return [float(each) for each in scaled]


def _weighed(ranking: Ranking) -> Counts:
    """The paper compares blocks of a transformer, each of several matrices; here every prunable
    tensor is a layer of its own."""
    sizes = [layer.size for layer in ranking.layers]
    outliers: list[float] = []

    def counts(caps: Sequence[int], remove: int) -> list[int]:
        if not outliers:
            outliers.extend(outlier_shares(ranking))
        keep = sum(sizes) - remove
        densities = owl_densities(outliers, sizes, keep / sum(sizes))
        wanted = [max(1e-9, each) * size for each, size in zip(densities, sizes, strict=True)]
        lower = [size - cap for size, cap in zip(sizes, caps, strict=True)]
        kept = apportion(wanted, lower, sizes, keep)
        return [size - count for size, count in zip(sizes, kept, strict=True)]

    return counts


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=_weighed, reads="inputs", of_network=True)
