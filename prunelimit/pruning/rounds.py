"""One order of removal that serves every sparsity, found in rounds of a fixed ratio."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..progress import Progress, silent

__all__ = ["removal_order", "rounds"]


def rounds(count: int, share: float, least: int = 1) -> int:
    """Rounds until fewer than ``least`` of ``count`` are left, if each keeps ``share`` of them.

    >>> rounds(100, 0.5, 10)
    4
    """
    number = 0
    while count >= least:
        count -= max(1, count - int(share * count))
        number += 1
    return number


def removal_order(
    judge: Callable[[Tensor], Tensor],
    kept: Tensor,
    share: float,
    *,
    least: int = 1,
    told: str = "",
    progress: Progress = silent,
) -> Tensor:
    """The place of every weight in the order of removal; float64, (P,), from 0 on.

    ``judge(kept)`` gives the scores (P,) of the weights that are left, those where ``kept`` (bool,
    (P,)) is True; the other entries do not count. A round removes the smallest scores, ties by
    index, and keeps ``share`` of what is left. If a round would leave fewer than ``least``, it
    removes those too. So does a round in which no score is positive. The result is NaN everywhere
    if a score is not finite. ``told`` is the name of the stage for ``progress``.
    """
    left = kept.nonzero()[:, 0]
    count = len(left)
    places = torch.zeros(len(kept), dtype=torch.float64, device=kept.device)
    done = 0
    while len(left):
        now = torch.zeros_like(kept)
        now[left] = True
        scores = judge(now)[left]
        if not bool(torch.isfinite(scores).all()):
            return places.fill_(math.nan)
        order = left[torch.argsort(scores, stable=True)]
        removed = max(1, len(left) - int(share * len(left)))
        if len(left) - removed < least or not bool((scores > 0).any()):
            removed = len(left)
        places[order[:removed]] = torch.arange(
            done, done + removed, dtype=torch.float64, device=kept.device
        )
        done += removed
        progress(told, done, count)
        left = order[removed:].sort().values
    return places
