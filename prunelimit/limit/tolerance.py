"""How much the loss may rise: the loss tolerance, and tolerances in percentage points."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..errors import NumericalError, UsageError
from ..results.types import Epsilon

__all__ = ["BATCH", "accuracy_points", "advice", "loss_tolerance", "parse_tolerance"]

BATCH = 128
"""Mini-batch whose loss varies by the default tolerance (Zhang et al. 2024)."""

BY_HEART_LOSS = 0.01
"""Mean cross-entropy (nats) below which training data count as learnt by heart: their labels get
probabilities of more than 99% then, in the geometric mean."""
BY_HEART_ACCURACY = 0.999
"""Share of training samples from which on they do, whatever the loss: label smoothing keeps it
up."""
TINY = 0.005
"""Nats below which the tolerance of such a network says little: the probabilities of the labels
change by less than half a percent."""


def loss_tolerance(losses: np.ndarray, rule: str, seed: int) -> Epsilon:
    """The loss tolerance epsilon in nats, greater than zero, from dense per-sample losses (n,).

    ``rule`` is ``batch-std``, the standard deviation (ddof 1) of the mean loss over mini-batches
    of 128 in an order drawn by ``seed``, a ragged last one left out (Zhang et al. 2024); or a
    number of nats; or a percentage of the mean loss, such as ``5%``. Percentage points of accuracy
    need more than losses: :func:`prunelimit.estimation.epsilon.tolerance_of` takes them too.

    Raises:
        UsageError: the rule makes no sense, or gives nothing greater than zero.
        NumericalError: a loss is not finite.
    """
    losses = np.asarray(losses, dtype=np.float64)
    text = rule.strip()
    if accuracy_points(text) is not None:
        raise UsageError(
            f"--epsilon {text} is about accuracy, and here no labels are read; give batch-std, a "
            "number, or a percentage such as 5%."
        )
    if text == "batch-std":
        _require_finite(losses)
        value = _batch_std(losses, seed)
    elif text.endswith("%"):
        _require_finite(losses)
        share = _number(text[:-1], rule)
        if losses.size == 0:
            raise UsageError(f"--epsilon {rule} needs a training loss; give a number.")
        value = share / 100 * float(losses.mean())
        if share > 0 and not value > 0:
            raise UsageError(
                f"--epsilon {rule} is {value:g} because the dense loss is zero; give a number."
            )
    else:
        value = _number(text, rule)
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"--epsilon {rule} comes to {value:g}; give a finite tolerance greater than 0."
        )
    return Epsilon(value=value, rule=text)


def accuracy_points(rule: str) -> float | None:
    """``"0.5pp"`` -> 0.005: the fall in accuracy, as a fraction; None where it is another rule.

    Raises:
        UsageError: it is one of percentage points, but not of more than 0 and at most 100.
    """
    text = rule.strip()
    if not text.endswith("pp"):
        return None
    try:
        points = float(text.removesuffix("pp"))
    except ValueError:
        points = math.nan
    if not 0 < points <= 100:
        raise UsageError(
            f"--epsilon {rule} is not understood; give more than 0 and at most 100 percentage "
            "points of accuracy, such as 0.5pp."
        )
    return points / 100


def advice(epsilon: Epsilon, loss: float, accuracy: float) -> Epsilon:
    """``epsilon`` with a ``note`` where it means little because of what the network has learnt.

    ``loss`` is the dense mean cross-entropy of the training data (nats), ``accuracy`` the share of
    them that is right. It means little where the rule is batch-std, it comes to less than
    :data:`TINY`, and the data are learnt by heart: the loss is below :data:`BY_HEART_LOSS`, or the
    accuracy at least :data:`BY_HEART_ACCURACY`. Mini-batches then differ by a few odd samples.
    """
    by_heart = loss < BY_HEART_LOSS or accuracy >= BY_HEART_ACCURACY
    if epsilon.rule != "batch-std" or not epsilon.value < TINY or not by_heart:
        return epsilon
    return dataclasses.replace(
        epsilon,
        note=f"The network has learnt its training data by heart (loss {loss:.2g}, {accuracy:.2%} "
        f"right): batch-std is only {epsilon.value:.2g} nats there; --epsilon 0.5pp ties the "
        "tolerance to accuracy instead.",
    )


def parse_tolerance(text: str) -> float:
    """``"0.5pp"`` -> 0.005: percentage points, 0 to 100, as a fraction.

    Raises:
        UsageError: it is no such number, or its unit is missing.
    """
    stripped = text.strip()
    try:
        value = float(stripped.removesuffix("pp")) if stripped.endswith("pp") else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise UsageError(
            f"Tolerance {text!r} is not understood; give percentage points from 0 to 100, "
            "such as 0.5pp."
        )
    return value / 100


def _number(text: str, rule: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"--epsilon {rule!r} is not understood; give batch-std, a number, a percentage of the "
            "dense loss such as 5%, or percentage points of accuracy such as 0.5pp."
        ) from None


def _require_finite(losses: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        raise NumericalError(
            f"The dense loss is not finite on sample {bad[0]}; check that sample and the weights."
        )


def _batch_std(losses: np.ndarray, seed: int) -> float:
    batches = losses.size // BATCH
    if batches < 2:
        raise UsageError(
            f"--epsilon batch-std needs {2 * BATCH} training samples and there are {losses.size}; "
            "give a number or a percentage such as 5%."
        )
    order = np.random.default_rng(seed % 2**63).permutation(losses.size)[: batches * BATCH]
    value = float(losses[order].reshape(batches, BATCH).mean(axis=1).std(ddof=1))
    if value == 0:
        raise UsageError(
            "--epsilon batch-std is 0 because the loss is the same in every mini-batch; "
            "give a number."
        )
    return value
