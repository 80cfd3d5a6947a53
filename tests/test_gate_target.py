"""Every setting of the survivors has the number that is about what it does."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from test_results import filled

from prunelimit import plugins
from prunelimit.config import CheckConfig
from prunelimit.errors import InputError
from prunelimit.gate import require_comparable, target_of
from prunelimit.results.types import Limit, OneShot
from prunelimit.values import SURVIVORS, Method, Pattern

MADE: Any = filled(Limit)
CRITERIA = plugins.names("criterion")
ALLOCATIONS = tuple(n for n in plugins.names("allocation") if n != "targets")  # needs a file
LIMIT = dataclasses.replace(MADE, sparsity=0.95, interval=(0.93, 0.96))
MADE = filled(OneShot)
ONE_SHOT = dataclasses.replace(MADE, sparsity=0.80, interval=(0.78, 0.83))

TABLE = {
    "fixed": ("one-shot", "loss", (0.80, 0.80), (0.78, 0.83)),
    "trained": ("limit", "feasibility", (0.95, 0.95), (0.93, 0.96)),
    "layerwise": ("between", "loss", (0.80, 0.95), (0.78, 0.96)),
    "compensated": ("between", "loss", (0.80, 0.95), (0.78, 0.96)),
    "staged": ("between", "loss", (0.80, 0.95), (0.78, 0.96)),
    "obs": ("between", "loss", (0.80, 0.95), (0.78, 0.96)),
}


@pytest.mark.parametrize("survivors", SURVIVORS)
def test_the_table(survivors: str) -> None:
    method = Method(survivors=survivors)
    found = target_of(method, LIMIT, ONE_SHOT)
    ends = found.lowest, found.highest
    assert (found.number, found.rule, ends, found.interval) == TABLE[survivors]
    assert found.method == method.name


@pytest.mark.parametrize("survivors", SURVIVORS)
def test_only_masks_of_smallest_magnitude_are_predicted_for(survivors: str) -> None:
    same = [Method(survivors=survivors), Method("magnitude", "global", survivors=survivors)]
    for method in same:
        require_comparable(method, CheckConfig())
    others = [Method(name, survivors=survivors) for name in CRITERIA[1:]]
    others += [Method(allocation=name, survivors=survivors) for name in ALLOCATIONS[1:]]
    for method in [*others, Method(pattern=Pattern.parse("2:4")), Method("mine.py:scores")]:
        with pytest.raises(InputError, match="Nothing is predicted"):
            require_comparable(method, CheckConfig())
        require_comparable(method, CheckConfig(rule="accuracy"))


def test_estimates_in_the_wrong_order_are_a_range_all_the_same() -> None:
    low = dataclasses.replace(LIMIT, sparsity=0.7, interval=(0.6, 0.75))
    found = target_of(Method(survivors="staged"), low, ONE_SHOT)
    assert (found.lowest, found.highest, found.interval) == (0.7, 0.80, (0.6, 0.83))


def test_what_was_not_predicted_is_not_made_up() -> None:
    for survivors in ("fixed", "compensated"):
        with pytest.raises(InputError, match="run predict again"):
            target_of(Method(survivors=survivors), LIMIT, None)
    assert target_of(Method(survivors="trained"), LIMIT, None).highest == 0.95
