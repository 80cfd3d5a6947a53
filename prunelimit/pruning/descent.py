"""Minibatch descent on values from which the weights are computed, for criteria that train."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..inputs.problem import Problem, Split
from ..randomness import generator

__all__ = ["descend"]


def descend(
    problem: Problem,
    split: Split,
    start: Tensor,
    weights: Callable[[Tensor], Tensor],
    *,
    passes: int,
    lr: float,
    batch_size: int,
    place: int = 0,
    moving: Tensor | None = None,
    penalty: Callable[[Tensor], Tensor] | None = None,
    within: tuple[float, float] | None = None,
) -> Tensor:
    """``start`` (n,) after ``passes`` of Adam on the mean loss of mini-batches; a new vector.

    ``weights(values)`` computes the free parameters (D,) from the values, and is differentiable.
    ``moving`` (bool, (n,)) is False for values that stay. ``penalty(values)`` is added to the loss.
    After every step, values are clipped to lie ``within`` two bounds. Mini-batches are drawn by the
    problem's seed, at ``place``. The network stays in eval mode and is unchanged.
    """
    values = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([values], lr)
    order_generator = generator(problem.seed, "descent order", place)
    for _ in range(passes):
        order = torch.randperm(len(split), generator=order_generator)
        for inputs, targets in split.batches(problem.batch(batch_size), order=order):
            with torch.enable_grad():
                outputs = problem.outputs(inputs, problem.tensors(weights(values)))
                loss = problem.loss(outputs, targets).mean()
                if penalty is not None:
                    loss = loss + penalty(values)
                (gradient,) = torch.autograd.grad(loss, values)
            # Without a gradient Adam's moments stay zero, and so the value does not move.
            values.grad = gradient if moving is None else gradient * moving
            optimizer.step()
            if within is not None:
                with torch.no_grad():
                    values.clamp_(*within)
    return values.detach()
