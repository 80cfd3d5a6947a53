"""Optimal Brain Damage: the diagonal of the curvature, weight by weight."""

from __future__ import annotations

import torch
from torch import Tensor

from ...curvature.function import NetworkFunction
from ...inputs.problem import Problem, Split, cross_entropy
from ...progress import Progress, silent
from ...randomness import generator
from ..criterion import Criterion, Scores
from ..layers import prunable_part
from ..pullbacks import batches, pullbacks

NAME = "obd"
ORDER = 6
SOURCE = "LeCun, Denker, Solla: Optimal Brain Damage. NeurIPS 1989"
HELP = "Half the squared weight times the diagonal of the GGN; reads inputs."

__all__ = ["CRITERION", "ggn_diagonal"]

EXACT_OUTPUTS = 32
"""Outputs up to which the diagonal is exact: it takes one backward pass per sample and output."""
DRAWS = 8
"""Random sign vectors per sample beyond."""


def ggn_diagonal(problem: Problem, split: Split, seed: int, progress: Progress = silent) -> Tensor:
    """Diagonal of the GGN of the mean loss over ``split``; float64, (D,), none negative.

    With B = A A^T the Hessian of a sample's loss in its outputs, it is the mean over samples of the
    sum of squares (J^T a)^2 over the columns a of A. Up to 32 outputs that sum is taken whole, and
    the diagonal exact. Beyond, each sample draws 8 sign vectors s by ``seed`` and takes the mean of
    (J^T A s)^2, Hutchinson's estimator in the space of outputs: unbiased, of a relative standard
    error of at most sqrt(2 / (8 n)) over n samples that contribute alike, 1.6% for 1,000.
    """
    function = NetworkFunction.of(problem, split)
    draws = generator(seed, "output signs")
    total = torch.zeros(problem.layout.size, dtype=torch.float64, device=problem.device)
    done = 0
    for inputs, targets, outputs in batches(problem, function, split):
        roots = _roots(problem, outputs, targets)
        if outputs[0].numel() > EXACT_OUTPUTS:
            shape = (len(outputs), outputs[0].numel(), DRAWS)
            signs = torch.randint(0, 2, shape, generator=draws) * 2 - 1
            roots = roots @ signs.to(roots) / DRAWS**0.5
        columns = roots.transpose(1, 2).reshape(len(outputs), -1, *outputs.shape[1:])
        for start, found in pullbacks(problem, function, inputs, columns):
            progress("diagonal", done + start + len(found), len(split))
            # A chunk has few terms, none negative, so its own sum needs no float64.
            total += found.square_().sum(dim=(0, 1))
        done += len(inputs)
    return total / len(split)


def _roots(problem: Problem, outputs: Tensor, targets: Tensor) -> Tensor:
    """A with A A^T the Hessian of each sample's loss in its C outputs; (n, C, C)."""
    if problem.loss is cross_entropy and outputs.ndim == 2:
        # diag(p) - p p^T = A A^T with A = diag(q) - p q^T, q the square root of p.
        shares = outputs.softmax(dim=1)
        root = shares.sqrt()
        return torch.diag_embed(root) - shares[:, :, None] * root[:, None, :]
    size = outputs[0].numel()
    hessians = []
    for output, target in zip(outputs, targets, strict=True):

        def loss(flat: Tensor, shape: torch.Size = output.shape, y: Tensor = target) -> Tensor:
            return problem.loss(flat.view(1, *shape), y[None]).sum()

        hessians.append(torch.func.hessian(loss)(output.reshape(size)))
    values, vectors = torch.linalg.eigh(torch.stack(hessians).to(torch.float64))
    roots: Tensor = vectors * values.clamp_min(0).sqrt()[:, None, :]
    return roots.to(outputs.dtype)


def _obd(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """h w^2 / 2 with h the diagonal of the GGN, the Levenberg-Marquardt approximation by which
    LeCun, Denker, Solla 1990 have none negative. For cross-entropy it needs no labels.
    """
    saliency = (
        0.5 * ggn_diagonal(problem, split, seed, progress) * problem.vector().to(torch.float64) ** 2
    )
    return Scores(prunable_part(problem, saliency))


CRITERION = Criterion(NAME, SOURCE, HELP, reads="inputs", function=_obd)
