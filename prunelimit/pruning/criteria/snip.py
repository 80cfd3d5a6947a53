"""SNIP: the change of the loss to first order."""

from __future__ import annotations

import torch
from torch import Tensor

from ...curvature.function import NetworkFunction
from ...devices import wide, wide_device
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ..criterion import Criterion, Scores
from ..layers import prunable_part

NAME = "snip"
ORDER = 3
SOURCE = (
    "Lee, Ajanthan, Torr: SNIP: Single-shot Network Pruning based on Connection Sensitivity. "
    "ICLR 2019"
)
HELP = "Weight times gradient, by size; reads inputs and labels."

__all__ = ["CRITERION", "loss_gradient"]


def loss_gradient(problem: Problem, split: Split) -> Tensor:
    """Gradient of the mean loss over ``split`` in the free parameters; float64, (D,)."""
    function = NetworkFunction.of(problem, split)
    total = torch.zeros(
        problem.layout.size, dtype=torch.float64, device=wide_device(problem.device)
    )
    for inputs, targets in split.batches(problem.batch_size):
        leaves = [p.detach().requires_grad_() for p in problem.parameters().values()]
        share = function.share(function.outputs(leaves, inputs), targets)
        pieces = torch.autograd.grad(share, leaves, materialize_grads=True)
        total += torch.cat([piece.reshape(-1) for piece in pieces]).to(total.device)
    return total


def _snip(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """|w dL/dw|: the derivative of the loss in a gate c = 1 on the weight. Lee et al. 2019 divide
    by the sum over all weights, which does not change the order. They prune at initialisation. At a
    minimum the gradient is small, but not zero on the samples read. It reads labels.
    """
    product = wide(problem.vector()) * loss_gradient(problem, split)
    return Scores(prunable_part(problem, product).abs())


CRITERION = Criterion(NAME, SOURCE, HELP, reads="labels", function=_snip)
