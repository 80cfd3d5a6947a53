"""The gate: signed differences, the right threshold, and pairs that cannot be compared."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from test_results import filled

from prunelimit.compare import compare, distances
from prunelimit.config import CheckConfig
from prunelimit.errors import InputError, UsageError
from prunelimit.results import Epsilon, MeasureResult, PredictResult, Threshold

THRESHOLDS = (
    Threshold(rule="feasibility", tolerance=0.02, sparsity=0.94, interval=(0.94, 0.945)),
    Threshold(rule="accuracy", tolerance=0.005, sparsity=0.90, interval=(0.89, 0.92)),
    Threshold(rule="accuracy", tolerance=0.01, sparsity=0.92, interval=(0.91, 0.93)),
)
EPSILON = Epsilon(value=0.02, rule="batch-std")


def prediction(sparsity: float = 0.95, ok: bool = True) -> PredictResult:
    made: Any = filled(PredictResult)
    limit = dataclasses.replace(made.limit, sparsity=sparsity, interval=(0.93, 0.96))
    reliability = dataclasses.replace(made.reliability, ok=ok)
    return dataclasses.replace(made, limit=limit, epsilon=EPSILON, reliability=reliability)


def measurement(method: str = "refit", **changes: Any) -> MeasureResult:
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
    found = distances(prediction(), THRESHOLDS)
    assert [each.distance_pp for each in found] == pytest.approx([1, 5, 3])
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


def test_one_shot_is_compared_by_accuracy_at_the_first_tolerance() -> None:
    found = compare(prediction(), measurement("one-shot"), CheckConfig())
    assert (found.measured, found.rule) == (0.90, "accuracy")
    assert not found.passed
    assert "5.00 pp above" in found.reasons[0]
    assert any("--method refit" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("sparsity", "passed"), [(0.96, True), (0.92, True), (0.9601, False), (0.9199, False)]
)
def test_the_tolerance_itself_passes_on_both_sides(sparsity: float, passed: bool) -> None:
    found = compare(prediction(sparsity), measurement(), CheckConfig(tolerance="2pp"))
    assert found.passed is passed
    assert (found.difference_pp > 0) is (sparsity > 0.94)
    assert bool(found.reasons) is not passed


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
        ("epsilon", {"value": 0.0203}, "--epsilon"),
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
