"""The verdict follows the evidence, and each reason says what to do or what is wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from test_results import filled

from prunelimit.limit.reliability import judge, judge_one_shot, nonquadraticity
from prunelimit.results.types import LayerResult, Limit, OneShot, PathPoint, Variant

LIMIT = Limit(
    sparsity=0.9,
    of="prunable",
    sparsity_of_all=0.89,
    kept=100,
    radius=1.0,
    formula="directional",
    operator="absolute",
    interval=(0.895, 0.905),
    confidence=0.95,
    band=(0.8, 1.0),
    errors={"probe": 0.001, "depth": 0.004},
)
GOOD = PathPoint(sparsity=0.8, loss_rise=0.011, quadratic_rise=0.008, linear_rise=0.002)


def variant(sparsity: float, formula: str = "directional") -> Variant:
    return Variant(
        formula=formula, operator="negatives-as-flat", sparsity=sparsity, interval=(0.0, 1.0)
    )


def test_good_evidence_is_reliable() -> None:
    verdict = judge(LIMIT, [variant(0.91), variant(0.5, "paper")], GOOD, [GOOD])
    assert verdict.ok and verdict.reasons == ()
    assert verdict.nonquadraticity == pytest.approx(1.1)
    assert verdict.path == (GOOD,)


@pytest.mark.parametrize(("source", "remedy"), [("probe", "`probes`"), ("depth", "`steps`")])
def test_wide_interval_names_its_source_and_remedy(source: str, remedy: str) -> None:
    errors = {"probe": 0.001, "depth": 0.001} | {source: 0.04}
    wide = dataclasses.replace(LIMIT, interval=(0.85, 0.93), errors=errors)
    verdict = judge(wide, [], GOOD, [])
    assert not verdict.ok
    assert f"8.0 percentage points; raise {remedy}, which narrows it most" in verdict.reasons[0]


def test_operators_that_disagree_are_told() -> None:
    verdict = judge(LIMIT, [variant(0.95)], GOOD, [])
    assert "moves the limit by 5.0 percentage points" in verdict.reasons[0]


@pytest.mark.parametrize("rise", [0.001, 0.1])
def test_loss_that_is_not_quadratic_is_told(rise: float) -> None:
    verdict = judge(LIMIT, [], dataclasses.replace(GOOD, loss_rise=rise), [])
    assert not verdict.ok and "not quadratic" in verdict.reasons[0]


def test_rise_where_the_model_falls_has_no_ratio_and_is_told() -> None:
    odd = dataclasses.replace(GOOD, linear_rise=-0.02)
    verdict = judge(LIMIT, [], odd, [])
    assert verdict.nonquadraticity is None and "says it falls" in verdict.reasons[0]


def test_path_that_never_reaches_epsilon_is_no_evidence_against() -> None:
    assert nonquadraticity(None) is None
    assert judge(LIMIT, [], None, []).ok


def test_coarse_rounding_is_told_and_fine_rounding_is_not() -> None:
    assert judge(LIMIT, [], GOOD, [], rounding=0.001).ok
    coarse = judge(LIMIT, [], GOOD, [], rounding=0.5)
    assert not coarse.ok and "50.0 percentage points" in coarse.reasons[0]
    assert "`precision`" in coarse.reasons[0]


def test_loss_that_holds_beyond_the_limit_contradicts_it() -> None:
    made: Any = filled(OneShot)
    plain = dataclasses.replace(made, sparsity=0.93, interval=(0.925, 0.94))
    failing = dataclasses.replace(GOOD, sparsity=0.94)
    verdict = judge(LIMIT, [], failing, [], plain=plain)
    assert not verdict.ok and "within epsilon up to 93.0%" in verdict.reasons[0]
    assert judge(LIMIT, [], failing, [], plain=dataclasses.replace(plain, interval=(0.9, 1.0))).ok


def test_on_a_coarse_network_the_first_point_that_fails_is_no_evidence() -> None:
    """With ten weights the loss may hold at nine removed and fail at ten: nine is the threshold."""
    made: Any = filled(OneShot)
    plain = dataclasses.replace(made, sparsity=0.9, interval=(0.9, 1.0))
    assert judge(LIMIT, [], dataclasses.replace(GOOD, sparsity=1.0), [], plain=plain).ok


def test_the_one_shot_threshold_is_judged_by_its_own_interval() -> None:
    made: Any = filled(OneShot)
    sharp = dataclasses.replace(made, interval=(0.795, 0.81), ratio=5.0)
    verdict = judge_one_shot(sharp, [GOOD])
    assert verdict.ok and verdict.reasons == ()
    assert (verdict.nonquadraticity, verdict.path) == (5.0, (GOOD,))
    wide = dataclasses.replace(made, interval=(0.76, 0.83), samples=1000, of_samples=60_000)
    verdict = judge_one_shot(wide)
    assert not verdict.ok
    assert "7.0 percentage points on 1,000 of 60,000 samples" in verdict.reasons[0]
    assert "`samples`" in verdict.reasons[0]


def by_ggn(**changes: Any) -> Limit:
    return dataclasses.replace(LIMIT, operator="ggn", **changes)


def test_a_limit_that_leans_on_what_is_not_pruned_is_told() -> None:
    errors = {"probe": 0.001, "network": 0.03}
    leaning = by_ggn(errors=errors, interval=(0.87, 0.93), alone=0.871)
    verdict = judge(leaning, [], GOOD, [])
    assert not verdict.ok and len(verdict.reasons) == 1
    assert "leans on what is not pruned" in verdict.reasons[0]
    assert "puts the limit at 93.0%, and with them held at 87.1%" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("middle", "said"),
    [(0.925, "2.5 percentage points above"), (0.87, "3.0 percentage points below")],
)
def test_a_limit_far_from_where_such_networks_stop_is_told(middle: float, said: str) -> None:
    far = by_ggn(expected=(0.861, 0.939), expected_middle=middle, norm_kept=0.41)
    verdict = judge(far, [], GOOD, [])
    assert not verdict.ok and said in verdict.reasons[0] and "41% of the norm" in verdict.reasons[0]
    near = dataclasses.replace(far, expected_middle=far.sparsity - 0.014)
    assert judge(near, [], GOOD, []).ok


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.855, 0.92), "as far as 4.5 percentage points below the limit"),
        ((0.88, 0.945), "as far as 4.5 percentage points above the limit"),
        ((0.8, 0.945), "as far as 10.0 percentage points below the limit"),
    ],
)
def test_a_limit_is_doubted_where_nobody_knows_well_enough_where_such_networks_stop(
    ends: tuple[float, float], said: str
) -> None:
    limit = by_ggn(expected=ends, expected_middle=0.9)
    verdict = judge(limit, [], GOOD, [])
    assert not verdict.ok and said in verdict.reasons[0] and len(verdict.reasons) == 1
    assert judge(dataclasses.replace(limit, expected=(0.861, 0.939)), [], GOOD, []).ok


def test_leaning_by_less_than_an_interval_may_span_is_in_the_interval_alone() -> None:
    errors = {"probe": 0.001, "network": 0.008}
    assert judge(by_ggn(errors=errors, interval=(0.892, 0.908)), [], GOOD, []).ok
    wide = judge(
        by_ggn(errors={"probe": 0.009, "network": 0.008}, interval=(0.88, 0.92)), [], GOOD, []
    )
    (reason,) = wide.reasons
    assert "`probes`" in reason


def test_a_layer_left_empty_is_told() -> None:
    layers = [
        LayerResult(name=f"layers.{place}.weight", shape=(2, 2), kept=kept, sparsity=1 - kept / 4)
        for place, kept in enumerate((0, 3, 0))
    ]
    verdict = judge(by_ggn(), [], GOOD, [], layers=layers, linear=True)
    assert not verdict.ok and "layers.0.weight and 1 more" in verdict.reasons[0]
    assert judge(by_ggn(), [], GOOD, [], layers=layers[1:2], linear=True).ok


def test_loss_that_is_not_quadratic_says_nothing_of_the_ggns_limit() -> None:
    verdict = judge(by_ggn(), [], dataclasses.replace(GOOD, loss_rise=0.1), [], linear=True)
    assert verdict.ok and verdict.nonquadraticity == pytest.approx(10)


def test_half_a_point_is_good_enough_whatever_ended_the_work() -> None:
    given = ("max-products", 0.001)
    assert judge(by_ggn(interval=(0.896, 0.905)), [], GOOD, [], *given).ok
    wide = by_ggn(interval=(0.892, 0.905))
    assert not judge(wide, [], GOOD, [], *given).ok


def test_a_network_unlike_all_that_were_compared_is_doubted() -> None:
    alone = by_ggn(alone=0.89)
    assert "like this one" in " ".join(judge(alone, [], GOOD, []).reasons)
    assert judge(dataclasses.replace(alone, formula="paper"), [], GOOD, []).ok
    known = dataclasses.replace(alone, expected=(0.87, 0.93), expected_middle=alone.sparsity)
    assert judge(known, [], GOOD, []).ok
