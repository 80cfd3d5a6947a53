"""Criteria from the gradient of the training loss: SNIP and GraSP."""

from __future__ import annotations

import torch
from torch import Tensor

from ...curvature import CurvatureProduct
from ...curvature.function import NetworkFunction
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ..layers import prunable_part
from .interface import Criterion, Judgement

__all__ = ["GRASP", "SNIP", "loss_gradient"]


def loss_gradient(problem: Problem, split: Split) -> Tensor:
    """Gradient of the mean loss over ``split`` in the free parameters; float64, (D,)."""
    function = NetworkFunction.of(problem, split)
    total = torch.zeros(problem.layout.size, dtype=torch.float64, device=problem.device)
    for inputs, targets in split.batches(problem.batch_size):
        leaves = [p.detach().requires_grad_() for p in problem.parameters().values()]
        share = function.share(function.outputs(leaves, inputs), targets)
        pieces = torch.autograd.grad(share, leaves, materialize_grads=True)
        total += torch.cat([piece.reshape(-1) for piece in pieces])
    return total


def _snip(problem: Problem, split: Split, seed: int, progress: Progress) -> Judgement:
    """|w dL/dw|: the derivative of the loss in a gate c = 1 on the weight.

    Lee et al. 2019 divide by the sum over all weights, which changes no order. Reads labels. They
    prune at initialisation; at a minimum the gradient is small, but not zero on the samples read.
    """
    product = problem.vector().to(torch.float64) * loss_gradient(problem, split)
    return Judgement(prunable_part(problem, product).abs())


def _grasp(problem: Problem, split: Split, seed: int, progress: Progress) -> Judgement:
    """w (H g): minus the S of Wang et al. 2020, S(-w) = -w (H g), whose largest are removed.

    g and H are gradient and Hessian of the mean loss; to first order 2 S is by how much the
    squared norm of the gradient grows when the weight is removed. Reads labels, at the cost of one
    gradient and one Hessian product. The paper divides the logits of a fresh network by a
    temperature of 200; the network here is trained, and its loss taken as it is.
    """
    product = CurvatureProduct(problem, split, "hessian")
    curved = product(product.gradient()).to(torch.float64)
    return Judgement(prunable_part(problem, problem.vector().to(torch.float64) * curved))


SNIP = Criterion(
    "snip",
    "Lee, Ajanthan, Torr: SNIP: Single-shot Network Pruning based on Connection Sensitivity. "
    "ICLR 2019",
    "labels",
    _snip,
)
GRASP = Criterion(
    "grasp",
    "Wang, Zhang, Grosse: Picking Winning Tickets Before Training by Preserving Gradient Flow. "
    "ICLR 2020",
    "labels",
    _grasp,
)
