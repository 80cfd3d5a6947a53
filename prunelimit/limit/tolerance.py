"""How much the loss may rise: the loss tolerance."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..errors import NumericalError, UsageError
from ..results.types import Epsilon
from ..values import EpsilonRule

__all__ = ["BATCH", "advice", "batch_std", "loss_tolerance", "require_samples"]

BATCH = 128
"""Mini-batch whose loss varies by the default tolerance (Zhang et al. 2024)."""

BY_HEART_LOSS = 0.01
"""Mean cross-entropy (nats) below which training data count as learnt by heart. The geometric mean
of their labels' probabilities is then more than 99%."""
BY_HEART_ACCURACY = 0.999
"""Accuracy on the training data from which on they count as learnt by heart, whatever the loss.
Label smoothing keeps the loss high."""
TINY = 0.005
"""Nats below which the tolerance of such a network says little. The probabilities of the labels
then change by less than half a percent."""


def loss_tolerance(losses: np.ndarray, rule: EpsilonRule) -> Epsilon:
    """The loss tolerance epsilon in nats, greater than zero, from dense per-sample losses (n,).

    By "batch-std" it is the standard deviation of the mean loss over mini-batches of 128 (Zhang et
    al. 2024). One order of the samples gives few mini-batches, and their deviation would be noise
    on small data. So the variance is its mean over every order, which is exactly the variance of
    the losses (ddof 1) over 128. By "nats" it is the number itself, by "share" that share of the
    mean loss. A rule of accuracy needs more than losses: see
    :func:`prunelimit.estimation.epsilon.tolerance_of`.

    >>> loss_tolerance(np.array([0.1, 0.3]), EpsilonRule.parse("50%")).value
    0.1

    Raises:
        UsageError: the rule gives nothing greater than zero, or is about accuracy.
        NumericalError: a loss is not finite.
    """
    losses = np.asarray(losses, dtype=np.float64)
    require_samples(rule, losses.size)
    if rule.kind == "accuracy":
        raise UsageError(
            f"`epsilon` {rule} is about accuracy, and here no labels are read; give batch-std, a "
            "number, or a percentage such as 5%."
        )
    if rule.kind == "batch-std":
        value = batch_std(losses)
    elif rule.kind == "share":
        _require_finite(losses)
        if losses.size == 0:
            raise UsageError(f"`epsilon` {rule} needs a training loss; give a number.")
        value = rule.value * float(losses.mean())
        if not value > 0:
            raise UsageError(
                f"`epsilon` {rule} is {value:g} because the dense loss is not positive; give a "
                "number."
            )
    else:
        value = rule.value
    return Epsilon(value=value, rule=str(rule))


def require_samples(rule: EpsilonRule, samples: int) -> None:
    """Refuse a rule that needs more training samples than there are.

    Raises:
        UsageError: batch-std is to be read from less than two mini-batches.
    """
    if rule.kind == "batch-std" and samples < 2 * BATCH:
        raise UsageError(
            f"`epsilon` batch-std needs {2 * BATCH} training samples and there are {samples}; "
            "give a number or a percentage such as 5%."
        )


def advice(epsilon: Epsilon, loss: float, accuracy: float) -> Epsilon:
    """``epsilon`` with a ``note`` where it means little because of what the network has learnt.

    ``loss`` is the dense mean cross-entropy of the training data (nats), ``accuracy`` the share of
    them that is right. The tolerance means little where three things hold. The rule is batch-std.
    The tolerance is less than :data:`TINY`. The data are learnt by heart: the loss is below
    :data:`BY_HEART_LOSS`, or the accuracy at least :data:`BY_HEART_ACCURACY`. Mini-batches then
    differ by a few odd samples.
    """
    by_heart = loss < BY_HEART_LOSS or accuracy >= BY_HEART_ACCURACY
    if epsilon.rule != "batch-std" or not epsilon.value < TINY or not by_heart:
        return epsilon
    return dataclasses.replace(
        epsilon,
        note=f"The network has learnt its training data by heart (loss {loss:.2g}, {accuracy:.2%} "
        f"right): batch-std is only {epsilon.value:.2g} nats there; `epsilon` 0.5pp ties the "
        "tolerance to accuracy instead.",
    )


def _require_finite(losses: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        raise NumericalError(
            f"The dense loss is not finite on sample {bad[0]}; check that sample and the weights."
        )


def batch_std(losses: np.ndarray) -> float:
    """The standard deviation of the mean loss over mini-batches of 128, from losses (n,).

    Raises:
        UsageError: all losses are the same, or there is one.
        NumericalError: a loss is not finite.
    """
    _require_finite(losses)
    if np.ptp(losses) == 0:
        raise UsageError(
            "`epsilon` batch-std is 0 because the loss is the same in every mini-batch; "
            "give a number."
        )
    return float(losses.std(ddof=1)) / math.sqrt(BATCH)
