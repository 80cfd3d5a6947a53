"""How many weights go from each layer, in exact counts.

An allocation says how many weights go. A criterion's scores say which: those of least score in each
layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import plugins
from ..errors import InputError, UsageError
from ..inputs.problem import Problem, Split
from ..plugins import Plugin
from ..progress import Progress, silent
from .layers import PrunableLayer, prunable_layers

__all__ = [
    "Allocation",
    "Allocator",
    "Counts",
    "Ranking",
    "apportion",
    "in_one_order",
    "in_proportion",
]

Counts = Callable[[Sequence[int], int], list[int]]
"""``counts(caps, remove)`` says how many weights go from each layer: ``remove`` in all, at most
``caps`` of each. 0 <= remove <= sum(caps)."""


@dataclass(frozen=True)
class Ranking:
    """What an allocation may look at.

    ``scores`` (P,) come from a criterion. ``orders`` holds the entries of each layer from the
    smallest score on, int64, ties by index. ``split`` are the samples that may be read.
    """

    problem: Problem
    scores: Tensor
    layers: tuple[PrunableLayer, ...]
    orders: tuple[Tensor, ...]
    split: Split
    progress: Progress = silent


@dataclass(frozen=True, kw_only=True)
class Allocation(Plugin):
    """A way to share what is removed among layers: the object ALLOCATION of a file in
    ``allocations``.

    ``function`` makes :data:`Counts` from a ranking. ``choose(layer, scores, remove)`` is given if
    the weights that stay are not those of the highest ``scores`` (size,). It says which weights of
    a layer stay, bool, (size,). The literal ``CHOOSES = True`` at the top of the file then says so
    too. ``reads`` says which data it needs: "weights" (none), "inputs" or "labels". ``of_network``
    is True if it looks at the network itself, not at scores and sizes alone.
    """

    function: Callable[[Ranking], Counts]
    choose: Callable[[PrunableLayer, Tensor, int], Tensor] | None = None
    reads: str = "weights"
    of_network: bool = False


def apportion(
    weights: Sequence[float], lower: Sequence[int], upper: Sequence[int], total: int
) -> list[int]:
    """Whole numbers k_i that sum to ``total``, from ``lower`` to ``upper``, near f weights_i.

    The factor f is common to all numbers that are not at a bound. They are rounded down, and the
    rest goes to the largest remainders, ties to the first. ``weights`` are positive; sum(lower) <=
    total <= sum(upper).
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


def in_proportion(weights: Callable[[Ranking], Sequence[float]]) -> Callable[[Ranking], Counts]:
    """The allocation whose kept number of each layer is in proportion to the layer's entry of
    ``weights``. Those are positive, one per layer."""

    def begin(ranking: Ranking) -> Counts:
        wanted = weights(ranking)
        sizes = [layer.size for layer in ranking.layers]

        def counts(caps: Sequence[int], remove: int) -> list[int]:
            lower = [size - cap for size, cap in zip(sizes, caps, strict=True)]
            keep = apportion(wanted, lower, sizes, sum(sizes) - remove)
            return [size - count for size, count in zip(sizes, keep, strict=True)]

        return counts

    return begin


def in_one_order(
    ascending: Callable[[Ranking, Sequence[int]], Sequence[Tensor]],
) -> Callable[[Ranking], Counts]:
    """The allocation that removes the first of all layers' weights in one order.

    For each layer, ``ascending(ranking, caps)`` holds the values of its first ``caps`` weights in
    the order in which they go. Ties between layers go to the first layer.
    """

    def begin(ranking: Ranking) -> Counts:
        known: dict[tuple[int, ...], Tensor] = {}

        def counts(caps: Sequence[int], remove: int) -> list[int]:
            if tuple(caps) not in known:
                pieces = ascending(ranking, caps)
                owners = [
                    torch.full((len(each),), place, device=each.device)
                    for place, each in enumerate(pieces)
                ]
                order = torch.cat(owners)[torch.argsort(torch.cat(list(pieces)), stable=True)]
                known.clear()  # the last is used again, and takes as much memory as all weights
                known[tuple(caps)] = order
            first = known[tuple(caps)][:remove]
            return [int(x) for x in torch.bincount(first, minlength=len(ranking.layers))]

        return counts

    return begin


class Allocator:
    """Which of the P prunable weights are kept, in exact counts, for one set of scores.

    ``scores`` (P,) come from a criterion; the smallest of a layer go first, ties by index.
    ``split`` are the samples for an allocation that reads some.

    Raises:
        UsageError: there is no such allocation.
        InputError: it cannot be imported.
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
        self.allocation: Allocation = plugins.find("allocation", allocation)
        self.layers = prunable_layers(problem)
        self.scores = scores
        self._orders = tuple(
            torch.argsort(layer.part(scores), stable=True) for layer in self.layers
        )
        self._counts = self.allocation.function(
            Ranking(problem, scores, self.layers, self._orders, split, progress)
        )

    def kept(self, remove: int, floors: Sequence[int] | None = None) -> Tensor:
        """True where a prunable weight stays; bool, (P,), exactly ``remove`` of them False.

        Every layer keeps at least its number in ``floors`` (Gupta et al. 2022, Global Magnitude
        Pruning). There are no floors by default.

        Raises:
            UsageError: fewer than ``remove`` weights can go.
            InputError: the allocation's numbers are not those that were asked for.
        """
        counts = self.counts(remove, floors)
        kept = torch.ones(len(self.scores), dtype=torch.bool, device=self.scores.device)
        for layer, order, count in zip(self.layers, self._orders, counts, strict=True):
            if self.allocation.choose is None:
                layer.part(kept)[order[:count]] = False
            else:
                stays = self.allocation.choose(layer, layer.part(self.scores), count)
                self._agree(layer.size - int(stays.sum()) == count and stays.dtype == torch.bool)
                layer.part(kept)[:] = stays
        return kept

    def counts(self, remove: int, floors: Sequence[int] | None = None) -> list[int]:
        """How many weights go from each layer; they sum to ``remove``.

        Raises:
            UsageError: fewer than ``remove`` weights can go.
            InputError: the allocation's numbers are not those that were asked for.
        """
        sizes = [layer.size for layer in self.layers]
        lower = [0] * len(sizes) if floors is None else list(floors)
        caps = [max(0, size - low) for size, low in zip(sizes, lower, strict=True)]
        if not 0 <= remove <= sum(caps):
            raise UsageError(
                f"{remove} weights cannot be removed, only 0 to {sum(caps)}; give a smaller "
                "`amount` or a smaller `min_keep`."
            )
        found: list[int] = self._counts(caps, remove)
        self._agree(
            len(found) == len(caps)
            and sum(found) == remove
            and all(0 <= count <= cap for count, cap in zip(found, caps, strict=True))
        )
        return found

    def _agree(self, sound: bool) -> None:
        if not sound:
            raise InputError(
                f"The allocation {self.allocation.name} removes a wrong number of weights, or "
                "more of a layer than is allowed; correct its code."
            )
