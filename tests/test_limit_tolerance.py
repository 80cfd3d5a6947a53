"""The loss tolerance: closed forms, and rules that make no sense."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunelimit.errors import NumericalError, UsageError
from prunelimit.limit import tolerance
from prunelimit.limit.tolerance import BATCH, advice
from prunelimit.results.types import Epsilon
from prunelimit.values import EpsilonRule

LOSSES = np.random.default_rng(0).exponential(size=1000)


def loss_tolerance(losses: np.ndarray, rule: str) -> Epsilon:
    return tolerance.loss_tolerance(losses, EpsilonRule.parse(rule))


def test_batch_std_is_the_deviation_between_mini_batches_over_every_order() -> None:
    found = loss_tolerance(LOSSES, "batch-std")
    draw = np.random.default_rng(3)
    variances = []
    for _ in range(4000):
        batches = draw.permutation(LOSSES)[: 7 * BATCH].reshape(7, BATCH)
        variances.append(batches.mean(axis=1).var(ddof=1))
    error = np.std(variances) / np.sqrt(len(variances))
    assert abs(found.value**2 - np.mean(variances)) < 4 * error < 0.05 * found.value**2
    assert found.rule == "batch-std"


@given(st.integers(2 * BATCH, 2000), st.integers(0, 2**32 - 1))
def test_batch_std_does_not_depend_on_the_order_of_the_samples(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    losses = draw.exponential(size=count)
    value = loss_tolerance(losses, "batch-std").value
    assert value == pytest.approx(loss_tolerance(draw.permutation(losses), "batch-std").value)
    assert value == pytest.approx(np.std(losses, ddof=1) / BATCH**0.5)


@given(st.floats(1e-6, 1e6))
def test_batch_std_and_percentages_scale_with_the_loss(scale: float) -> None:
    for rule in ("batch-std", "5%"):
        plain = loss_tolerance(LOSSES, rule).value
        assert loss_tolerance(scale * LOSSES, rule).value == pytest.approx(scale * plain)


def test_numbers_and_percentages() -> None:
    assert loss_tolerance(LOSSES, "0.02").value == 0.02
    assert loss_tolerance(LOSSES, "5%").value == pytest.approx(0.05 * LOSSES.mean())


def test_too_few_samples_and_equal_losses_are_refused() -> None:
    assert loss_tolerance(LOSSES[: 2 * BATCH], "batch-std").value > 0
    with pytest.raises(UsageError, match="needs 256 training samples and there are 255"):
        loss_tolerance(LOSSES[: 2 * BATCH - 1], "batch-std")
    with pytest.raises(UsageError, match="same in every mini-batch"):
        loss_tolerance(np.ones(1000), "batch-std")
    with pytest.raises(UsageError, match="dense loss is not positive"):
        loss_tolerance(np.zeros(1000), "5%")


def test_a_loss_that_is_not_finite_is_named() -> None:
    spoilt = LOSSES.copy()
    spoilt[17] = np.nan
    with pytest.raises(NumericalError, match="sample 17"):
        loss_tolerance(spoilt, "batch-std")


@given(st.floats(1e-9, 100))
def test_a_rule_of_accuracy_needs_more_than_losses(points: float) -> None:
    with pytest.raises(UsageError, match="no labels are read"):
        loss_tolerance(LOSSES, f"{points!r}pp")


@pytest.mark.parametrize(
    ("rule", "value", "loss", "accuracy", "told"),
    [
        ("batch-std", 0.0003, 0.0012, 0.9998, True),
        ("batch-std", 0.0003, 0.0012, 0.99, True),
        ("batch-std", 0.0003, 0.2, 0.9995, True),
        ("batch-std", 0.0003, 0.2, 0.99, False),
        ("batch-std", 0.006, 0.009, 1.0, False),
        ("5%", 0.0003, 0.0012, 1.0, False),
        ("0.0003", 0.0003, 0.0012, 1.0, False),
    ],
)
def test_data_learnt_by_heart_is_told(
    rule: str, value: float, loss: float, accuracy: float, told: bool
) -> None:
    epsilon = Epsilon(value=value, rule=rule)
    found = advice(epsilon, loss, accuracy)
    assert (found.value, found.rule) == (value, rule)
    assert (found.note is not None) == told
    if found.note is not None:
        assert "`epsilon` 0.5pp" in found.note and f"{value:.2g} nats" in found.note
