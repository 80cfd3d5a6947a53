"""The prediction interval for where trained survivors stop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunelimit.limit import expected
from prunelimit.limit.expected import expected_threshold
from prunelimit.limit.geometry import Geometry

SHARES = st.floats(1e-3, 1)


@given(st.floats(0, 1), st.floats(0, 1), SHARES)
def test_it_is_a_rising_interval_within_the_weights(
    first: float, second: float, kept: float
) -> None:
    below, above = (expected_threshold(each, kept) for each in sorted((first, second)))
    assert below is not None and above is not None
    assert 0 <= below.low <= below.middle <= below.high <= 1
    assert all(one <= other for one, other in zip(below, above, strict=True))


@given(st.floats(0.5, 1), SHARES, SHARES)
def test_the_more_of_the_norm_is_left_the_further_survivors_reach(
    alone: float, first: float, second: float
) -> None:
    less, more = (expected_threshold(alone, each) for each in sorted((first, second)))
    assert less is not None and more is not None and less.middle <= more.middle


def test_it_is_a_matter_of_survivors() -> None:
    coarse, fine = expected_threshold(0.9, 0.6), expected_threshold(0.99, 0.6)
    assert coarse is not None and fine is not None
    for one, other in zip(coarse, fine, strict=True):
        assert 1 - other == pytest.approx((1 - one) / 10)


def test_it_is_widest_where_few_networks_were() -> None:
    def width(ratio: float) -> float:
        found = expected_threshold(0.99, math.exp(-ratio))
        assert found is not None
        return math.log((1 - found.low) / (1 - found.high))

    centre = expected.CENTRE
    assert width(centre) < width(centre + 0.3) == pytest.approx(width(centre - 0.3))


def test_nothing_is_said_of_a_network_with_nothing_left() -> None:
    assert expected_threshold(1.0, 0.0) is None


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.data())
def test_the_norm_kept_is_that_of_the_survivors(values: list[float], data: st.DataObject) -> None:
    weights = np.array(values)
    removed = data.draw(st.integers(0, len(weights)))
    left = np.sort(np.abs(weights))[removed:]
    whole = np.linalg.norm(weights)
    share = Geometry.of(len(weights), weights, 0.1).norm_kept(removed)
    assert share == pytest.approx(np.linalg.norm(left) / whole if whole else 1.0, abs=1e-6)
