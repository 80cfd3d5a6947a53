"""Every method is held to the number that is about what it does."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from test_results import filled

from prunelimit.config import CRITERIA, METHODS, MeasureConfig
from prunelimit.errors import InputError, UsageError
from prunelimit.gate import hold, number_and_rule
from prunelimit.results.types import Limit, OneShot

MADE: Any = filled(Limit)
LIMIT = dataclasses.replace(MADE, sparsity=0.95, interval=(0.93, 0.96))
MADE = filled(OneShot)
ONE_SHOT = dataclasses.replace(MADE, sparsity=0.80, interval=(0.78, 0.83))


@pytest.mark.parametrize(
    ("method", "number", "rule", "ends", "interval"),
    [
        ("one-shot", "one-shot", "loss", (0.80, 0.80), (0.78, 0.83)),
        ("magnitude", "one-shot", "loss", (0.80, 0.80), (0.78, 0.83)),
        ("refit", "limit", "feasibility", (0.95, 0.95), (0.93, 0.96)),
        ("compensated", "between", "loss", (0.80, 0.95), (0.78, 0.96)),
        ("staged", "between", "loss", (0.80, 0.95), (0.78, 0.96)),
        ("snip", "none", "", (0.0, 1.0), (0.0, 1.0)),
        ("mine.py:scores", "none", "", (0.0, 1.0), (0.0, 1.0)),
    ],
)
def test_the_table(
    method: str, number: str, rule: str, ends: tuple[float, float], interval: tuple[float, float]
) -> None:
    found = hold(method, LIMIT, ONE_SHOT)
    assert (found.method, found.number, found.rule) == (method, number, rule)
    assert (found.lowest, found.highest) == ends
    assert found.interval == interval


def test_no_method_is_left_out() -> None:
    assert set(METHODS) >= set(CRITERIA[1:])
    assert {number_and_rule(method)[0] for method in METHODS} == {
        *("one-shot", "limit", "between", "none")
    }
    assert MeasureConfig().method in METHODS


def test_estimates_in_the_wrong_order_are_a_range_all_the_same() -> None:
    low = dataclasses.replace(LIMIT, sparsity=0.7, interval=(0.6, 0.75))
    found = hold("staged", low, ONE_SHOT)
    assert (found.lowest, found.highest, found.interval) == (0.7, 0.80, (0.6, 0.83))


def test_what_was_not_predicted_is_not_made_up() -> None:
    for method in ("one-shot", "compensated"):
        with pytest.raises(InputError, match="run predict again"):
            hold(method, LIMIT, None)
    assert hold("refit", LIMIT, None).highest == 0.95
    assert hold("snip", LIMIT, None).number == "none"


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean compensated"):
        hold("compensate", LIMIT, ONE_SHOT)
