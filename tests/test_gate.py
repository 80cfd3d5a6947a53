"""The gate: signed differences, the right threshold, and pairs that cannot be compared."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from test_results import filled

from prunelimit.config import CheckConfig
from prunelimit.errors import InputError, UsageError
from prunelimit.gate import compare, distances
from prunelimit.results.types import Epsilon, MeasureResult, PredictResult, Threshold

THRESHOLDS = (
    Threshold(rule="feasibility", tolerance=0.02, sparsity=0.94, interval=(0.94, 0.945)),
    Threshold(rule="accuracy", tolerance=0.005, sparsity=0.90, interval=(0.89, 0.92)),
    Threshold(rule="accuracy", tolerance=0.01, sparsity=0.92, interval=(0.91, 0.93)),
    Threshold(rule="loss", tolerance=0.02, sparsity=0.81, interval=(0.81, 0.811)),
)
EPSILON = Epsilon(value=0.02, rule="batch-std")


def prediction(sparsity: float = 0.95, ok: bool = True) -> PredictResult:
    made: Any = filled(PredictResult)
    ends = (0.93, 0.96) if 0.93 <= sparsity <= 0.96 else (sparsity, sparsity)
    limit = dataclasses.replace(made.limit, sparsity=sparsity, interval=ends)
    reliability = dataclasses.replace(made.reliability, ok=ok)
    one_shot = dataclasses.replace(made.one_shot, sparsity=0.80, interval=(0.79, 0.805))
    return dataclasses.replace(
        made, limit=limit, epsilon=EPSILON, reliability=reliability, one_shot=one_shot
    )


def measurement(method: str = "magnitude+trained", **changes: Any) -> MeasureResult:
    predicted = prediction()
    made: Any = filled(MeasureResult)
    return dataclasses.replace(
        made,
        **{
            "method": method,
            "model": predicted.model,
            "data": predicted.data,
            "epsilon": EPSILON,
            "thresholds": THRESHOLDS,
            **changes,
        },
    )


def test_distances_are_limit_minus_threshold() -> None:
    found = distances(prediction().limit, THRESHOLDS)
    assert [each.distance_pp for each in found] == pytest.approx([1, 5, 3, 14])
    for each, threshold in zip(found, THRESHOLDS, strict=True):
        for field in dataclasses.fields(threshold):
            assert getattr(each, field.name) == getattr(threshold, field.name)


def test_refit_is_compared_by_feasibility() -> None:
    found = compare(prediction(), measurement(), CheckConfig())
    assert (found.predicted, found.measured, found.rule) == (0.95, 0.94, "feasibility")
    assert found.predicted_interval == (0.93, 0.96)
    assert found.measured_interval == (0.94, 0.945)
    assert found.difference_pp == pytest.approx(1)
    assert found.tolerance_pp == 2
    assert found.passed and found.reasons == ()


@pytest.mark.parametrize(
    ("method", "rule", "number", "predicted", "measured"),
    [
        ("magnitude", "loss", "one-shot", 0.80, 0.81),
        ("magnitude/global+trained", "feasibility", "limit", 0.95, 0.94),
        ("magnitude+compensated", "loss", "between", 0.81, 0.81),
        ("magnitude+staged", "loss", "between", 0.81, 0.81),
        ("magnitude+obs", "loss", "between", 0.81, 0.81),
    ],
)
def test_like_is_compared_with_like(
    method: str, rule: str, number: str, predicted: float, measured: float
) -> None:
    found = compare(prediction(), measurement(method), CheckConfig())
    assert (found.method, found.rule, found.number) == (method, rule, number)
    assert (found.predicted, found.measured) == (predicted, measured)
    assert found.difference_pp == pytest.approx(100 * (predicted - measured))
    assert found.passed


@pytest.mark.parametrize(
    ("loss", "difference", "passed"),
    [
        (0.77, 3, False),
        (0.78, 2, True),
        (0.80, 0, True),
        (0.90, 0, True),
        (0.95, 0, True),
        (0.97, -2, True),
        (0.98, -3, False),
    ],
)
def test_moved_survivors_lie_between_the_two_numbers(
    loss: float, difference: float, passed: bool
) -> None:
    threshold = Threshold(rule="loss", tolerance=0.02, sparsity=loss, interval=(loss, loss))
    found = compare(
        prediction(), measurement("magnitude+staged", thresholds=(threshold,)), CheckConfig()
    )
    assert found.passed is passed
    assert found.difference_pp == pytest.approx(difference, abs=1e-9)
    assert found.predicted_interval == (0.80, 0.95)
    if not passed:
        side = "above" if difference > 0 else "below"
        assert f"80.00% to 95.00% lies 3.00 pp {side}" in found.reasons[0]


@pytest.mark.parametrize("method", ["magnitude", "magnitude+trained", "snip", "mine.py:scores"])
def test_accuracy_is_compared_with_the_limit_where_that_is_asked_for(method: str) -> None:
    found = compare(prediction(), measurement(method), CheckConfig(rule="accuracy"))
    assert (found.predicted, found.measured, found.rule) == (0.95, 0.90, "accuracy")
    assert found.number == "limit" and not found.passed
    assert "5.00 pp above" in found.reasons[0]
    assert any("trained `survivors`" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    "method",
    ["snip", "mine.py:scores+staged", "magnitude/erk+trained", "magnitude/2:4", "obs+obs"],
)
def test_other_masks_than_those_predicted_for_are_refused(method: str) -> None:
    measured = measurement(method)
    with pytest.raises(InputError, match=re.escape(f"Nothing is predicted for {method},")) as told:
        compare(prediction(), measured, CheckConfig())
    assert "`rule` accuracy" in str(told.value)
    assert compare(prediction(), measured, CheckConfig(rule="accuracy")).rule == "accuracy"


def test_a_prediction_without_the_one_shot_threshold_serves_for_the_limit_alone() -> None:
    old = dataclasses.replace(prediction(), one_shot=None)
    assert compare(old, measurement(), CheckConfig()).passed
    for method in ("magnitude", "magnitude+staged"):
        with pytest.raises(InputError, match="run predict again"):
            compare(old, measurement(method), CheckConfig())


def test_an_unreliable_limit_says_nothing_of_the_one_shot_threshold() -> None:
    far = dataclasses.replace(THRESHOLDS[3], sparsity=0.5, interval=(0.5, 0.501))
    measured = measurement("magnitude", thresholds=(far,))
    (told,) = compare(prediction(ok=False), measured, CheckConfig()).reasons
    assert "plain threshold of 80.00% lies 30.00 pp above" in told


@pytest.mark.parametrize(
    ("method", "rule", "limit_ok", "width", "ok"),
    [
        ("magnitude", "event", False, 0.019, True),
        ("magnitude", "event", True, 0.021, False),
        ("magnitude", "accuracy", False, 0.019, False),
        ("magnitude+trained", "event", True, 0.5, True),
        ("magnitude+trained", "event", False, 0.01, False),
        ("magnitude+staged", "event", True, 0.01, True),
        ("magnitude+staged", "event", True, 0.5, False),
        ("magnitude+staged", "event", False, 0.01, False),
    ],
)
def test_the_number_compared_with_says_how_reliable_it_is(
    method: str, rule: str, limit_ok: bool, width: float, ok: bool
) -> None:
    made: Any = prediction(ok=limit_ok)
    doubts = () if limit_ok else ("The limit is not resolved.",)
    limit = dataclasses.replace(made.reliability, reasons=doubts)
    one_shot = dataclasses.replace(made.one_shot, interval=(0.5, 0.5 + width))
    made = dataclasses.replace(made, reliability=limit, one_shot=one_shot)
    found = compare(made, measurement(method), CheckConfig(rule=rule)).reliability
    assert found.ok is ok
    assert bool(found.reasons) is not ok


@pytest.mark.parametrize(
    ("limit", "gained", "told"),
    [(0.97, 3.0, True), (0.97, 0.4, False), (0.3, 3.0, False)],
    ids=["may reach further", "converged", "reaches further already"],
)
def test_a_failure_says_that_the_measurement_has_not_converged(
    limit: float, gained: float, told: bool
) -> None:
    measured = measurement("magnitude+trained")
    assert measured.witness is not None
    measured = dataclasses.replace(
        measured, witness=dataclasses.replace(measured.witness, converged_pp=gained)
    )
    made = prediction(limit)
    made = dataclasses.replace(
        made, limit=dataclasses.replace(made.limit, interval=(limit, limit), expected=None)
    )
    found = compare(made, measured, CheckConfig())
    assert not found.passed
    assert any("has not converged" in each for each in found.reasons) is told


@pytest.mark.parametrize(
    ("sparsity", "passed"), [(0.96, True), (0.92, True), (0.9601, False), (0.9199, False)]
)
def test_the_tolerance_itself_passes_on_both_sides(sparsity: float, passed: bool) -> None:
    made = prediction(sparsity)
    exact = dataclasses.replace(made.limit, interval=(sparsity, sparsity))
    made = dataclasses.replace(made, limit=exact)
    found = compare(made, measurement(), CheckConfig(tolerance="2pp"))
    assert found.passed is passed
    assert (found.difference_pp > 0) is (sparsity > 0.94)
    assert bool(found.reasons) is not passed


@pytest.mark.parametrize(
    ("rule", "method", "alone", "passed"),
    [
        ("event", "magnitude+trained", 0.96, True),
        ("event", "magnitude", 0.96, False),  # nothing moved: another event
        ("accuracy", "magnitude+trained", 0.96, False),
        ("event", "magnitude+trained", 0.99, False),  # the interval comes with another limit
    ],
)
def test_survivors_that_stop_where_they_were_expected_to_are_no_failure(
    rule: str, method: str, alone: float, passed: bool
) -> None:
    made = prediction(0.98)
    limit = dataclasses.replace(made.limit, alone=alone, expected=(0.89, 0.97))
    one_shot = made.one_shot and dataclasses.replace(
        made.one_shot, sparsity=0.85, interval=(0.85, 0.85)
    )
    made = dataclasses.replace(made, limit=limit, one_shot=one_shot)
    found = compare(made, measurement(method), CheckConfig(rule=rule))
    assert found.passed == passed
    if passed:
        assert "expected to stop at 89.00% to 97.00%: no failure." in found.notes[0]
        outside = dataclasses.replace(limit, expected=(0.945, 0.97))
        made = dataclasses.replace(made, limit=outside)
        assert not compare(made, measurement(method), CheckConfig(rule=rule)).passed


def test_an_interval_that_names_no_threshold_is_no_excuse() -> None:
    made = prediction(0.98)
    limit = dataclasses.replace(made.limit, alone=0.96, expected=(0.5, 0.97))
    made = dataclasses.replace(made, limit=limit)
    found = compare(made, measurement("magnitude+trained"), CheckConfig())
    assert not found.passed and not found.notes


def test_an_unreliable_prediction_is_named_among_the_reasons() -> None:
    told = compare(prediction(0.5, ok=False), measurement(), CheckConfig()).reasons
    assert "44.00 pp below" in told[0] and "not reliable" in told[1]
    assert len(compare(prediction(0.5), measurement(), CheckConfig()).reasons) == 1


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("model", {"sha256": "f" * 64}, "checkpoint"),
        ("model", {"prunable": 999}, "999"),
        ("data", {"spec": "other"}, "other"),
        ("epsilon", {"value": 0.0203}, "`epsilon`"),
    ],
)
def test_pairs_about_different_things_are_refused(
    part: str, change: dict[str, Any], told: str
) -> None:
    measured = measurement()
    changed = dataclasses.replace(getattr(measured, part), **change)
    with pytest.raises(InputError, match=told):
        compare(prediction(), dataclasses.replace(measured, **{part: changed}), CheckConfig())


def test_epsilons_may_differ_a_little_and_live_networks_have_no_checkpoint() -> None:
    measured = measurement(epsilon=Epsilon(value=0.0201, rule="batch-std"))
    live = dataclasses.replace(measured, model=dataclasses.replace(measured.model, sha256=None))
    assert compare(prediction(), live, CheckConfig()).passed


def test_a_missing_threshold_and_a_bad_tolerance_are_told() -> None:
    with pytest.raises(InputError, match="no feasibility threshold"):
        compare(prediction(), measurement(thresholds=THRESHOLDS[1:]), CheckConfig())
    with pytest.raises(UsageError, match=r"0\.5pp"):
        compare(prediction(), measurement(), CheckConfig(tolerance="2"))
