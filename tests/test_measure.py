"""Thresholds on networks whose whole curve is known, and settings that make no sense."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunelimit.compensation.options import compensator
from prunelimit.config import MeasureConfig, TrainConfig
from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.measurement import Measurement, measure
from prunelimit.measurement.search import Search
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights
from prunelimit.pruning.selection import Selection
from prunelimit.results.types import Threshold
from prunelimit.training.l1 import train
from prunelimit.training.refit import refit

WEIGHTS = 1000
SAMPLES = 400
CONFIG = MeasureConfig(epsilon="0.001")


class Sign(nn.Module):
    """Class 0 where the weighted sum of the inputs is positive: weight i is removed i-th."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WEIGHTS, 1, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(weight_values()[None])

    def forward(self, inputs: Tensor) -> Tensor:
        total = self.linear(inputs)
        return torch.cat([total, torch.full_like(total, 1e-6)], dim=-1)


def weight_values() -> Tensor:
    return torch.arange(1, WEIGHTS + 1, dtype=torch.float64) / WEIGHTS


def counting(*dips: tuple[int, int]) -> Problem:
    """400 samples, the j-th of which is lost with weight 600 + j; and 20 more for every dip.

    Those of a dip (a, b) are wrong while more than a and no more than b weights are removed.
    """
    inputs = torch.zeros(SAMPLES + 20 * len(dips), WEIGHTS, dtype=torch.float64)
    inputs[torch.arange(SAMPLES), WEIGHTS - SAMPLES + torch.arange(SAMPLES)] = 1
    weights = weight_values()
    for i, (first, second) in enumerate(dips):
        rows = slice(SAMPLES + 20 * i, SAMPLES + 20 * (i + 1))
        for index, value in ((first, 2.0), (second, -1.0), (WEIGHTS - 1, 0.5)):
            inputs[rows, index] = value / weights[index]
    data = inputs, torch.zeros(len(inputs), dtype=torch.int64)
    return problem_from_module(Sign(), data, data, dtype="float64")


def threshold(found: Measurement, rule: str, tolerance: float | None = None) -> Threshold:
    (one,) = [
        each
        for each in found.thresholds
        if each.rule == rule and tolerance in (None, each.tolerance)
    ]
    return one


def test_thresholds_of_a_known_curve_are_exact() -> None:
    problem = counting()
    found = measure(problem, CONFIG)
    assert found.dense.accuracy == 1
    assert threshold(found, "accuracy", 0.005).sparsity == 602 / WEIGHTS
    assert threshold(found, "accuracy", 0.01).sparsity == 604 / WEIGHTS
    assert threshold(found, "dense-accuracy").sparsity == 600 / WEIGHTS
    for point in found.curve:
        removed = round(point.sparsity * WEIGHTS)
        assert point.nonzero == WEIGHTS - removed
        assert point.accuracy == pytest.approx(1 - max(0, removed - 600) / SAMPLES)
    assert [p.sparsity for p in found.curve] == sorted({p.sparsity for p in found.curve})


def test_the_loss_threshold_is_that_of_trying_every_count() -> None:
    problem = counting()
    found = threshold(measure(problem, CONFIG), "loss")
    softplus = np.log1p(np.exp(1e-6 - weight_values().numpy()[600:]))
    rises = np.cumsum(np.log1p(np.exp(1e-6)) - softplus) / SAMPLES
    expected = 600 + int((rises <= 0.001).sum())
    assert found.tolerance == 0.001
    assert found.sparsity == expected / WEIGHTS
    assert found.interval == (expected / WEIGHTS, (expected + 1) / WEIGHTS)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_the_interval_covers_the_paired_error_and_is_rounded_outwards(confidence: float) -> None:
    found = measure(counting(), dataclasses.replace(CONFIG, confidence=confidence))
    z = {0.5: 0.67448975, 0.95: 1.95996398, 0.99: 2.57582930}[confidence]
    for tolerance in (0.005, 0.01):
        lost = np.arange(SAMPLES + 1)
        drop = lost / SAMPLES
        error = np.sqrt(drop * (1 - drop) / (SAMPLES - 1))
        low = 600 + int(lost[drop + z * error <= tolerance].max())
        high = 600 + int(lost[drop - z * error <= tolerance].max())
        first, last = threshold(found, "accuracy", tolerance).interval
        assert low - 5 <= round(first * WEIGHTS) <= low
        assert high + 1 <= round(last * WEIGHTS) <= high + 5


def test_a_dip_on_the_way_ends_the_threshold_but_not_the_paper_s() -> None:
    found = measure(counting((490, 510)), CONFIG)
    for tolerance in (0.005, 0.01):
        assert threshold(found, "accuracy", tolerance).sparsity == 490 / WEIGHTS
    assert threshold(found, "dense-accuracy").sparsity == 600 / WEIGHTS


def test_a_dip_just_below_the_crossing_is_found_by_confirming() -> None:
    # Bisection alone goes 606, 603, 604, 605 and never looks at 602.
    config = dataclasses.replace(CONFIG, tolerance=("1pp",), epsilon="10")
    found = measure(counting((601, 602)), config)
    assert threshold(found, "accuracy", 0.01).sparsity == 601 / WEIGHTS


def test_a_network_that_loses_nothing_can_lose_everything() -> None:
    network = nn.Linear(20, 2)
    with torch.no_grad():
        network.weight.mul_(1e-3)
        network.bias.copy_(torch.tensor([1.0, 0.0]))
    data = torch.randn(30, 20), torch.zeros(30, dtype=torch.int64)
    problem = problem_from_module(network, data, data)
    for survivors in ("fixed", "trained", "compensated", "staged"):
        found = measure(problem, dataclasses.replace(CONFIG, survivors=survivors, epsilon="0.1"))
        assert all(t.sparsity == 1 and t.interval == (1, 1) for t in found.thresholds)


def nested(removed: int) -> Tensor:
    return torch.arange(WEIGHTS) >= removed


def another_at_700(removed: int) -> Tensor:
    """Nested but for one mask, which lacks a weight that stays at all other sparsities."""
    last = torch.arange(WEIGHTS) == WEIGHTS - 1
    return nested(removed) & ~last if removed == 700 else nested(removed)


@pytest.mark.parametrize("mask", [nested, another_at_700])
@pytest.mark.parametrize("failed", [(), (700,), (500, 700)])
def test_what_trained_survivors_hold_higher_up_they_hold_below(
    failed: tuple[int, ...], mask: Callable[[int], Tensor]
) -> None:
    # Survivors found at 80% are settings at 50% and 70% too, where masks are nested.
    held = {
        removed: removed <= 800 and removed not in failed for removed in (0, 500, 700, 800, 900)
    }
    known = {
        removed: SimpleNamespace(feasible=ok, passes=3.0 if removed else 0.0)
        for removed, ok in held.items()
    }
    points = SimpleNamespace(
        known=known,
        prunable=WEIGHTS,
        top=WEIGHTS,
        points=True,
        method=SimpleNamespace(survivors="trained"),
        networks=SimpleNamespace(minibatch_passes=0, selection=SimpleNamespace(mask=mask)),
    )
    found = Search(points, MeasureConfig(refit_passes=5), ()).witness()  # type: ignore[arg-type]
    assert found is not None
    *smaller, largest = found.budgets
    if mask is nested or not failed:
        assert largest.interval == (0.8, 0.9)
    else:
        assert largest.interval == ((0.5, 0.7) if failed == (700,) else (0.0, 0.5))
    # Within fewer passes it may have begun with what more of them found below.
    lowest = min((*failed, 900))
    assert {each.interval[1] for each in smaller} == {lowest / WEIGHTS}


def test_explicit_sparsities_are_measured_alone() -> None:
    config = dataclasses.replace(CONFIG, sparsities="0.5,0.603,0.7")
    found = measure(counting(), config)
    assert [p.sparsity for p in found.curve] == [0.5, 0.603, 0.7]
    assert threshold(found, "accuracy", 0.01).sparsity == 0.603
    assert threshold(found, "accuracy", 0.005).sparsity == 0.5
    assert threshold(found, "loss").interval == (0.5, 0.603)
    nothing = measure(counting(), dataclasses.replace(CONFIG, sparsities="0.9"))
    assert threshold(nothing, "accuracy", 0.01).sparsity == 0


def test_the_network_is_left_as_it_was() -> None:
    problem = counting()
    before = problem.vector()
    measure(problem, dataclasses.replace(CONFIG, sparsities="0.9"))
    assert torch.equal(before, problem.vector())


@pytest.fixture(scope="module")
def learned() -> Problem:
    torch.manual_seed(0)
    inputs = torch.randn(300, 10)
    data = inputs, inputs[:, :3].argmax(1)
    network = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    problem = problem_from_module(network, data, data)
    train(problem, TrainConfig(epochs=12, l1=1e-3), seed=0)
    return problem


REFIT = MeasureConfig(survivors="trained", epsilon="0.01", refit_passes=2, resolution=0.01)


def test_refit_brackets_what_can_be_reached(learned: Problem) -> None:
    stages: list[str] = []
    found = measure(learned, REFIT, progress=lambda stage, *_: stages.append(stage))
    feasible = threshold(found, "feasibility")
    one_shot = threshold(measure(learned, dataclasses.replace(REFIT, survivors="fixed")), "loss")
    assert one_shot.sparsity - 0.01 <= feasible.sparsity < 1
    low, high = feasible.interval
    assert low == feasible.sparsity < high
    assert high - low <= max(0.01, 0.05 * (1 - low)) + 1 / 208
    target = found.dense.loss + 0.01
    by_sparsity = {point.sparsity: point for point in found.curve}
    assert by_sparsity[low].loss <= target < by_sparsity[high].loss
    for point in found.curve:
        assert (point.outcome == "on target") is (point.loss <= target) or point.sparsity == 0
        assert point.passes is not None and point.passes <= 8
        assert point.nonzero == 208 - round(point.sparsity * 208)
    assert found.cost.epochs == sum(point.passes or 0 for point in found.curve)
    assert stages and all(stage.startswith("refit at ") for stage in stages)
    assert {t.rule for t in found.thresholds} == {"feasibility", "accuracy"}


def test_a_point_is_what_refit_makes_of_the_mask(learned: Problem) -> None:
    (point,) = measure(learned, dataclasses.replace(REFIT, sparsities="0.98")).curve
    mask = keep_mask(learned, magnitude_order(learned), round(0.98 * 208))
    target = evaluate(learned, learned.train).loss + 0.01
    alone = refit(learned, mask, target_loss=target, passes=4 * 2)
    assert point.loss == alone.loss
    assert point.accuracy == evaluate(learned, learned.test, alone.weights).accuracy
    assert (point.passes, point.outcome) == (alone.passes, alone.outcome) == (8, "budget")


def test_thresholds_do_not_fall_as_the_budget_grows(learned: Problem) -> None:
    found = measure(learned, REFIT)
    assert found.witness is not None
    budgets = found.witness.budgets
    assert [each.passes for each in budgets] == [2, 4, 8]
    sparsities = [each.sparsity for each in budgets]
    assert sparsities[0] < sparsities[1] < sparsities[2]
    assert found.witness.converged_pp == 100 * (sparsities[2] - sparsities[1])
    assert found.witness.minibatch_passes == 0
    feasible = threshold(found, "feasibility")
    assert (budgets[-1].sparsity, budgets[-1].interval) == (feasible.sparsity, feasible.interval)
    by_sparsity = {point.sparsity: point for point in found.curve}

    def holds(sparsity: float, passes: float) -> bool:
        point = by_sparsity[sparsity]
        assert point.passes is not None
        return point.loss <= found.dense.loss + 0.01 and point.passes <= passes

    for each in budgets:
        low, high = each.interval
        assert low == each.sparsity < high
        assert all(holds(s, each.passes) for s in by_sparsity if s <= low)
        assert not holds(high, each.passes)
        # Each is found to the same resolution.
        assert high - low <= max(0.01, 0.05 * (1 - low)) + 1 / 208


def test_no_budget_leaves_what_pruning_does(learned: Problem) -> None:
    found = measure(learned, dataclasses.replace(REFIT, refit_passes=0))
    assert found.witness is not None and found.cost.epochs == 0
    assert len({each.interval for each in found.witness.budgets}) == 1
    assert found.witness.converged_pp == 0
    wanted = ",".join(str(point.sparsity) for point in found.curve)
    one_shot = measure(learned, MeasureConfig(epsilon="0.01", sparsities=wanted))
    for point, cut in zip(found.curve, one_shot.curve, strict=True):
        assert (point.loss, point.accuracy) == (cut.loss, cut.accuracy)
    low, high = threshold(one_shot, "loss").interval
    assert threshold(found, "feasibility").interval == (low, high)


def test_minibatches_come_first_where_there_are_many(learned: Problem) -> None:
    config = dataclasses.replace(REFIT, refit_batch_size=3, sparsities="0.98")
    found = measure(learned, config)
    assert found.witness is not None and found.witness.minibatch_passes == 1
    assert found.curve == measure(learned, config).curve
    for other in ({"refit_lr": 0.1}, {"refit_batch_size": 128}):
        (point,) = measure(learned, dataclasses.replace(config, **other)).curve
        assert point.loss != found.curve[0].loss


def test_one_shot_points_are_those_of_the_mask(learned: Problem) -> None:
    found = measure(learned, MeasureConfig(sparsities="0:1:0.25", epsilon="0.05"))
    order = magnitude_order(learned)
    for point, removed in zip(found.curve, (0, 52, 104, 156, 208), strict=True):
        weights = pruned_weights(learned, keep_mask(learned, order, removed))
        assert point.loss == evaluate(learned, learned.train, weights).loss
        assert point.accuracy == evaluate(learned, learned.test, weights).accuracy


MOVED = MeasureConfig(epsilon="0.05", calibration=0, cg_steps=6, resolution=0.01)


def test_compensated_points_are_those_of_one_stage_from_dense(learned: Problem) -> None:
    config = dataclasses.replace(MOVED, survivors="compensated", sparsities="0,0.5,0.9")
    found = measure(learned, config)
    products = 0
    for point, removed in zip(found.curve, (0, 104, 187), strict=True):
        once = compensator(learned, Selection(learned, config.method), config, 0.05)
        state = once.advance(once.begin(), removed)
        pruned = once.problem_at(state)
        assert point.loss == evaluate(pruned, learned.train).loss
        assert point.accuracy == evaluate(pruned, learned.test).accuracy
        assert point.nonzero <= 208 - removed
        products += once.products
    assert found.cost.products == products > 0
    assert (found.calibration, found.cost.samples) == (300, 225)


def test_a_staged_curve_is_one_path_and_costs_no_more_than_its_last_point(
    learned: Problem,
) -> None:
    config = dataclasses.replace(MOVED, survivors="staged", sparsities="0.5,0.8,0.9")
    found = measure(learned, config)
    path = compensator(learned, Selection(learned, config.method), config, 0.05)
    state = path.begin()
    for point, removed in zip(found.curve, (104, 166, 187), strict=True):
        state = path.advance(state, removed)
        assert point.sparsity == removed / 208
        assert point.loss == evaluate(path.problem_at(state), learned.train).loss
    assert found.cost.products == path.products


@pytest.mark.parametrize("survivors", ["compensated", "staged"])
def test_moved_survivors_have_the_thresholds_of_one_shot(learned: Problem, survivors: str) -> None:
    found = measure(learned, dataclasses.replace(MOVED, survivors=survivors))
    shot = measure(learned, MOVED)
    assert (found.dense, found.epsilon) == (shot.dense, shot.epsilon)
    assert [(t.rule, t.tolerance) for t in found.thresholds] == [
        (t.rule, t.tolerance) for t in shot.thresholds
    ]
    # Moving survivors by what outputs were is no worse than leaving them, but for the resolution.
    assert threshold(found, "loss").sparsity >= threshold(shot, "loss").sparsity - 0.05
    by_sparsity = {point.sparsity: point for point in found.curve}
    for each in found.thresholds:
        low, high = each.interval
        assert low <= each.sparsity <= high
        assert {low, each.sparsity} <= set(by_sparsity)
    loss = threshold(found, "loss")
    target = found.dense.loss + 0.05
    assert by_sparsity[loss.sparsity].loss <= target < by_sparsity[loss.interval[1]].loss
    assert loss.interval[1] - loss.sparsity <= 0.01 + 1e-9
    assert all(p.nonzero <= round((1 - p.sparsity) * 208) for p in found.curve)
    assert found.allocation == "global" and found.witness is None
    assert all(p.passes is None and p.outcome is None for p in found.curve)


@pytest.mark.parametrize(
    "choices", [{}, {"criterion": "obd"}, {"survivors": "staged"}, {"survivors": "compensated"}]
)
def test_progress_ends_where_it_said(learned: Problem, choices: dict[str, str]) -> None:
    calls: list[tuple[int, int]] = []
    measure(
        learned,
        dataclasses.replace(MOVED, **choices),
        progress=lambda stage, done, total, note="": (
            calls.append((done, total)) if stage == "measuring" else None
        ),
    )
    assert calls[-1][0] == calls[-1][1]
    assert all(done < total for done, total in calls[:-1])
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    "change",
    [
        {"survivors": "left"},
        {"tolerance": ()},
        {"tolerance": ("1",)},
        {"confidence": 1.0},
        {"confidence": math.nan},
        {"resolution": 0.0},
        {"sparsities": "2"},
        {"epsilon": "much"},
        {"survivors": "staged", "cg_steps": -1},
        {"survivors": "staged", "calibration": 1},
        {"pattern": "2:4", "allocation": "erk"},
        {"survivors": "trained", "refit_passes": -1},
        {"survivors": "trained", "refit_lr": 0.0},
        {"survivors": "trained", "refit_batch_size": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        measure(counting(), dataclasses.replace(CONFIG, **change))


def test_nothing_prunable_is_told() -> None:
    data = torch.randn(8, 4), torch.arange(8) % 2
    problem = problem_from_module(nn.Linear(4, 2), data, data)
    with pytest.raises(UsageError, match="No weight"):
        measure(dataclasses.replace(problem, prunable=()), CONFIG)
