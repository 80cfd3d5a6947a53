"""Compensation: exact where exactness can be had, zero where removed, undone where it fails."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from oracles import dense_ggn
from torch import Tensor, nn
from torch.func import functional_call

from prunelimit.compensation import line_search
from prunelimit.compensation.batch_norm import recalibrated, statistics
from prunelimit.compensation.calibration import (
    Calibration,
    Windows,
    squared_distance,
)
from prunelimit.compensation.conjugate_gradients import natural_damping, solve
from prunelimit.compensation.path import Path
from prunelimit.compensation.stages import LEAST_STEP, SHALLOW, STEEPEST, Compensator
from prunelimit.compensation.state import State
from prunelimit.curvature import CurvatureProduct
from prunelimit.errors import InputError, UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, cross_entropy
from prunelimit.inputs.splits import SplitSubset, TensorSplit
from prunelimit.pruning.magnitude import keep_mask, magnitude_order
from prunelimit.pruning.selection import Selection
from prunelimit.values import EpsilonRule, KeepRule

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"epsilon": 0.01, "calibration": 0, "cg_steps": 25}


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().sum(-1)


def classifier(*, norm: bool = False, seed: int = 0, dtype: str = "float64") -> Problem:
    """A small network, trained a little so that its outputs mean something."""
    torch.manual_seed(seed)
    middle = [nn.BatchNorm1d(12)] if norm else []
    network = nn.Sequential(nn.Linear(6, 12), *middle, nn.Tanh(), nn.Linear(12, 3))
    inputs = torch.randn(160, 6)
    targets = (inputs[:, :3] + 0.5 * inputs[:, 3:]).argmax(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    network.train()
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    data = inputs, targets
    return problem_from_module(network.eval(), data, data, dtype=dtype)


def split(problem: Problem, inputs: Tensor) -> TensorSplit:
    """Inputs with labels that are all the same."""
    labels = torch.zeros(len(inputs), dtype=torch.int64)
    return TensorSplit(inputs, labels, device=problem.device, dtype=problem.dtype)


def spd(size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return root @ root.T / size


class TestSolver:
    @pytest.mark.parametrize("damping", [0.0, 0.1, 10.0])
    def test_it_solves_the_masked_system(self, damping: float) -> None:
        matrix, side = spd(30), torch.linspace(-1, 1, 30, dtype=torch.float64)
        mask = torch.arange(30) % 3 != 0
        found = solve(
            lambda v: matrix @ v, side, mask, damping=damping, max_steps=200, tolerance=1e-10
        )
        block = matrix[mask][:, mask] + damping * torch.eye(int(mask.sum()), dtype=torch.float64)
        expected = torch.linalg.solve(block, side[mask])
        update = found.iterates[-1].update
        assert found.outcome == "converged" and found.residual <= 1e-10
        assert torch.allclose(update[mask], expected, rtol=1e-6, atol=1e-9)
        assert all(not bool(each.update[~mask].any()) for each in found.iterates)

    def test_the_decrease_of_every_iterate_is_the_quadratics(self) -> None:
        matrix, side = spd(40, 1), torch.ones(40, dtype=torch.float64)
        mask = torch.arange(40) > 4
        found = solve(lambda v: matrix @ v, side, mask, damping=0.05, max_steps=12)
        assert found.outcome == "steps" and found.iterates[-1].steps == 12
        for each in found.iterates:
            for length in (1.0, 0.5):
                u = length * each.update
                value = float(side @ u - 0.5 * u @ matrix @ u)
                assert each.decrease_at(length) == pytest.approx(value, rel=1e-8)

    def test_negative_curvature_ends_it_with_what_was_reached(self) -> None:
        diagonal = torch.tensor([2.0, 1.0, -5.0], dtype=torch.float64)
        side = torch.tensor([1.0, 1.0, 0.01], dtype=torch.float64)
        mask = torch.ones(3, dtype=torch.bool)
        found = solve(lambda v: diagonal * v, side, mask, damping=0.0, max_steps=10)
        assert found.outcome == "breakdown"
        assert all(bool(torch.isfinite(each.update).all()) for each in found.iterates)

    def test_nothing_to_do(self) -> None:
        mask = torch.ones(3, dtype=torch.bool)
        found = solve(lambda v: v, torch.zeros(3), mask, damping=0.0, max_steps=5)
        assert found.outcome == "nothing to do" and not found.iterates

    def test_settings_that_make_no_sense(self) -> None:
        mask = torch.ones(3, dtype=torch.bool)
        with pytest.raises(UsageError, match="`cg_steps`"):
            solve(lambda v: v, torch.ones(3), mask, damping=0.0, max_steps=0)
        with pytest.raises(UsageError, match="damping"):
            solve(lambda v: v, torch.ones(3), mask, damping=-1.0, max_steps=1)
        with pytest.raises(UsageError, match="tolerance"):
            natural_damping(0.0, 1.0)

    def test_the_natural_damping_is_the_limits_ridge(self) -> None:
        assert natural_damping(0.02, 2.0) == pytest.approx(0.01)
        assert natural_damping(0.02, 0.0) == math.inf


def test_it_is_the_schur_complement_on_a_tiny_network() -> None:
    problem = classifier()
    matrix = dense_ggn(problem)
    mask = keep_mask(problem, magnitude_order(problem), 50)
    displacement = -problem.vector().masked_fill(mask, 0)
    damping = 1e-3
    product = CurvatureProduct(problem, problem.train, "ggn")
    side = -product(displacement)
    found = solve(product, side, mask, damping=damping, max_steps=500, tolerance=1e-11)
    block = matrix[mask][:, mask]
    block = block + damping * torch.eye(len(block), dtype=block.dtype)
    expected = torch.linalg.solve(block, -(matrix @ displacement)[mask])
    assert torch.allclose(found.iterates[-1].update[mask], expected, rtol=1e-5, atol=1e-8)


def test_a_stage_is_the_damped_gauss_newton_step_at_the_cut() -> None:
    """By a Jacobian of its own, of outputs shifted to mean zero."""
    problem = classifier()
    worker = Compensator(problem, stages=1, **{**SETTINGS, "epsilon": 1e-9, "cg_steps": 400})
    mask = keep_mask(problem, magnitude_order(problem), 50)
    cut = problem.vector().masked_fill(~mask, 0)
    fit = worker.windows.at(0)
    inputs = torch.cat([x for x, _ in fit.batches(500)])
    dense = torch.cat([y for _, y in fit.batches(500)])

    def apart(weights: Tensor) -> Tensor:
        outputs = functional_call(problem.model, problem.layout.unflatten(weights), (inputs,))
        off = outputs - dense
        return (off - off.mean(1, keepdim=True)).flatten()

    jacobian = torch.autograd.functional.jacobian(apart, cut)[:, mask]
    share = 1 / dense.numel()
    radius = float((problem.vector() - cut).norm())
    block = share * jacobian.T @ jacobian
    block += natural_damping(1e-9, radius) * torch.eye(len(block), dtype=block.dtype)
    expected = torch.linalg.solve(block, -share * jacobian.T @ apart(cut))
    product = worker.student.product(cut, {}, fit)
    found = solve(
        product,
        -product.gradient(),
        mask,
        damping=natural_damping(1e-9, radius),
        max_steps=400,
        tolerance=1e-12,
    )
    difference = found.iterates[-1].update[mask] - expected
    assert difference.norm() <= 1e-6 * expected.norm()


def least_squares() -> tuple[Problem, Tensor]:
    torch.manual_seed(0)
    inputs = torch.randn(80, 10, dtype=torch.float64) @ torch.randn(10, 10, dtype=torch.float64)
    targets = torch.randn(80, 2, dtype=torch.float64)
    solution = torch.linalg.lstsq(inputs, targets).solution
    network = nn.Linear(10, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(solution.T)
    data = inputs, targets
    return problem_from_module(network, data, data, loss=squares, dtype="float64"), inputs


def test_on_linear_least_squares_it_is_the_constrained_minimiser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_search, "IN_A_ROW", math.inf)  # the solve goes on to its end
    problem, inputs = least_squares()
    settings = {**SETTINGS, "epsilon": 1e-14, "cg_steps": 300}
    worker = Compensator(problem, stages=1, **settings)
    found = worker.advance(worker.begin(), 8)
    # the split that judges is no part of the fit: minimise over the fit's samples alone
    first = worker.windows.at(0)
    fit = torch.cat([x for x, _ in first.batches(50)])
    targets = torch.cat([y for _, y in first.batches(50)])
    kept, weights = found.kept.view(2, 10), found.weights.view(2, 10)
    for row in range(2):
        columns = fit[:, kept[row]]
        expected = torch.linalg.lstsq(columns, targets[:, row : row + 1]).solution[:, 0]
        assert torch.allclose(weights[row][kept[row]], expected, rtol=1e-4, atol=1e-6)
    assert found.stages[0].outcome == "converged"
    assert len(inputs) == 80


@pytest.mark.parametrize("stages", [1, 4, None])
@pytest.mark.parametrize("removed", [0, 1, 60, 100, 108])
def test_counts_are_exact_and_removed_weights_zero(stages: int | None, removed: int) -> None:
    problem = classifier(norm=True)
    before = {n: t.clone() for n, t in problem.model.state_dict().items()}
    worker = Compensator(problem, stages=stages, **SETTINGS)
    found = worker.advance(worker.begin(), removed)
    assert found.removed == removed == int((~found.kept).sum())
    assert not bool(found.weights[~found.kept].any())
    assert bool(found.kept[~problem.prunable_mask()].all())
    after = worker.problem_at(found)
    assert torch.equal(after.vector(), found.weights)
    assert worker.rise(found) == pytest.approx(found.rise, rel=1e-9, abs=1e-12)
    assert all(torch.equal(before[n], t) for n, t in problem.model.state_dict().items())


@pytest.mark.parametrize("stages", [1, 3, None])
@pytest.mark.parametrize(("norm", "seed"), [(False, 0), (False, 2), (True, 1)])
def test_it_is_never_worse_than_magnitude_alone(stages: int | None, norm: bool, seed: int) -> None:
    problem = classifier(norm=norm, seed=seed)
    worker = Compensator(problem, stages=stages, **SETTINGS)
    state = worker.begin()
    for removed in (30, 60, 80, 100):
        state = worker.advance(state, removed)
        assert all(each.rise <= each.fitted <= each.cut for each in state.stages)
        mask = keep_mask(problem, magnitude_order(problem), removed)
        plain = State(problem.vector().masked_fill(~mask, 0), mask, {})
        assert state.rise <= worker.rise(plain) + 1e-12


@pytest.mark.parametrize("stages", [2, 3, 5])
@pytest.mark.parametrize("removed", [61, 80, 97])
def test_there_are_as_many_stages_as_are_asked_for(stages: int, removed: int) -> None:
    """Each ends at a whole weight, and what that leaves over is no stage of its own."""
    problem = classifier()
    worker = Compensator(problem, stages=stages, **{**SETTINGS, "cg_steps": 5})
    found = worker.advance(worker.begin(), removed)
    assert found.undone or len(found.stages) == stages


def test_a_path_goes_on_and_never_back() -> None:
    problem = classifier()
    worker = Compensator(problem, **SETTINGS)
    first = worker.advance(worker.begin(), 40)
    second = worker.advance(first, 80)
    if all(each.outcome != "anew" for each in second.stages):
        assert not bool((second.kept & ~first.kept).any())
    assert second.stages[: len(first.stages)] == first.stages
    with pytest.raises(UsageError, match="only 80 to 108"):
        worker.advance(second, 40)


@pytest.mark.parametrize("norm", [False, True])
def test_a_path_branches_off_what_it_came_by(norm: bool) -> None:
    problem = classifier(norm=norm)
    worker = Compensator(problem, **SETTINGS)
    path = Path(worker)
    path.at(90), path.at(70)
    low = worker.advance(worker.begin(), 70)
    for removed, below in ((70, worker.begin()), (80, low)):
        state, own = path.at(removed), worker.advance(below, removed)
        assert torch.equal(state.weights, own.weights) and torch.equal(state.kept, own.kept)
        assert state.rise == own.rise and state.stages == own.stages
        assert state.buffers.keys() == own.buffers.keys()
    spent = worker.products
    assert path.at(80).removed == 80 and path.at(0).removed == 0
    assert worker.products == spent
    assert torch.equal(path.at(0).weights, problem.vector())


def test_a_divergence_above_what_is_asked_for_is_not_summed_up() -> None:
    problem = dataclasses.replace(classifier(), batch_size=10)
    worker = Compensator(problem, **SETTINGS)
    seen: list[int] = []
    worker.student._model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    weights = problem.vector() * 0.5
    rise = worker.student.rise(weights, {})
    assert rise > 0 and sum(seen) == 40
    assert worker.student.rise(weights, {}, above=1.01 * rise) == rise
    assert worker.student.rise(weights, {}, above=0.99 * rise) == math.inf
    seen.clear()
    assert worker.student.rise(weights, {}, above=0.1 * rise) == math.inf
    assert sum(seen) < 40


def test_the_gradient_comes_with_the_misfit() -> None:
    problem = classifier()
    worker = Compensator(problem, **SETTINGS)
    fit, weights = worker.windows.at(0), problem.vector() * 0.7
    product = worker.student.product(weights, {}, fit)
    product.gradient()
    assert product.value == pytest.approx(worker.student.misfit(weights, {}, fit), rel=1e-10)


def test_labels_are_never_read() -> None:
    problem = classifier()
    inputs = torch.cat([x for x, _ in problem.train.batches(500)])
    found = []
    for each in (None, split(problem, inputs)):
        worker = Compensator(
            problem, stages=3, inputs=each, **{**SETTINGS, "epsilon": EpsilonRule.parse(0.01)}
        )
        found.append(worker.advance(worker.begin(), 80).weights)
    assert torch.equal(*found)


def test_it_is_deterministic_and_leaves_the_global_generator_alone() -> None:
    problem = classifier(norm=True)
    generator = torch.get_rng_state()
    settings = {**SETTINGS, "calibration": 100}
    runs = [
        (worker := Compensator(problem, **settings)).advance(worker.begin(), 90) for _ in range(2)
    ]
    assert torch.equal(runs[0].weights, runs[1].weights) and runs[0].stages == runs[1].stages
    assert torch.equal(generator, torch.get_rng_state())


@pytest.mark.parametrize("stages", [4, None])
def test_it_goes_on_from_a_state_to_the_same_numbers(tmp_path: Any, stages: int | None) -> None:
    problem = classifier(norm=True)
    worker = Compensator(problem, stages=stages, **SETTINGS)
    states: list[State] = []
    whole = worker.advance(worker.begin(), 90, on_stage=states.append)
    assert len(states) > 2
    torch.save(states[1].document(), tmp_path / "state")
    document = torch.load(tmp_path / "state", weights_only=True)
    read = State.of(document, problem.vector())
    rest = Compensator(problem, stages=stages, **SETTINGS).advance(read, 90)
    assert torch.equal(rest.weights, whole.weights) and rest.stages == whole.stages
    with pytest.raises(InputError, match="another version"):
        State.of({"weights": read.weights}, problem.vector())
    with pytest.raises(ValueError, match="of another network"):
        State.of(document, problem.vector()[1:])


def test_a_stage_beyond_its_budget_is_undone() -> None:
    problem = classifier()
    worker = Compensator(problem, **SETTINGS)
    free = worker.advance(worker.begin(), 104)
    assert free.removed == 104
    budget = free.rise / 4
    held = worker.advance(worker.begin(), 104, budget=budget)
    assert 0 < held.removed < 104
    assert worker.rise(held) <= budget
    assert not bool(held.weights[~held.kept].any())


@pytest.mark.parametrize("norm", [False, True])
def test_a_cut_too_steep_is_taken_in_shorter_stages(norm: bool) -> None:
    """Steeper than allowed only where a stage is as short as they get."""
    problem = classifier(norm=norm)
    counts = []
    for epsilon in (1e-3, 1e3):
        worker = Compensator(problem, **{**SETTINGS, "epsilon": epsilon, "cg_steps": 5})
        state = worker.advance(worker.begin(), 60)
        counts.append(len(state.stages))
        removed, rise = 0, 0.0
        for each in state.stages:
            survivors = (worker.prunable - removed) / (worker.prunable - each.removed)
            # a target is a whole number of weights, so that the least step may be passed by one
            least = math.exp(LEAST_STEP) + 1 / (worker.prunable - each.removed)
            steep = each.fitted - rise > max(SHALLOW * epsilon, STEEPEST * rise)
            assert not steep or survivors <= least or each.outcome == "anew"
            removed, rise = each.removed, each.rise
    assert counts[0] > counts[1]


class Steep(nn.Module):
    """Outputs that grow so fast that a linear model of them says nothing true."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.exp(5 * self.layer(inputs))


def test_what_cannot_be_trusted_is_undone_and_tried_shorter() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(120, 6)
    data = inputs, inputs[:, :3].argmax(1)
    problem = problem_from_module(Steep(), data, data, dtype="float64")
    worker = Compensator(problem, stages=2, **SETTINGS)
    # A descent at a rate of nothing leaves all to the solve.
    found = worker.advance(dataclasses.replace(worker.begin(), rate=0.0), 12)
    assert found.removed == 12 and found.undone > 0
    assert all(each.rise <= each.cut for each in found.stages)


class TestRecalibration:
    def test_a_network_that_was_not_pruned_is_left_as_it_is(self) -> None:
        problem = classifier(norm=True)
        samples = Calibration.of(problem, problem.train, torch.arange(160))
        before = statistics(problem.model, samples, 160)
        found = recalibrated(problem.model, problem.model, before, samples, 160)
        assert set(found) == {"1.running_mean", "1.running_var"}
        held = dict(problem.model.named_buffers())
        assert all(torch.allclose(each, held[name]) for name, each in found.items())

    def test_a_channel_without_weights_is_constant(self) -> None:
        problem = classifier(norm=True)
        samples = Calibration.of(problem, problem.train, torch.arange(160))
        before = statistics(problem.model, samples, 160)
        dense = copy.deepcopy(problem.model)
        # What training took from augmented data is not what the samples give.
        dense[1].running_mean += 0.3 * dense[1].running_var.sqrt()
        dense[1].running_var *= 1.2
        pruned = copy.deepcopy(dense)
        with torch.no_grad():
            pruned[0].weight[2] = 0
            pruned[0].weight[3] *= 0.5
            pruned[0].bias[2:4] *= 0.5
        found = recalibrated(pruned, dense, before, samples, 160)
        assert torch.allclose(found["1.running_mean"][2], pruned[0].bias[2])
        assert found["1.running_var"][2] == 0
        # A channel at half its size is normalised to what it was.
        assert torch.allclose(found["1.running_mean"][3], 0.5 * dense[1].running_mean[3])
        assert torch.allclose(found["1.running_var"][3], 0.25 * dense[1].running_var[3])

    def test_statistics_are_the_moments_of_what_the_layer_reads(self) -> None:
        problem = classifier(norm=True)
        found = statistics(problem.model, problem.train, 160)
        inputs = torch.cat([x for x, _ in problem.train.batches(500)])
        batches = problem.model[0](inputs).detach().tensor_split(2)
        means, variances = [x.mean(0) for x in batches], [x.var(0) for x in batches]
        assert torch.allclose(found["1.running_mean"], sum(means) / 2)
        assert torch.allclose(found["1.running_var"], sum(variances) / 2)
        assert not statistics(nn.Linear(2, 2), problem.train, 10)

    def test_it_helps_or_is_not_done(self) -> None:
        problem = classifier(norm=True)
        rises = {}
        for samples in (0, None):
            worker = Compensator(problem, stages=1, bn_recalibrate=samples, **SETTINGS)
            state = worker.advance(worker.begin(), 90)
            rises[samples] = state.rise
            assert samples is None or not state.buffers
        assert rises[None] <= rises[0]

    def test_a_single_input_leaves_them(self) -> None:
        problem = classifier(norm=True)
        worker = Compensator(problem, **{**SETTINGS, "calibration": 2})
        assert worker.windows.size == 1 and worker.student.recalibrate == 0
        assert not worker.advance(worker.begin(), 40).buffers

    def test_one_sample_is_too_few(self) -> None:
        problem = classifier(norm=True)
        with pytest.raises(UsageError, match="`bn_recalibrate`"):
            Compensator(problem, bn_recalibrate=1, **SETTINGS)
        with pytest.raises(UsageError, match="`bn_recalibrate`"):
            statistics(problem.model, problem.train, 1)


class TestBadInput:
    def test_inputs_of_a_wrong_shape(self) -> None:
        problem = classifier()
        with pytest.raises(InputError, match=r"\(7,\) do not go through .* \(6,\)"):
            Compensator(problem, inputs=split(problem, torch.randn(20, 7)), **SETTINGS)

    def test_a_loss_without_curvature_is_refused(self) -> None:
        torch.manual_seed(0)
        data = torch.randn(30, 4), torch.randn(30, 2)

        def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
            return (outputs - targets).abs().sum(-1)

        problem = problem_from_module(nn.Linear(4, 2), data, data, loss=absolute)
        with pytest.raises(UsageError, match=r"no second derivative .* leave `survivors` fixed"):
            Compensator(problem, **SETTINGS)

    def test_a_rule_needs_cross_entropy(self) -> None:
        problem, _ = least_squares()
        with pytest.raises(UsageError, match="give a number"):
            Compensator(problem, **{**SETTINGS, "epsilon": EpsilonRule.parse("batch-std")})

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("cg_steps", -1, "`cg_steps`"),
            ("stages", 0, "`stages`"),
            ("calibration", -1, "`calibration`"),
            ("calibration", 1, "`calibration`"),
            ("epsilon", 0.0, "tolerance"),
        ],
    )
    def test_settings(self, name: str, value: Any, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            Compensator(classifier(), **{**SETTINGS, name: value})

    def test_one_input_in_all_is_too_few_and_no_option_is_blamed(self) -> None:
        problem = classifier()
        one = SplitSubset(problem.train, torch.tensor([0]))
        with pytest.raises(InputError, match=r"needs 2 inputs or more, and there is 1"):
            Compensator(problem, inputs=one, **SETTINGS)

    def test_few_inputs_are_enough_for_the_usual_tolerance(self) -> None:
        """A tolerance only damps the steps here, so fewer than two mini-batches give one too."""
        problem = classifier()
        few = SplitSubset(problem.train, torch.arange(20))
        rule = EpsilonRule.parse("batch-std")
        made = Compensator(problem, inputs=few, **{**SETTINGS, "epsilon": rule})
        assert made.epsilon > 0

    def test_too_few_samples_are_warned_of_with_the_effect(self) -> None:
        problem = classifier()
        worker = Compensator(problem, stages=1, **{**SETTINGS, "calibration": 6})
        found = worker.advance(worker.begin(), 40)
        (warning,) = worker.warnings(found)
        assert "raise `calibration`" in warning and "held out" in warning
        enough = Compensator(problem, stages=1, **SETTINGS)
        assert not enough.warnings(enough.advance(enough.begin(), 40))

    def test_the_guard_bounds_the_target(self) -> None:
        problem = classifier()
        selection = Selection(problem, min_keep=KeepRule("count", 10))
        worker = Compensator(problem, selection=selection, **SETTINGS)
        assert worker.removable == 108 - 20
        found = worker.advance(worker.begin(), 88)
        for name in problem.prunable:
            assert int(problem.layout.unflatten(found.kept)[name].sum()) == 10
        with pytest.raises(UsageError, match="`min_keep`"):
            worker.advance(worker.begin(), 89)


def test_divergences() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 4, dtype=torch.float64)
    expected = nn.functional.kl_div(
        first.log_softmax(-1), second.softmax(-1), reduction="none"
    ).sum(-1)
    assert torch.allclose(cross_entropy.of_divergence(first, second), expected)
    assert torch.allclose(
        cross_entropy.of_divergence(first, first), torch.zeros(5, dtype=torch.float64)
    )
    assert torch.allclose(squared_distance(first, second), squares(first, second))


def test_logit_distance_is_the_divergence_at_a_high_temperature() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 4, dtype=torch.float64)
    hot = 1e4
    expected = hot**2 * cross_entropy.of_divergence(first / hot, second / hot)
    assert torch.allclose(cross_entropy.of_distance(first, second), expected, rtol=1e-3)
    assert torch.allclose(
        cross_entropy.of_distance(first + 3, second), cross_entropy.of_distance(first, second)
    )


class TestWindows:
    @staticmethod
    def inputs(split: Calibration) -> set[float]:
        """One number of every input, which no two of them share."""
        return {float(first) for inputs, _ in split.batches(500) for first in inputs[:, 0]}

    def test_solves_draw_other_inputs_until_all_were_drawn(self) -> None:
        problem = classifier()
        windows = Windows(problem, 40, 0.25, None)
        assert (windows.size, len(windows.held)) == (30, 10)
        drawn = [self.inputs(windows.at(number)) for number in range(5)]
        assert all(len(each) == 30 for each in drawn)
        assert len(set.union(*drawn)) == 150
        held = self.inputs(windows.held)
        assert not any(held & each for each in drawn)
        # and then the first ones again
        assert self.inputs(windows.at(5)) == drawn[0]

    def test_all_inputs_are_the_same_for_every_solve(self) -> None:
        windows = Windows(classifier(), 0, 0.25, None)
        assert (windows.size, len(windows.held)) == (120, 40)
        assert windows.at(0) is windows.at(3)

    def test_targets_are_what_the_dense_network_makes_of_the_inputs(self) -> None:
        problem = classifier()
        for split in (
            Windows(problem, 50, 0.25, None).at(2),
            Windows(problem, 50, 0.25, None).held,
        ):
            for inputs, dense in split.batches(16):
                assert torch.allclose(problem.model(inputs), dense)


def test_the_cost_is_known_beforehand() -> None:
    worker = Compensator(classifier(), stages=3, **SETTINGS)
    cost = worker.cost(80)
    assert cost.stages == 3 and cost.products == 3 * 25
    assert cost.seconds > 0 and cost.bytes > 0
