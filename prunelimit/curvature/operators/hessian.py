"""The Hessian of the mean training loss.

Source: Pearlmutter 1994 (products by double backward).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...inputs.structure import Inputs
from ..operator import CurvatureOperator, Derivatives, Function

NAME = "hessian"
ORDER = 2
LABEL = "Hessian"
SOURCE = "Zhang, Zhang, Sun, Liu 2024, who take the absolute values of its eigenvalues"
HELP = "The Hessian of the loss; negative curvature is read by magnitude, and beside it as flat."

__all__ = ["CURVATURE"]


def _flat(values: np.ndarray) -> np.ndarray:
    """Negative eigenvalues as zero."""
    return np.asarray(np.maximum(values, 0.0))


def _gradient(
    function: Function, leaves: tuple[Tensor, ...], inputs: Inputs, targets: Tensor
) -> Derivatives:
    """The gradient of the batch's share of the mean loss."""
    share = function.share(function.outputs(leaves, inputs), targets)
    first = torch.autograd.grad(share, leaves, create_graph=True, materialize_grads=True)
    return Derivatives(leaves, first)


def _product(graph: Derivatives, direction: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
    used = [(g, v) for g, v in zip(graph.first, direction, strict=True) if g.requires_grad]
    if not used:
        return tuple(torch.zeros_like(leaf) for leaf in graph.leaves)
    first, vectors = zip(*used, strict=True)
    found: tuple[Tensor, ...] = torch.autograd.grad(
        first, graph.leaves, vectors, retain_graph=keep, materialize_grads=True
    )
    return found


def _forward(
    function: Function,
    free: Sequence[Tensor],
    batch: Sequence[Any],
    direction: Sequence[Tensor],
) -> Sequence[Tensor]:
    """The derivative of the gradient along ``direction``."""
    inputs, targets = batch

    def share(*free: Tensor) -> Tensor:
        return function.share(function.outputs(free, inputs), targets)

    gradient = torch.func.grad(share, argnums=tuple(range(len(free))))
    derivative: Any = torch.func.jvp(
        lambda *free: tuple(gradient(*free)), tuple(free), tuple(direction)
    )
    product: tuple[Tensor, ...] = derivative[1]
    return product


CURVATURE = CurvatureOperator(
    NAME,
    SOURCE,
    HELP,
    readings={"absolute": np.abs, "negatives-as-flat": _flat},
    differentiate=_gradient,
    multiply=_product,
    forward=_forward,
)
