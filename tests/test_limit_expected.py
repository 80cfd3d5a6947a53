"""The prediction interval for where trained survivors stop."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t as student

from prunelimit.limit import expected
from prunelimit.limit.expected import Expected, expected_threshold, predictors
from prunelimit.limit.geometry import Geometry

ROOT = Path(__file__).parents[1]

SHARES = st.floats(0.2, 1)
MOST = st.floats(0.5, 0.999)


def foretold(alone: float, kept: float, relative: float = 0.5) -> Expected:
    """By the survivors of the isotropic formula relative to those of the limit."""
    found = expected_threshold(alone, kept, 1 - relative * (1 - alone))
    assume(found is not None)
    assert found is not None
    return found


@given(MOST, MOST, SHARES, st.floats(0, 1))
def test_it_is_a_rising_interval_within_the_weights(
    first: float, second: float, kept: float, relative: float
) -> None:
    below, above = (foretold(each, kept, relative) for each in sorted((first, second)))
    assert 0 <= below.low <= below.middle <= below.high <= 1
    assert below.middle <= above.middle


@given(st.floats(0.5, 0.999), SHARES, SHARES)
def test_the_more_of_the_norm_is_left_the_further_survivors_reach(
    alone: float, first: float, second: float
) -> None:
    less, more = (foretold(alone, each) for each in sorted((first, second)))
    assert less.middle <= more.middle


@given(st.floats(0.5, 0.999), SHARES, st.floats(0, 1), st.floats(0, 1))
def test_the_more_the_isotropic_formula_needs_the_earlier_survivors_stop(
    alone: float, kept: float, first: float, second: float
) -> None:
    less, more = (foretold(alone, kept, each) for each in sorted((first, second)))
    assert more.middle <= less.middle


@given(st.floats(0.5, 0.999), SHARES, st.floats(0, 0.3), st.floats(0, 0.3))
def test_the_less_the_limit_is_known_the_wider_it_is(
    alone: float, kept: float, down: float, up: float
) -> None:
    known = foretold(alone, kept)
    found = expected_threshold(alone, kept, 1 - 0.5 * (1 - alone), (down, up))
    assert found is not None and found.middle == known.middle
    assert found.low <= known.low and known.high <= found.high
    # Where all that is left may be error, survivors may reach the end.
    assert up < 1 - alone or found.high == 1


def test_what_hundredths_of_the_survivors_add_is_little() -> None:
    known, found = (expected_threshold(0.95, 0.6, 0.97, each) for each in ((0, 0), (5e-4, 5e-4)))
    assert known is not None and found is not None
    assert found.high - found.low < 1.01 * (known.high - known.low)


def test_it_is_the_line_of_the_evidence_and_its_prediction_interval() -> None:
    """Against least squares of another library, on every row whose witness is not cut short and
    whose limit leaves no layer empty."""
    with (ROOT / "benchmarks/evidence.csv").open(encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    whole = [row for row in every if float(row["whole"])]
    rows = [row for row in whole if float(row["held_4x"]) - float(row["held_2x"]) <= 5]
    assert len(rows) == expected.NETWORKS
    alone, isotropic, held = (
        np.array([float(row[name]) / 100 for row in rows])
        for name in ("alone", "isotropic", "held_4x")
    )
    kept = np.array([float(row["norm_kept"]) for row in rows])
    ratios = np.log((1 - held) / (1 - alone))
    points = np.column_stack(
        [
            np.ones(len(rows)),
            [predictors(*each) for each in zip(alone, kept, isotropic, strict=True)],
        ]
    )
    line, (squares,), rank, _ = np.linalg.lstsq(points, ratios)
    assert rank == 4
    assert line == pytest.approx(np.array(expected.COEFFICIENTS), abs=1e-3)
    deviation = float(np.sqrt(squares / (len(rows) - rank)))
    quantile = float(student.ppf(0.975, len(rows) - rank))
    for row in range(0, len(rows), 10):
        found = expected_threshold(alone[row], kept[row], isotropic[row])
        assert found is not None
        apart = points[row] @ np.linalg.solve(points.T @ points, points[row])
        half = quantile * deviation * np.sqrt(1 + apart)
        middle = points[row] @ line
        for value, log in zip(found, (middle, middle + half, middle - half), strict=True):
            assert value == pytest.approx(1 - (1 - alone[row]) * np.exp(log), abs=1e-4)


def test_it_is_wider_where_few_networks_were() -> None:
    def width(alone: float, kept: float) -> float:
        found = expected_threshold(alone, kept, 1 - 0.5 * (1 - alone))
        assert found is not None
        return math.log((1 - found.low) / (1 - found.high))

    usual = width(0.95, 0.6)
    assert width(0.95, 0.3) > usual and width(0.999, 0.6) > usual


@pytest.mark.parametrize(
    ("alone", "kept", "isotropic"),
    [(0.97, 0.9, 0.75), (0.9948, 0.7, 0.955), (0.999999, 0.1, 0.0), (0.9999, 1e-300, 0.0)],
)
def test_nothing_is_said_far_from_every_network(
    alone: float, kept: float, isotropic: float
) -> None:
    assert expected_threshold(alone, kept, isotropic) is None


@pytest.mark.parametrize(("alone", "kept"), [(1.0, 0.0), (1.0, 0.5), (0.9, 0.0)])
def test_nothing_is_said_of_a_network_with_nothing_left(alone: float, kept: float) -> None:
    assert expected_threshold(alone, kept, 1.0) is None


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.data())
def test_the_norm_kept_is_that_of_the_survivors(values: list[float], data: st.DataObject) -> None:
    weights = np.array(values)
    removed = data.draw(st.integers(0, len(weights)))
    left = np.sort(np.abs(weights))[removed:]
    whole = np.linalg.norm(weights)
    share = Geometry.of(len(weights), weights, 0.1).norm_kept(removed)
    assert share == pytest.approx(np.linalg.norm(left) / whole if whole else 1.0, abs=1e-6)
