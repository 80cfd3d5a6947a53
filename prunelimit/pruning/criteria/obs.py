"""Optimal Brain Surgeon with the empirical Fisher matrix, which is never formed.

Sources: Hassibi, Stork 1992 (scores and update); Singh, Alistarh 2020 (WoodFisher) and Frantar,
Kurtic, Alistarh 2021 (M-FAC) for the empirical Fisher matrix through its gradients; Kurtic et al.
2022 for the update of many weights at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from ...curvature.function import NetworkFunction
from ...curvature.memory import available_bytes
from ...devices import wide, wide_device
from ...errors import UsageError
from ...inputs.problem import Problem, Split
from ...progress import Progress, silent
from ..criterion import Criterion, Scores
from ..layers import prunable_part
from ..pullbacks import batches, pullbacks

NAME = "obs"
ORDER = 7
SOURCE = (
    "Hassibi, Stork: Second order derivatives for network pruning: Optimal Brain Surgeon. NeurIPS "
    "1992; Singh, Alistarh: WoodFisher. NeurIPS 2020; Frantar, Kurtic, Alistarh: M-FAC. NeurIPS "
    "2021"
)
HELP = "What removing a weight costs once all others have adapted; reads inputs and labels."

__all__ = ["CRITERION", "EmpiricalFisher", "sample_gradients", "usual_gradients"]

DAMPING = 1e-5
"""Singh, Alistarh 2020 and Frantar et al. 2021."""

GRADIENTS = 256
"""Gradients that are kept if the number of samples is not given. Time grows with its square."""

GRADIENT_BYTES = 2**31
"""Most bytes of these gradients."""

CHUNK = 2**24
"""Entries of the gradients that are converted to float64 at a time."""


def usual_gradients(problem: Problem) -> int:
    """How many gradients of D entries are kept: 256, or what fits into 2 GiB; at least 8."""
    most = GRADIENT_BYTES // (problem.layout.size * problem.dtype.itemsize)
    return max(8, min(GRADIENTS, most))


def sample_gradients(problem: Problem, split: Split, progress: Progress = silent) -> Tensor:
    """The gradient of every sample's own loss, one per row; (n, D), in the problem's dtype.

    Raises:
        UsageError: they take more than half of the memory that is free.
    """
    count, size = len(split), problem.layout.size
    needed = count * size * problem.dtype.itemsize
    if needed > available_bytes(problem.device) // 2:
        raise UsageError(
            f"The gradients of {count} samples take {needed / 2**30:.1f} GiB, more than half of "
            "the memory that is free; give a smaller `calibration`."
        )
    function = NetworkFunction.of(problem, split)
    gradients = torch.empty(count, size, dtype=problem.dtype, device=problem.device)
    done = 0
    for inputs, targets, outputs in batches(problem, function, split):
        leaf = outputs.requires_grad_()
        (slope,) = torch.autograd.grad(problem.loss(leaf, targets).sum(), leaf)
        for start, found in pullbacks(problem, function, inputs, slope[:, None]):
            gradients[done + start : done + start + len(found)] = found[:, 0]
            progress("gradients of samples", done + start + len(found), count)
        done += len(targets)
    return gradients


class EmpiricalFisher:
    """F = damping I + (1/n) sum of g g^T over the gradients g, the rows of ``gradients`` (n, D).

    Only the gradients are kept, and n x n matrices in float64. The rank-one recursions of
    WoodFisher and M-FAC give the same inverse as Woodbury's identity. Here that is taken at once:
    F^-1 = (I - G^T (n damping I + G G^T)^-1 G) / damping. All products take O(n^2 D).
    """

    def __init__(self, gradients: Tensor, damping: float = DAMPING) -> None:
        self.gradients = gradients
        self.damping = damping

    def _columns(self) -> Iterator[tuple[slice, Tensor]]:
        """The gradients as float64, some columns at a time."""
        width = max(1, CHUNK // len(self.gradients))
        for start in range(0, self.gradients.shape[1], width):
            where = slice(start, start + width)
            yield where, wide(self.gradients[:, where])

    def _gram(self, mask: Tensor | None = None) -> Tensor:
        """n damping I + G G^T, (n, n), of the columns of G where ``mask`` is True."""
        count = len(self.gradients)
        total = torch.zeros(
            count, count, dtype=torch.float64, device=wide_device(self.gradients.device)
        )
        for where, part in self._columns():
            chosen = part if mask is None else part[:, mask[where]]
            total.addmm_(chosen, chosen.T)
        total.diagonal().add_(count * self.damping)
        return total

    @cached_property
    def _factor(self) -> Tensor:
        factor: Tensor = torch.linalg.cholesky(self._gram())
        return factor

    def inverse_diagonal(self) -> Tensor:
        """diag(F^-1); float64, (D,), all positive."""
        pieces = []
        for _, part in self._columns():
            whitened = torch.linalg.solve_triangular(self._factor, part, upper=False)
            pieces.append(1 - whitened.square().sum(dim=0))
        # In exact arithmetic it is positive. If one direction fills a coordinate, rounding may
        # spoil that.
        floor = torch.finfo(torch.float64).eps
        return torch.cat(pieces).clamp_min(floor) / self.damping

    def inverse_product(self, vector: Tensor) -> Tensor:
        """F^-1 v; float64, (D,)."""
        solved = torch.cholesky_solve(self._times(vector)[:, None], self._factor)[:, 0]
        return (wide(vector) - self._transposed(solved)) / self.damping

    def compensated(self, weights: Tensor, mask: Tensor) -> Tensor:
        """The survivors' best setting once the weights outside ``mask`` (bool, (D,)) are zero.

        Minimises (v - w)^T F (v - w) over v that is zero there. This is the update of Optimal Brain
        Surgeon, -w_q F^-1 e_q / [F^-1]_qq. It is for all removed weights together rather than
        summed one by one, as if the others stayed. Float64, (D,), exactly zero outside ``mask``.
        """
        start = wide(weights)
        mask = mask.to(start.device)
        removed = start.masked_fill(mask, 0)
        # Survivors S: (damping I + G_S^T G_S / n) u = G_S^T G removed / n, by pushing through.
        solved = torch.linalg.solve(self._gram(mask), self._times(removed))
        return (start + self._transposed(solved)).masked_fill(~mask, 0)

    def _times(self, vector: Tensor) -> Tensor:
        """G v, (n,)."""
        total = torch.zeros(
            len(self.gradients), dtype=torch.float64, device=wide_device(vector.device)
        )
        for where, part in self._columns():
            total += part @ wide(vector[where])
        return total

    def _transposed(self, inner: Tensor) -> Tensor:
        """G^T u, (D,)."""
        return torch.cat([part.T @ inner for _, part in self._columns()])


def _obs(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """w^2 / (2 [F^-1]_qq): the loss that removing a weight costs once all others have adapted. The
    update is that adaptation, for all removed weights together.

    F is the empirical Fisher matrix of ``split`` over all free parameters, damped by 1e-5. It is
    one block; WoodFisher cuts it into many. It reads labels. Memory is n D numbers for n samples.
    """
    fisher = EmpiricalFisher(sample_gradients(problem, split, progress))
    weights = problem.vector()
    scores = wide(weights).square() / (2 * fisher.inverse_diagonal())

    def update(mask: Tensor) -> Tensor:
        return fisher.compensated(weights, mask).to(weights)

    return Scores(prunable_part(problem, scores), update)


CRITERION = Criterion(NAME, SOURCE, HELP, reads="labels", function=_obs, samples=usual_gradients)
