"""How many weights go from each layer, in exact counts; and patterns of N in M.

An allocation says how many, a criterion's scores say which: the smallest of each layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import UsageError
from ..inputs.problem import Problem, Split
from ..progress import Progress, silent
from ..values import Pattern, choice
from .distortion import DistortionCurve, least_distortion, measured_distortion
from .layers import PrunableLayer, prunable_layers, prunable_part, smallest

__all__ = [
    "ALLOCATIONS",
    "Allocator",
    "apportion",
    "erk_weights",
    "lamp_scores",
    "pattern_kept",
]

ALLOCATIONS = {
    "global": "the smallest scores of all layers together",
    "uniform": "the same share of every layer",
    "erk": "Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery. ICML 2020",
    "lamp": "Lee, Park, Mo, Ahn, Shin: Layer-adaptive sparsity for the Magnitude-based Pruning. "
    "ICLR 2021",
    "rd": "Xu, Wang, Geng, Wu, Li, Lin: Efficient Joint Optimization of Layer-Adaptive Weight "
    "Pruning in Deep Neural Networks. ICCV 2023",
    "rows": "the same share of every row, as in Sun, Liu, Bair, Kolter: A Simple and Effective "
    "Pruning Approach for Large Language Models. ICLR 2024",
}
"""Names and sources; the names are those of ``values.ALLOCATIONS``."""


def apportion(
    weights: Sequence[float], lower: Sequence[int], upper: Sequence[int], total: int
) -> list[int]:
    """Whole numbers k_i that sum to ``total``, from ``lower`` to ``upper``, near f weights_i.

    The factor f is common to all that no bound holds; what rounding down leaves goes to the largest
    remainders, ties to the first. ``weights`` are positive; sum(lower) <= total <= sum(upper).
    """
    bounds = list(zip(weights, lower, upper, strict=True))

    def shares(factor: float) -> list[float]:
        return [min(high, max(low, factor * weight)) for weight, low, high in bounds]

    below, above = 0.0, max((high / weight for weight, _, high in bounds), default=0.0)
    for _ in range(200):
        middle = (below + above) / 2
        if math.fsum(shares(middle)) < total:
            below = middle
        else:
            above = middle
    wanted = shares(above)
    counts = [math.floor(share + 1e-9) for share in wanted]
    rest = total - sum(counts)
    order = sorted(range(len(counts)), key=lambda i: (counts[i] - wanted[i], i))
    # Bisection leaves the shares short of the total by less than one, or above it by rounding.
    while rest:
        step = 1 if rest > 0 else -1
        for i in order if step > 0 else reversed(order):
            if rest and lower[i] <= counts[i] + step <= upper[i]:
                counts[i] += step
                rest -= step
    return counts


def erk_weights(shapes: Sequence[Sequence[int]]) -> list[float]:
    """What the kept weights of each layer are proportional to, unless all of it is kept.

    Evci et al. 2020: the density of a layer goes with (sum of dimensions) / (product of
    dimensions), n_in + n_out for a linear layer and n_in + n_out + height + width for a
    convolution; the number kept hence with the sum.
    """
    return [float(sum(shape)) for shape in shapes]


def lamp_scores(magnitudes: Tensor) -> Tensor:
    """w_u^2 / (sum of w_v^2 over v not before u in ascending order), of one layer; float64, (n,).

    Lee et al. 2021. Monotone in |w|, ties by index; 1 for the largest. Zero where all that is left
    is zero.
    """
    squares = magnitudes.to(torch.float64).square()
    order = torch.argsort(squares, stable=True)
    ascending = squares[order]
    left = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = torch.where(left > 0, ascending / left, torch.zeros_like(left))
    return scores


class Allocator:
    """Which of the P prunable weights are kept, in exact counts, for one set of scores.

    ``scores`` (P,) come from a criterion; the smallest of a layer go first, ties by index.
    ``split`` is what "rd" measures distortion on.

    Raises:
        UsageError: there is no such allocation.
    """

    def __init__(
        self,
        problem: Problem,
        scores: Tensor,
        allocation: str,
        split: Split,
        *,
        progress: Progress = silent,
    ) -> None:
        choice("allocation", allocation, ALLOCATIONS)
        self.problem = problem
        self.split = split
        self.progress = progress
        self.allocation = allocation
        self.layers = prunable_layers(problem)
        self.scores = scores
        self._orders = [torch.argsort(layer.part(scores), stable=True) for layer in self.layers]
        self._order: tuple[list[int], Tensor] | None = None
        self._distortion: list[DistortionCurve] | None = None

    def kept(self, remove: int, floors: Sequence[int] | None = None) -> Tensor:
        """True where a prunable weight stays; bool, (P,), exactly ``remove`` of them False.

        Every layer keeps at least its number of ``floors`` (Gupta et al. 2022, Global Magnitude
        Pruning); none by default.

        Raises:
            UsageError: fewer than ``remove`` weights can go.
        """
        counts = self.counts(remove, floors)
        kept = torch.ones(len(self.scores), dtype=torch.bool, device=self.scores.device)
        for layer, order, count in zip(self.layers, self._orders, counts, strict=True):
            if self.allocation == "rows":
                layer.part(kept)[:] = self._rows(layer, order, count)
            else:
                layer.part(kept)[order[:count]] = False
        return kept

    def counts(self, remove: int, floors: Sequence[int] | None = None) -> list[int]:
        """How many weights go from each layer; they sum to ``remove``.

        Raises:
            UsageError: fewer than ``remove`` weights can go.
        """
        sizes = [layer.size for layer in self.layers]
        lower = [0] * len(sizes) if floors is None else list(floors)
        caps = [max(0, size - low) for size, low in zip(sizes, lower, strict=True)]
        if not 0 <= remove <= sum(caps):
            raise UsageError(
                f"{remove} weights cannot be removed, only 0 to {sum(caps)}; give a smaller "
                "`amount` or a smaller `min_keep`."
            )
        if self.allocation == "global":
            return self._counted(self._removable_scores, caps, remove)
        if self.allocation == "lamp":
            return self._counted(self._lamp, caps, remove)
        if self.allocation == "rd":
            if self._distortion is None:
                self._distortion = measured_distortion(
                    self.problem, self.split, self.layers, self._orders, self.progress
                )
            return least_distortion(self._distortion, caps, remove)
        weights = [float(size) for size in sizes]
        if self.allocation == "erk":
            weights = erk_weights([layer.shape for layer in self.layers])
        lower = [size - cap for size, cap in zip(sizes, caps, strict=True)]
        keep = apportion(weights, lower, sizes, sum(sizes) - remove)
        return [size - count for size, count in zip(sizes, keep, strict=True)]

    def _counted(
        self, ascending: Callable[[list[int]], list[Tensor]], caps: list[int], remove: int
    ) -> list[int]:
        """The layers of the first ``remove`` weights that go.

        ``ascending(caps)`` holds per layer its removable weights' scores in the order they go;
        among layers ties go to the first.
        """
        if self._order is None or self._order[0] != caps:
            pieces = ascending(caps)
            owners = [
                torch.full((len(each),), place, device=each.device)
                for place, each in enumerate(pieces)
            ]
            order = torch.cat(owners)[torch.argsort(torch.cat(pieces), stable=True)]
            self._order = caps, order
        found: list[int] = torch.bincount(
            self._order[1][:remove], minlength=len(self.layers)
        ).tolist()
        return found

    def _removable_scores(self, caps: list[int]) -> list[Tensor]:
        return [
            layer.part(self.scores)[order[:cap]]
            for layer, order, cap in zip(self.layers, self._orders, caps, strict=True)
        ]

    def _lamp(self, caps: list[int]) -> list[Tensor]:
        """Sorted, since they stand for counts alone: which of a layer go, the criterion says."""
        magnitudes = prunable_part(self.problem, self.problem.vector())
        return [
            lamp_scores(layer.part(magnitudes)).sort().values[:cap]
            for layer, cap in zip(self.layers, caps, strict=True)
        ]

    def _rows(self, layer: PrunableLayer, order: Tensor, count: int) -> Tensor:
        """``count`` of the layer's weights removed, as evenly among its rows as can be.

        A row is one index of the first dimension, an output of a linear layer or convolution.
        """
        rows = layer.shape[0]
        width = layer.size // rows
        base, extra = divmod(count, rows)
        scores = layer.part(self.scores).view(rows, width)
        gone = smallest(scores, [base] * rows)
        if extra:
            # One more from the rows whose next smallest is smallest.
            following = scores.masked_fill(gone, math.inf)
            least = following.min(dim=1)
            chosen = torch.argsort(least.values, stable=True)[:extra]
            gone[chosen, least.indices[chosen]] = True
        return ~gone.reshape(-1)


def pattern_kept(problem: Problem, scores: Tensor, pattern: Pattern) -> Tensor:
    """True for the highest ``keep`` scores of every group; bool, (P,).

    Groups of consecutive input features or channels are formed for every output and, in a
    convolution, every place of the kernel, as sparse tensor cores want it (Mishra et al. 2021).
    Ties go by index. The inputs that no whole group is left for are kept.

    Raises:
        UsageError: no layer has a whole group.
    """
    kept = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    for layer in prunable_layers(problem):
        dimension = layer.input_dimension
        shaped = layer.part(scores).view(layer.shape).movedim(dimension, -1)
        whole = shaped.shape[-1] // pattern.group * pattern.group
        if not whole:
            continue
        groups = shaped[..., :whole].reshape(-1, pattern.group)
        gone = smallest(groups, [pattern.group - pattern.keep] * len(groups))
        own = layer.part(kept).view(layer.shape).movedim(dimension, -1)
        own[..., :whole] = ~gone.view(*own.shape[:-1], whole)
    if bool(kept.all()):
        raise UsageError(
            f"No layer has {pattern.group} inputs, so `pattern` {pattern} removes "
            " nothing; give a smaller pattern."
        )
    return kept
