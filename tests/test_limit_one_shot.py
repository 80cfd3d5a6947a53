"""The one-shot threshold: exact where the loss is quadratic, ordered, and inside its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, LimitConfig, MeasureConfig
from prunelimit.estimation.removal import PruningPath
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.limit.one_shot import RESOLUTION, Rise, find_crossing, modelled_crossing
from prunelimit.limit.tolerance import loss_tolerance
from prunelimit.measurement import measure
from prunelimit.pruning.magnitude import magnitude_order
from prunelimit.values import EpsilonRule

SAMPLES, INPUTS, CLASSES = 4000, 20, 4


def least_squares() -> Problem:
    """Linear least squares at its solution: the loss is its own second-order model."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, INPUTS, generator=generator, dtype=torch.float64)
    mix = torch.randn(INPUTS, CLASSES, generator=generator, dtype=torch.float64)
    targets = (inputs @ mix + torch.randn(SAMPLES, CLASSES, generator=generator)).argmax(dim=1)
    wanted = nn.functional.one_hot(targets, CLASSES).to(inputs)
    network = nn.Linear(INPUTS, CLASSES, bias=False).double()
    solution = torch.linalg.lstsq(inputs, wanted).solution
    with torch.no_grad():
        network.weight.copy_(solution.T)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        right = nn.functional.one_hot(labels, CLASSES).to(outputs)
        return (outputs - right).square().sum(dim=1) / 2

    data = inputs, targets
    return problem_from_module(network, data, data, loss=loss, dtype="float64")


@pytest.mark.parametrize("epsilon", ["1%", "10%", "0.02"])
def test_on_linear_least_squares_the_model_is_exact_and_the_ratio_one(epsilon: str) -> None:
    problem = least_squares()
    found = predict_problem(
        problem,
        CurvatureConfig(steps=20, samples=0),
        LimitConfig(epsilon=epsilon, directional_steps=10),
    )
    assert found.one_shot is not None and found.one_shot.ratio is not None
    path = PruningPath(problem, magnitude_order(problem), problem.vector())
    dense = evaluate(problem, problem.train).loss
    prunable = INPUTS * CLASSES
    held = [
        evaluate(problem, problem.train, path.weights + path.displacement(removed)).loss - dense
        <= found.epsilon.value
        for removed in range(prunable + 1)
    ]
    exact = held.index(False) - 1
    assert found.one_shot.modelled == found.one_shot.sparsity == exact / prunable
    assert found.one_shot.ratio == pytest.approx(1, abs=1e-6)
    # All samples were used: the interval is the path's own step, of one weight.
    assert found.one_shot.interval == (exact / prunable, (exact + 1) / prunable)
    assert found.one_shot.errors == {"samples": 0.0, "path": pytest.approx(1 / prunable)}


def test_of_all_samples_it_is_the_measured_loss_threshold() -> None:
    problem, _ = network(seed=0, steps=100)
    predicted = predict_problem(
        problem, CurvatureConfig(steps=10, samples=0), LimitConfig(directional_steps=8)
    ).one_shot
    measured = measure(problem, MeasureConfig())
    (threshold,) = [each for each in measured.thresholds if each.rule == "loss"]
    assert predicted is not None
    assert abs(predicted.sparsity - threshold.sparsity) <= 0.0025
    low, high = predicted.interval
    assert low <= threshold.interval[1] and threshold.interval[0] <= high


def wild(seed: int, prunable: int) -> Callable[[int], Rise]:
    """A rise along a path that mostly goes up, with errors of every size."""
    generator = np.random.default_rng(seed)
    steps = generator.exponential(size=prunable + 1) * generator.choice([-0.5, 1], prunable + 1)
    means = np.cumsum(steps) - steps[0]
    errors = np.abs(generator.normal(size=prunable + 1)) * 0.1 * np.arange(prunable + 1)
    return lambda removed: Rise(float(means[removed]), float(errors[removed]))


@pytest.mark.parametrize("prunable", [1, 2, 7, 300, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_a_larger_epsilon_never_gives_a_smaller_threshold(seed: int, prunable: int) -> None:
    rise_at = wild(seed, prunable)
    before = (0, 0, 0, 0)
    modelled_before = 0
    for epsilon in np.geomspace(1e-3, 1e5, 60):
        found = find_crossing(rise_at, prunable, float(epsilon), 0.95)
        after = (found.lowest, found.holding, found.highest, found.beyond)
        assert all(x <= y for x, y in zip(before, after, strict=True))
        assert found.lowest <= found.holding <= found.highest <= found.beyond
        assert rise_at(found.holding).mean <= epsilon
        if found.failing is None:
            assert found.holding == prunable
        else:
            assert rise_at(found.failing).mean > epsilon
            assert found.failing - found.holding <= max(1, RESOLUTION * prunable)
        modelled, _ = modelled_crossing(lambda m: rise_at(m).mean, prunable, float(epsilon))
        assert modelled >= modelled_before
        before, modelled_before = after, modelled


def test_a_rise_is_paired_and_of_a_finite_population() -> None:
    generator = np.random.default_rng(0)
    before = 100 * generator.random(50)
    change = generator.random(50)
    found = Rise.of(before, before + change, 200)
    assert found.mean == pytest.approx(change.mean())
    plain = change.std(ddof=1) / math.sqrt(50)
    assert found.standard_error == pytest.approx(plain * math.sqrt(0.75))
    assert Rise.of(before, before + change, 50).standard_error == 0
    assert Rise.of(before[:1], before[:1] + 1, 50).standard_error == math.inf
    for broken in (math.inf, math.nan):
        assert Rise.of(before, before + broken, 200) == Rise(math.inf, 0.0)


def test_a_loss_that_is_not_finite_is_past_the_threshold() -> None:
    found = find_crossing(
        lambda m: Rise(math.inf, 0.0) if m > 37 else Rise(0.0, 0.0), 100, 1.0, 0.95
    )
    assert (found.lowest, found.holding, found.failing, found.beyond) == (37, 37, 38, 38)


def test_a_loss_that_never_rises_allows_everything() -> None:
    found = find_crossing(lambda m: Rise(-float(m), 0.0), 100, 1.0, 0.95)
    assert (found.holding, found.failing, found.beyond) == (100, None, 100)
    assert modelled_crossing(lambda m: -m, 100, 1.0) == (100, 100)


def network(seed: int, steps: int) -> tuple[Problem, np.ndarray]:
    """A small network trained with l1, and its losses, (n,) float64."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(SAMPLES, INPUTS, generator=generator)
    mix = torch.randn(INPUTS, CLASSES, generator=generator)
    noise = 0.1 * torch.randn(SAMPLES, CLASSES, generator=generator)
    targets = (torch.tanh(inputs @ mix) + noise).argmax(dim=1)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(INPUTS, 40), nn.ReLU(), nn.Linear(40, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        (loss + 1e-4 * sum(p.abs().sum() for p in model.parameters())).backward()
        optimizer.step()
    problem = problem_from_module(model, (inputs, targets), (inputs, targets))
    return problem, evaluate(problem, problem.train).losses


@pytest.mark.parametrize(("seed", "samples"), [(0, 200), (1, 200), (2, 1000)])
def test_the_interval_holds_the_threshold_of_all_data(seed: int, samples: int) -> None:
    problem, dense = network(seed, steps=200)
    path = PruningPath(problem, magnitude_order(problem), problem.vector())
    prunable = len(path.order)
    epsilon = loss_tolerance(dense, EpsilonRule.parse("batch-std")).value
    known: dict[int, np.ndarray] = {}

    def crossing(chosen: np.ndarray) -> tuple[int, int, int]:
        def rise_at(removed: int) -> Rise:
            if removed not in known:
                weights = path.weights + path.displacement(removed)
                known[removed] = evaluate(problem, problem.train, weights).losses
            return Rise.of(dense[chosen], known[removed][chosen], SAMPLES)

        found = find_crossing(rise_at, prunable, epsilon, 0.9)
        return found.lowest, found.holding, found.beyond

    _, truth, _ = crossing(np.arange(SAMPLES))
    generator = np.random.default_rng(seed)
    draws = 120
    held = 0
    for _ in range(draws):
        low, _, high = crossing(generator.choice(SAMPLES, samples, replace=False))
        held += low <= truth <= high
    # As many as nine in ten, give or take three standard deviations of such a count; the path's
    # own step makes intervals a little wider than sampling alone asks for.
    slack = 3 * math.sqrt(0.9 * 0.1 / draws)
    assert 0.9 - slack <= held / draws < 1


def test_the_error_is_that_of_a_normal_mean() -> None:
    found = find_crossing(lambda m: Rise(m / 1000, 0.05), 1000, 0.5, 0.9)
    z = NormalDist().inv_cdf(0.95)
    assert found.holding == 500
    assert abs(found.lowest - 1000 * (0.5 - 0.05 * z)) <= 1
    assert abs(found.highest - 1000 * (0.5 + 0.05 * z)) <= 1
