"""The prediction interval for where trained survivors stop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prunelimit.limit.expected import expected_threshold


@given(st.floats(0, 1), st.floats(0, 1))
def test_it_is_a_rising_interval_within_the_weights(first: float, second: float) -> None:
    (low, high), (other_low, other_high) = map(expected_threshold, sorted((first, second)))
    assert 0 <= low <= high <= 1
    assert low <= other_low and high <= other_high


def test_it_is_a_matter_of_survivors() -> None:
    low, high = expected_threshold(0.9)
    finer = expected_threshold(0.99)
    assert low < 0.9 < high
    assert abs((1 - finer[0]) - (1 - low) / 10) < 1e-12
    assert abs((1 - finer[1]) - (1 - high) / 10) < 1e-12
