"""Optimal Brain Damage: the diagonal of the curvature, weight by weight."""

from __future__ import annotations

import torch
from torch import Tensor

from ...curvature.function import NetworkFunction
from ...devices import wide, wide_device
from ...errors import UsageError
from ...inputs.loss import Loss
from ...inputs.problem import Problem, Split
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
"""Most outputs for which the diagonal is exact. That takes one backward pass per sample and
output."""
DRAWS = 8
"""Random sign vectors per sample if there are more outputs."""

MOST_OUTPUTS = 512
"""Most outputs of a sample for which the Hessian of a loss of the user's own is factored."""


def ggn_diagonal(problem: Problem, split: Split, seed: int, progress: Progress = silent) -> Tensor:
    """Diagonal of the GGN of the mean loss over ``split``; float64, (D,), none negative.

    Write B = A A^T for the Hessian of a sample's loss in its outputs. The diagonal is the mean over
    samples of the sum of (J^T a)^2 over the columns a of A. Up to 32 outputs that sum is taken
    whole, and the diagonal is exact. With more outputs, each sample draws 8 sign vectors s by
    ``seed`` and takes the mean of (J^T A s)^2. That is Hutchinson's estimator in the space of
    outputs. It is unbiased. Over n samples that contribute equally, its relative standard error is
    at most sqrt(2 / (8 n)): 1.6% for 1,000.
    """
    function = NetworkFunction.of(problem, split)
    draws = generator(seed, "output signs")
    total = torch.zeros(
        problem.layout.size, dtype=torch.float64, device=wide_device(problem.device)
    )
    done = 0
    for inputs, targets, outputs in batches(problem, function, split):
        columns = _columns(problem, outputs, targets, _directions(outputs, draws))
        for start, found in pullbacks(problem, function, inputs, columns):
            progress("diagonal", done + start + len(found), len(split))
            # A chunk has few terms, none negative, so its own sum needs no float64.
            total += found.square_().sum(dim=(0, 1)).to(total.device)
        done += len(targets)
    return total / len(split)


def _directions(outputs: Tensor, draws: torch.Generator) -> Tensor:
    """(k, n, ...): every unit vector of a sample's outputs, or a few sign vectors, each scaled
    down."""
    count, size = len(outputs), outputs[0].numel()
    if size <= EXACT_OUTPUTS:
        eye = torch.eye(size, dtype=outputs.dtype, device=outputs.device)
        return eye.view(size, 1, *outputs.shape[1:]).expand(size, *outputs.shape)
    signs = torch.randint(0, 2, (count, size, DRAWS), generator=draws) * 2 - 1
    scaled: Tensor = signs.to(outputs) / DRAWS**0.5
    return scaled.permute(2, 0, 1).reshape(DRAWS, *outputs.shape)


def _columns(problem: Problem, outputs: Tensor, targets: Tensor, directions: Tensor) -> Tensor:
    """A d for ``directions`` (k, n, ...), with A A^T the Hessian of each sample's loss in its
    outputs; (n, k, ...)."""
    loss = problem.loss
    if isinstance(loss, Loss):
        found = [loss.root(outputs, targets, loss.form, each) for each in directions]
        return torch.stack(found, 1)
    roots = _roots(problem, outputs, targets)
    flat = directions.reshape(*directions.shape[:2], -1).permute(1, 2, 0)
    columns: Tensor = (roots @ flat).transpose(1, 2)
    return columns.reshape(len(outputs), -1, *outputs.shape[1:])


def _roots(problem: Problem, outputs: Tensor, targets: Tensor) -> Tensor:
    """A with A A^T the Hessian of each sample's loss, one of the user's own, in its C outputs;
    (n, C, C).

    Raises:
        UsageError: there are too many outputs for that.
    """
    size = outputs[0].numel()
    if size > MOST_OUTPUTS:
        raise UsageError(
            "`criterion` obd needs the Hessian of the loss in the outputs, and for a loss of your "
            f"own {size:,} outputs a sample are too many; give a built-in `loss`, or another "
            "`criterion`."
        )
    hessians = []
    for output, target in zip(outputs, targets, strict=True):

        def loss(flat: Tensor, shape: torch.Size = output.shape, y: Tensor = target) -> Tensor:
            return problem.loss(flat.view(1, *shape), y[None]).sum()

        hessians.append(torch.func.hessian(loss)(output.reshape(size)))
    values, vectors = torch.linalg.eigh(wide(torch.stack(hessians)))
    roots: Tensor = vectors * values.clamp_min(0).sqrt()[:, None, :]
    return roots.to(outputs)


def _obd(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """h w^2 / 2 with h the diagonal of the GGN, the Levenberg-Marquardt approximation by which
    LeCun, Denker, Solla 1990 have none negative. For cross-entropy it needs no labels.
    """
    saliency = 0.5 * ggn_diagonal(problem, split, seed, progress) * wide(problem.vector()) ** 2
    return Scores(prunable_part(problem, saliency))


CRITERION = Criterion(NAME, SOURCE, HELP, reads="inputs", function=_obd)
