"""Cross-entropy of logits with classes, per sample, per position, or with probabilities."""

from __future__ import annotations

from torch import Tensor, nn

from ..loss import Form, Loss

NAME = "cross-entropy"
ORDER = 1
METRIC = "accuracy"
TARGETS = "classes"
SOURCE = "torch.nn.functional.cross_entropy"
HELP = "Of logits and classes, nats: one per sample or position, or probabilities."

__all__ = ["LOSS"]


def _weights(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    """The weight of each position's cross-entropy in that of its sample; without the axis of
    classes."""
    if targets.is_floating_point():
        weights = targets.to(outputs.dtype).sum(form.axis)
        return weights / max(1, weights[0].numel())
    counts = (targets != form.ignored).to(outputs.dtype)
    if targets.ndim == 1:
        return counts
    total = counts.flatten(1).sum(1).clamp(min=1)
    return counts / total.view(-1, *(1,) * (targets.ndim - 1))


def _cross_entropy(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    """The mean over the positions of a sample that count. A sample without positions has a single
    one."""
    if targets.is_floating_point():
        found = -(targets.to(outputs.dtype) * outputs.log_softmax(form.axis)).sum(form.axis)
        return found.reshape(len(outputs), -1).mean(1)
    if targets.ndim == 1:
        return nn.functional.cross_entropy(
            outputs, targets, reduction="none", ignore_index=form.ignored
        )
    rows = outputs.movedim(form.axis, -1).flatten(0, -2)
    each = nn.functional.cross_entropy(
        rows, targets.flatten(), reduction="none", ignore_index=form.ignored
    )
    return (each.view(targets.shape) * _weights(outputs, targets, form)).flatten(1).sum(1)


def _root(outputs: Tensor, targets: Tensor, form: Form, directions: Tensor) -> Tensor:
    """diag(p) - p p^T = A A^T with A = diag(q) - p q^T, q the square root of p."""
    shares = outputs.softmax(form.axis)
    root = shares.sqrt()
    along: Tensor = (root * directions).sum(form.axis, keepdim=True)
    found = root * directions - shares * along
    return found * _weights(outputs, targets, form).sqrt().unsqueeze(form.axis)


def _trace(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    shares = outputs.softmax(form.axis)
    each = (1 - shares.square().sum(form.axis)) * _weights(outputs, targets, form)
    return each.reshape(len(outputs), -1).sum(1)


def _divergence(outputs: Tensor, dense: Tensor, form: Form) -> Tensor:
    """Kullback-Leibler divergence from the dense distributions, mean over positions; nats."""
    wanted = dense.log_softmax(form.axis)
    each = (wanted.exp() * (wanted - outputs.log_softmax(form.axis))).sum(form.axis)
    return each.reshape(len(outputs), -1).mean(1)


def _distance(outputs: Tensor, dense: Tensor, form: Form) -> Tensor:
    """The limit of the divergence at temperature T, times T^2, for large T.

    It is half the mean over classes of the squared distance of logits. The logits of each position
    are shifted to mean zero, which changes no distribution.
    """
    apart = outputs - dense
    apart = apart - apart.mean(form.axis, keepdim=True)
    each = 0.5 * apart.square().mean(form.axis)
    return each.reshape(len(outputs), -1).mean(1)


LOSS = Loss(
    NAME,
    SOURCE,
    HELP,
    function=_cross_entropy,
    root=_root,
    trace=_trace,
    divergence=_divergence,
    distance=_distance,
)
