"""One seed, streams that have nothing to do with one another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prunelimit.randomness import generator, numpy_generator

KEYS = [(0, "probes"), (0, "samples"), (1, "probes"), (2**63 - 1, "probes"), (0, "probes", 1)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_the_same_arguments_give_the_same_draws(key: tuple[int, str]) -> None:
    first, second = (torch.rand(5, generator=generator(*key)) for _ in range(2))
    assert torch.equal(first, second)
    assert numpy_generator(*key).random() == numpy_generator(*key).random()


def test_other_arguments_give_draws_that_are_not_correlated() -> None:
    draws = np.stack([torch.randn(10_000, generator=generator(*key)).numpy() for key in KEYS])
    apart = np.corrcoef(draws)[~np.eye(len(KEYS), dtype=bool)]
    assert np.abs(apart).max() < 0.05  # five standard deviations of one


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    torch.rand(3, generator=generator(3, "probes"))
    assert torch.equal(torch.random.get_rng_state(), before)
