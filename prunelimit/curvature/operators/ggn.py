"""The generalised Gauss-Newton matrix J^T B J, with B the Hessian of the loss in the outputs.

Source: Schraudolph 2002.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...inputs.structure import Inputs
from ..operator import CurvatureOperator, Derivatives, Function

NAME = "ggn"
ORDER = 1
LABEL = "GGN"
SOURCE = (
    "Schraudolph: Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent. 2002"
)
HELP = "The generalised Gauss-Newton matrix: the Hessian of the network made linear."

__all__ = ["CURVATURE"]


def _clipped(values: np.ndarray) -> np.ndarray:
    """Negative eigenvalues as zero: they are rounding."""
    return np.asarray(np.maximum(values, 0.0))


def _pulled_back(
    function: Function, leaves: tuple[Tensor, ...], inputs: Inputs, targets: Tensor
) -> Derivatives:
    """J^T u as a function of the dummy ``cotangent`` u, the network's ``outputs``, and the gradient
    of the loss in the ``detached`` outputs."""
    outputs = function.outputs(leaves, inputs)
    cotangent = torch.zeros_like(outputs, requires_grad=True)
    first = torch.autograd.grad(
        outputs, leaves, cotangent, create_graph=True, materialize_grads=True
    )
    detached = outputs.detach().requires_grad_()
    share = function.share(detached, targets)
    (output_gradient,) = torch.autograd.grad(share, detached, create_graph=True)
    held = {
        "outputs": outputs,
        "cotangent": cotangent,
        "detached": detached,
        "output_gradient": output_gradient,
    }
    return Derivatives(leaves, first, held)


def _product(graph: Derivatives, direction: Sequence[Tensor], keep: bool) -> Sequence[Tensor]:
    held = graph.held
    # J v by differentiating J^T u in u, in which it is linear.
    (forward,) = torch.autograd.grad(
        graph.first, held["cotangent"], tuple(direction), retain_graph=True, materialize_grads=True
    )
    if not held["output_gradient"].requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in graph.leaves)
    (curved,) = torch.autograd.grad(
        held["output_gradient"], held["detached"], forward, retain_graph=keep
    )
    found: tuple[Tensor, ...] = torch.autograd.grad(
        held["outputs"], graph.leaves, curved, retain_graph=keep, materialize_grads=True
    )
    return found


def _forward(
    function: Function,
    free: Sequence[Tensor],
    batch: Sequence[Any],
    direction: Sequence[Tensor],
) -> Sequence[Tensor]:
    """J^T B J v with J v by forward mode and J^T by backward."""
    inputs, targets = batch

    def both(*free: Tensor) -> Any:
        """The outputs, and their derivative along the direction beside them."""
        return torch.func.jvp(lambda *free: function.outputs(free, inputs), free, tuple(direction))

    outputs, pull, forward = torch.func.vjp(both, *free, has_aux=True)  # type: ignore[misc]
    gradient = torch.func.grad(lambda outputs: function.share(outputs, targets))
    curved: Any = torch.func.jvp(gradient, (outputs,), (forward,))
    product: tuple[Tensor, ...] = pull(curved[1])
    return product


CURVATURE = CurvatureOperator(
    NAME,
    SOURCE,
    HELP,
    readings={"ggn": _clipped},
    differentiate=_pulled_back,
    multiply=_product,
    forward=_forward,
    second_derivatives=False,
    samples="carrying",
    linear=True,
)
