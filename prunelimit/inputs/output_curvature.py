"""How much each sample can bend the loss: the trace of the loss's second derivative in the outputs.

Sample i enters the GGN as J_i^T B_i J_i, with B_i the second derivative of its loss in the outputs.
If the trace of B_i is almost zero, the sample has almost no part in the GGN.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from ..devices import wide, wide_device
from ..errors import InputError
from ..randomness import generator
from .loss import Loss
from .resolve import reason

__all__ = ["has_curvature", "output_curvature"]

MOST_EXACT = 256
"""Most outputs of a sample for which the trace is exact. With more, random signs estimate it."""

PROBES = 8
"""Vectors of random signs per sample with more outputs."""


def output_curvature(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor
) -> Tensor:
    """Trace of the second derivative of each sample's loss in its outputs; (n,) float64, >= 0.

    For cross-entropy this is 1 - sum p^2, whatever the labels. Built-in losses give it themselves.
    For another loss it is computed; ``loss`` gives one number per sample. If that loss is not
    convex, a negative trace counts as zero. Samples must not depend on each other in ``loss``. If
    it has no second derivative, the result is zero.

    Raises:
        InputError: torch has no second derivative of an operator in it.
    """
    if isinstance(loss, Loss):
        return loss.trace(
            wide(outputs.detach()), targets.to(wide_device(targets.device)), loss.form
        )
    leaf, targets = _widened(loss, outputs.detach(), targets)
    leaf.requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss(leaf, targets).sum(), leaf, create_graph=True)
        if not slope.requires_grad:
            return torch.zeros(len(outputs), dtype=torch.float64, device=leaf.device)
        try:
            trace = sum(
                (torch.autograd.grad(slope, leaf, each, retain_graph=True)[0] * each)
                .flatten(1)
                .sum(1)
                for each in _directions(leaf)
            )
        except RuntimeError as error:
            if "derivative" not in str(error):
                raise
            raise InputError(
                f"`loss` cannot be differentiated twice in the outputs ({reason(error)}); write "
                "the loss with operators that can be, or give a built-in `loss`."
            ) from error
    assert isinstance(trace, Tensor)
    return wide(trace.clamp(min=0))


def _widened(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs and targets in float64 where ``loss`` takes that, else as they are. A loss with
    weights of its own may take one type only."""
    exact = wide(outputs)
    wanted = targets.to(exact.device)
    if wanted.is_floating_point():
        wanted = wide(wanted)
    try:
        with torch.no_grad():
            loss(exact[:1], wanted[:1])
    except RuntimeError:
        return outputs, targets
    return exact, wanted


def has_curvature(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor
) -> bool:
    """Whether the loss bends at all in the outputs. An absolute error does not.

    ``outputs`` (n, ...) are a network's. A loss may be flat there and bend elsewhere, as that of a
    network that is sure of everything does. So outputs of zero and random ones are tried too.
    """
    draws = generator(0, "outputs")
    tried = (
        outputs.detach(),
        torch.zeros_like(outputs),
        torch.randn(outputs.shape, generator=draws).to(outputs),
    )
    return any(_bends(loss, each, targets) for each in tried)


def _bends(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> bool:
    leaf = outputs.clone().requires_grad_()
    # Not all ones: a loss may be flat along those, as cross-entropy is.
    probe = torch.linspace(-1, 2, leaf.numel()).to(leaf).view_as(leaf)
    with torch.enable_grad(), contextlib.suppress(RuntimeError, ValueError):
        (slope,) = torch.autograd.grad(loss(leaf, targets).sum(), leaf, create_graph=True)
        if slope.requires_grad:
            (bend,) = torch.autograd.grad(slope, leaf, probe, materialize_grads=True)
            return bool(bend.any())
    return False


def _directions(like: Tensor) -> list[Tensor]:
    """One vector per output, or a few vectors of random signs, each scaled down. They are the same
    for every sample."""
    size = like[0].numel()
    if size <= MOST_EXACT:
        eye = torch.eye(size, dtype=like.dtype, device=like.device)
        return [row.view_as(like[0]).expand_as(like) for row in eye]
    draws = generator(0, "output signs")
    signs = torch.randint(0, 2, (PROBES, *like[0].shape), generator=draws, dtype=torch.int8)
    return [each.expand_as(like) for each in (2 * signs - 1).to(like) / PROBES**0.5]
