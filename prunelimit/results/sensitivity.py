"""How much each layer alone can lose, and what follows for all layers together."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import UsageError
from .methods import Result
from .types import DataInfo, Dense, Epsilon, ModelInfo, Provenance

__all__ = ["LayerCurve", "LayerPoint", "SensitivityResult", "SharedCurve", "shared"]


@dataclass(frozen=True, kw_only=True)
class LayerPoint:
    """The network with one layer pruned to ``sparsity``, of that layer's weights.

    ``changed`` weights became zero that were not zero before. ``drop`` is the loss of accuracy on
    the test split (a fraction), with its paired standard error. ``rise`` is that of the mean
    training loss.
    """

    sparsity: float
    changed: int
    accuracy: float
    drop: float
    standard_error: float
    loss: float
    rise: float


@dataclass(frozen=True, kw_only=True)
class LayerCurve:
    """One layer: its ``weights``, how many are ``zeros`` from the start, and its curve.

    ``holds`` is the largest measured sparsity up to which accuracy stays within the tolerance.
    ``why`` says why nothing was learnt about the layer, in words that follow "it is". Then there is
    no curve, and no ``holds``. Layers that are not ``prunable`` are listed too.
    """

    name: str
    shape: tuple[int, ...]
    weights: int
    zeros: int
    curve: tuple[LayerPoint, ...]
    holds: float | None
    why: str | None = None
    prunable: bool = True

    @property
    def measured(self) -> bool:
        """Whether pruning it alone changed the network."""
        return self.why is None

    @property
    def mean_rise(self) -> float:
        """Mean rise of the training loss over the sparsities measured."""
        return math.fsum(each.rise for each in self.curve) / max(1, len(self.curve))

    @property
    def mean_drop(self) -> float:
        """Mean loss of accuracy over the sparsities measured, a fraction."""
        return math.fsum(each.drop for each in self.curve) / max(1, len(self.curve))


ORDERS = ("loss", "accuracy")
"""Orders of layers."""


@dataclass(frozen=True, kw_only=True)
class SensitivityResult(Result):
    """The curve of every layer alone. Nothing but that layer is pruned, its smallest scores first.

    ``tolerance`` (a fraction of accuracy) is that of each layer's ``holds``.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.sensitivity/1"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    criterion: str
    dense: Dense
    epsilon: Epsilon
    tolerance: float
    layers: tuple[LayerCurve, ...]

    def top(self, n: int = 5, *, by: str = "loss", least: bool = False) -> tuple[LayerCurve, ...]:
        """The ``n`` most sensitive layers, or with ``least`` the least sensitive ones.

        Their order is that of the mean rise of the training loss over the sparsities measured, or
        of the mean loss of "accuracy". Layers about which nothing was learnt are left out.

        Raises:
            UsageError: there is no such order.
        """
        if by not in ORDERS:
            raise UsageError(f"There is no order `by` {by!r}; give {' or '.join(ORDERS)}.")
        known = [each for each in self.layers if each.measured]
        sign = 1 if least else -1
        known.sort(key=lambda each: sign * (each.mean_rise if by == "loss" else each.mean_drop))
        return tuple(known[: max(0, n)])

    def targets(self, sparsity: float | None = None) -> dict[str, float]:
        """A sparsity for every prunable layer, by name, that adds up to ``sparsity`` of all.

        The layers' rises of the training loss are taken to add up, and the sum is the least
        possible. If ``sparsity`` is left out, layers lose weights until the sum is epsilon. A layer
        about which nothing was learnt loses the same share as all together, or nothing. The
        allocation ``targets:FILE.json`` does the same with the file of this result, to any amount.

        Raises:
            UsageError: ``sparsity`` is more than what was measured allows, or no fraction.
        """
        layers = [each for each in self.layers if each.prunable]
        curves = [SharedCurve.of(each) for each in layers]
        if sparsity is None:
            counts = shared(curves, rise=self.epsilon.value)
        else:
            average = [0.0 if each.measured else sparsity * each.weights for each in layers]
            total = sparsity * sum(each.weights for each in layers) - math.fsum(average)
            most = math.fsum(each.removed[-1] for each in curves)
            if not 0 <= sparsity <= 1 or total > most * (1 + 1e-12):
                learnt = sum(each.weights for each in layers if each.measured)
                raise UsageError(
                    f"`sparsity` is {sparsity}, and the measurement goes from 0 to "
                    f"{most / max(1, learnt):.4g}; give a value in this range, or measure higher "
                    "`sparsities`."
                )
            counts = shared(curves, total=total)
            counts = [a + b for a, b in zip(counts, average, strict=True)]
        return {each.name: n / each.weights for each, n in zip(layers, counts, strict=True)}


@dataclass(frozen=True)
class SharedCurve:
    """A layer's loss rise by the number of its weights removed. It is the largest convex curve
    below the measured points, from (0, 0) on."""

    removed: tuple[float, ...]
    rises: tuple[float, ...]

    @classmethod
    def of(cls, layer: LayerCurve) -> SharedCurve:
        """The curve of a layer."""
        points = [(each.sparsity * layer.weights, each.rise) for each in layer.curve]
        return cls.through(points)

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> SharedCurve:
        """The curve through points (weights removed, loss rise)."""
        hull: list[tuple[float, float]] = []
        least: dict[float, float] = {0.0: 0.0}
        for x, y in points:
            if x > 0:
                least[x] = min(y, least.get(x, y))
        for x, y in sorted(least.items()):
            while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], (x, y)):
                hull.pop()
            hull.append((x, y))
        return cls(tuple(x for x, _ in hull), tuple(y for _, y in hull))

    @property
    def pieces(self) -> list[tuple[float, float]]:
        """(slope, length) of its straight pieces, slopes ascending."""
        ends = list(zip(self.removed, self.rises, strict=True))
        return [(_slope(one, other), other[0] - one[0]) for one, other in pairwise(ends)]


def _slope(one: tuple[float, float], other: tuple[float, float]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])


def shared(
    curves: Sequence[SharedCurve], *, total: float = math.inf, rise: float = math.inf
) -> list[float]:
    """How many weights go from each layer: ``total`` in all, or until the rises add up to ``rise``.

    The sum of the rises is the least of all ways to remove as many. Curves are convex, so the
    pieces are taken in the order of their slopes.
    """
    pieces = sorted(
        (
            (slope, place, length)
            for place, each in enumerate(curves)
            for slope, length in each.pieces
        )
    )
    counts, left = [0.0] * len(curves), rise
    for slope, place, length in pieces:
        take = min(length, total)
        if slope > 0:
            take = min(take, left / slope)
        left -= take * slope
        counts[place] += take
        total -= take
        if take < length:
            break
    return counts
