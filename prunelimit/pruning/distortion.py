"""Layers pruned one at a time: how far the outputs move, and the best way to share.

Source: Xu et al. 2023. They find that the distortions of single layers add up, and minimise their
sum by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..devices import wide
from ..inputs.problem import Problem, Split
from ..progress import Progress, silent
from .layers import PrunableLayer, flat_mask
from .magnitude import pruned_weights

__all__ = ["DistortionCurve", "least_distortion", "measured_distortion"]

LEVELS = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
"""Sparsities of a layer at which distortion is measured; in between it is interpolated."""

SAMPLES = 256
"""Most samples that it is measured on."""

UNITS = 4000
"""Number of portions in which all removable weights are dealt out. In a small network a portion is
a single weight."""


@dataclass(frozen=True)
class DistortionCurve:
    """Distortion of the outputs against weights removed from one layer, straight between points.

    ``removed`` ascends from 0 to the layer's size; ``distortions`` are mean squared l2 distances.
    """

    removed: tuple[int, ...]
    distortions: tuple[float, ...]

    def at(self, removed: Any) -> Any:
        """The distortion of these many removed weights; a number or an array."""
        return np.interp(removed, self.removed, self.distortions)


def measured_distortion(
    problem: Problem,
    split: Split,
    layers: Sequence[PrunableLayer],
    orders: Sequence[Tensor],
    progress: Progress = silent,
) -> list[DistortionCurve]:
    """How far the outputs move when one layer alone loses its first weights in ``orders``.

    Squared l2 distance of a sample's outputs, averaged over at most 256 samples of ``split``, at
    eleven sparsities of every layer. It takes as many forward passes of these samples per layer.
    """
    some = split.subset(SAMPLES, problem.seed)
    before = list(_outputs(problem, some, None))
    curves = []
    for place, (layer, order) in enumerate(zip(layers, orders, strict=True)):
        progress("distortion", place, len(layers), layer.name)
        removed = sorted({round(level * layer.size) for level in LEVELS})
        distortions = []
        for count in removed:
            kept = torch.ones(layers[-1].stop, dtype=torch.bool, device=problem.device)
            layer.part(kept)[order[:count]] = False
            weights = pruned_weights(problem, flat_mask(problem, kept))
            total = 0.0
            for old, new in zip(before, _outputs(problem, some, weights), strict=True):
                total += float((new - old).square().sum())
            # Outputs beyond the largest number are worse than any other.
            distortions.append(total / len(some) if np.isfinite(total) else 1e300)
        curves.append(DistortionCurve(tuple(removed), tuple(distortions)))
    progress("distortion", len(layers), len(layers))
    return curves


def _outputs(problem: Problem, split: Split, weights: Tensor | None) -> Iterator[Tensor]:
    tensors = {} if weights is None else problem.layout.unflatten(weights)
    with torch.no_grad():
        for inputs, _ in split.batches(problem.batch_size):
            outputs = problem.outputs(inputs, tensors)
            yield wide(outputs)


def least_distortion(
    curves: Sequence[DistortionCurve], caps: Sequence[int], remove: int
) -> list[int]:
    """Weights to remove from every layer, ``remove`` in all, of least summed distortion.

    At most ``caps`` go from each. It is exact if all caps sum to at most 4,000. For more, weights
    are dealt out in portions of equal size, 4,000 portions or fewer. The few weights that fill no
    portion go where they add least.
    """
    unit = max(1, -(-sum(caps) // UNITS))
    most = [cap // unit for cap in caps]
    portions = min(remove // unit, sum(most))
    counts = [unit * taken for taken in _shared(curves, most, unit, portions)]
    rest = remove - sum(counts)
    while rest:
        best, chosen, step = np.inf, -1, 0
        for place, (curve, cap) in enumerate(zip(curves, caps, strict=True)):
            more = min(unit, cap - counts[place], rest)
            if more <= 0:
                continue
            slope = (curve.at(counts[place] + more) - curve.at(counts[place])) / more
            if slope < best:
                best, chosen, step = slope, place, more
        counts[chosen] += step
        rest -= step
    return counts


def _shared(
    curves: Sequence[DistortionCurve], most: Sequence[int], unit: int, portions: int
) -> list[int]:
    """Portions of ``unit`` weights per layer, ``portions`` in all, of least summed distortion."""
    least = np.full(portions + 1, np.inf)
    least[0] = 0.0
    choices = []
    for curve, limit in zip(curves, most, strict=True):
        limit = min(limit, portions)
        costs = curve.at(unit * np.arange(limit + 1))
        found = np.full(portions + 1, np.inf)
        choice = np.zeros(portions + 1, dtype=np.int64)
        for taken in range(limit + 1):
            candidate = least[: portions + 1 - taken] + costs[taken]
            better = candidate < found[taken:]
            found[taken:][better] = candidate[better]
            choice[taken:][better] = taken
        least = found
        choices.append(choice)
    counts = []
    left = portions
    for choice in reversed(choices):
        counts.append(int(choice[left]))
        left -= counts[-1]
    return counts[::-1]
