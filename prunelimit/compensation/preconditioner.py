"""A preconditioner of the solve: the curvature of every output's own weights, layer by layer.

Take one row w of a weight, its inputs x, and the derivatives g of the outputs by the row's result.
If x and g are independent, the GGN's block of the row is E[g^2] E[x x^T]. That is the layer's Gram
matrix times a number of the row's own. With the row's survivors s, the blocks are

    M_row = c_row K_ss + mu I ,  K = mean of x x^T ,

in pieces of as many weights as can be afforded. c_row is chosen so that the trace is that of the
GGN. So positions that pull in the same direction count in full. K comes from fitting the layers, at
no further cost. The trace is read from the GGN's diagonal, which random directions at the outputs
estimate. All other parameters have that diagonal alone. The damping mu is the solve's own. Without
it, directions that no input reaches would be blown up.

Sources: Martens and Grosse 2015 (blocks as products of moments); Grosse and Martens 2016
(convolutions); Hutchinson 1990, Bekas et al. 2007 (diagonals by random signs).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..devices import wide
from ..inputs.problem import Problem

__all__ = ["RowBlocks", "block_size"]

LARGEST, SMALLEST = 64, 16
"""Most and fewest weights of a piece of a row. Pieces of 16 and whole rows took as many steps on a
perceptron, a residual network and a transformer."""
BYTES = 2**28
"""Bytes of all blocks, about. They are more only if the smallest pieces take more."""
FLOOR = 0.1
"""Least curvature per weight of a row, as a share of its layer's mean. Few samples may reach a row.
A hundredth took as many steps and ended further from the dense network on a transformer."""
RIDGE = 1e-4
"""Share of its mean diagonal by which a block is lifted, so that it can be factored."""
ENTRIES = 2**21
"""Most entries of the blocks that are factored at once."""


def block_size(survivors: int, itemsize: int) -> int:
    """Weights of a piece of a row, if ``survivors`` are left in all."""
    return min(LARGEST, max(SMALLEST, BYTES // max(1, survivors * itemsize)))


class RowBlocks:
    """The blocks of the weights of ``problem`` that ``mask`` (bool, (D,)) keeps.

    Each layer's Gram matrix is to be :meth:`read`, in any order. A layer that was not read has the
    diagonal alone. Then :meth:`inverse` gives M^-1 as a map of vectors (D,), zero where removed.
    """

    def __init__(self, problem: Problem, mask: Tensor) -> None:
        self._problem = problem
        self._mask = mask
        self._masks = problem.layout.unflatten(mask)
        self._size = block_size(int(mask.sum()), problem.dtype.itemsize)
        self._blocks: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def read(self, name: str, gram: Tensor) -> None:
        """Take the mean of x x^T, (groups, weights of an output, the same), of the weight
        ``name``."""
        kept = self._masks[name].flatten(1)
        counts = kept.sum(1)
        longest = int(counts.max())
        if not longest:
            return
        size = min(longest, self._size)
        pieces = -(-longest // size)
        # The survivors of each row first, in their order; then places that hold nothing.
        order = torch.argsort((~kept).byte(), dim=1, stable=True)[:, : pieces * size]
        places = order.new_zeros(len(kept), pieces * size)
        places[:, : order.shape[1]] = order
        inner = torch.arange(pieces * size, device=kept.device) < counts[:, None]
        places, inner = (each.view(len(kept), pieces, size) for each in (places, inner))
        group = torch.arange(len(kept), device=gram.device) // (len(kept) // len(gram))
        blocks = kept.new_empty(*places.shape, size, dtype=self._problem.dtype)
        step = max(1, ENTRIES // (pieces * size**2))
        for begin in range(0, len(kept), step):
            rows = slice(begin, begin + step)
            chosen = places[rows].to(gram.device)
            found = gram[group[rows, None, None, None], chosen[..., None], chosen[..., None, :]]
            blocks[rows] = found.to(blocks)
        self._blocks[name] = places, inner, blocks

    def inverse(self, diagonal: Tensor, damping: float) -> Callable[[Tensor], Tensor]:
        """M^-1, for the GGN's ``diagonal`` (D,) and the solve's ``damping``. It overwrites the
        blocks by their factors, so it can be called once only."""
        pieces = self._problem.layout.unflatten(diagonal.masked_fill(~self._mask, 0))
        single = torch.full_like(diagonal, damping)
        alone = self._problem.layout.unflatten(single)
        factors: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        for name, piece in pieces.items():
            kept = self._masks[name]
            floor = FLOOR * float(piece.sum()) / max(1, int(kept.sum()))
            alone[name].add_(piece.clamp_min(floor))
            if name in self._blocks:
                places, inner, blocks = self._blocks.pop(name)
                wanted = piece.flatten(1).sum(1)
                wanted = torch.maximum(wanted, floor * kept.flatten(1).sum(1))
                if _factored(blocks, inner, wanted, damping):
                    factors[name] = places, inner, blocks
        scale = torch.where(single > 0, 1 / single, 1.0)

        def apply(vector: Tensor) -> Tensor:
            found = (vector * scale).masked_fill(~self._mask, 0)
            given, made = (self._problem.layout.unflatten(each) for each in (vector, found))
            for name, (places, inner, lower) in factors.items():
                flat = places.flatten(1)
                rows = given[name].flatten(1).gather(1, flat).view(places.shape) * inner
                solved = torch.cholesky_solve(rows[..., None], lower)[..., 0] * inner
                into = made[name].flatten(1)
                into.zero_().scatter_add_(1, flat, solved.flatten(1))
            return found

        return apply


def _factored(blocks: Tensor, inner: Tensor, wanted: Tensor, damping: float) -> bool:
    """Scale the rows of ``blocks`` (rows, pieces, size, size) to the traces ``wanted`` (rows,), add
    the damping, and put their Cholesky factors in their place; False where there are none."""
    step = max(1, ENTRIES // blocks[0].numel())
    for begin in range(0, len(blocks), step):
        rows = slice(begin, begin + step)
        there, found = inner[rows], wide(blocks[rows])
        there = there.to(found.device)
        found *= there[..., None] & there[..., None, :]
        entries = torch.diagonal(found, dim1=-2, dim2=-1)
        trace = entries.sum((1, 2))
        factor = torch.where(trace > 0, wide(wanted[rows]) / trace, 0.0)
        found *= factor[:, None, None, None]
        lift = damping + RIDGE * wide(wanted[rows]) / there.sum((1, 2)).clamp_min(1)
        lift = torch.where(lift > 0, lift, 1.0)
        entries.add_(torch.where(there, lift[:, None, None], 1.0))
        lower, failed = torch.linalg.cholesky_ex(found)
        if bool(failed.any()):
            return False
        blocks[rows] = lower.to(blocks)
    return True
