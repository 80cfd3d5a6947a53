"""The loss that the removal of weights leaves on a random subspace, with the loss's slope at w*."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import exact_spectrum, random_rotation, two_layer
from test_lanczos import symmetric
from torch import nn

from prunelimit.config import CurvatureConfig
from prunelimit.curvature import CurvatureProduct
from prunelimit.estimation.budget import Budget
from prunelimit.estimation.curvature import open_curvature
from prunelimit.estimation.removal import PruningPath, begin_removal
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.inputs.splits import SplitSubset
from prunelimit.lanczos import lanczos
from prunelimit.limit.direction import Direction
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.formulas.directional import DirectionalSearch
from prunelimit.limit.geometry import Geometry
from prunelimit.pruning.magnitude import magnitude_order

SIZE = 60
VALUES = np.geomspace(1e-4, 1e2, SIZE)
RIDGES = np.geomspace(1e-3, 10, 7)


def vectors(seed: int, slope: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A matrix, a displacement and a gradient in its range."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.as_tensor(symmetric(VALUES, seed=seed))
    displacement, inner = torch.randn(2, SIZE, generator=generator, dtype=torch.float64)
    return matrix, displacement, slope * (matrix @ inner) / (matrix @ inner).norm()


def forced(
    matrix: torch.Tensor, displacement: torch.Tensor, slope: torch.Tensor, steps: int
) -> Direction:
    """By the force, as the tool makes it."""
    force, square = matrix @ displacement + slope, float(displacement @ displacement)
    return Direction(
        lanczos(lambda v: matrix @ v, force, steps),
        unmoved=float(displacement @ (force + slope)) / 2 / square,
        scale=float(force @ force) / square,
    )


def least(matrix: np.ndarray, displacement: np.ndarray, slope: np.ndarray, ridge: float) -> float:
    """The least of g^T x + x^T G x / 2 + k |x - d|^2 / 2 over x, less its last term's reach. It is
    by the formula with (k d - g) in place of the force."""
    pull = ridge * displacement - slope
    solved = np.linalg.solve(matrix + ridge * np.eye(len(matrix)), pull)
    return float(ridge * displacement @ displacement - pull @ solved) / 2


@pytest.mark.parametrize("seed", range(3))
def test_without_a_slope_force_and_displacement_say_the_same(seed: int) -> None:
    matrix, displacement, _ = vectors(seed, 0.0)
    plain = Direction(lanczos(lambda v: matrix @ v, displacement, SIZE))
    other = forced(matrix, displacement, torch.zeros_like(displacement), SIZE)
    for ridge in [*RIDGES, math.inf]:
        for one, two in zip(plain.rise(np.abs, ridge), other.rise(np.abs, ridge), strict=True):
            assert one == pytest.approx(two, rel=1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.1, 3.0])
def test_the_rise_is_that_of_the_dense_matrix(slope: float) -> None:
    matrix, displacement, gradient = vectors(4, slope)
    found = forced(matrix, displacement, gradient, SIZE)
    for ridge in RIDGES:
        truth = least(matrix.numpy(), displacement.numpy(), gradient.numpy(), ridge)
        for each in found.rise(np.abs, ridge):
            assert each * float(displacement @ displacement) == pytest.approx(truth, rel=1e-6)


@given(
    seed=st.integers(0, 50),
    steps=st.integers(4, 40),
    slope=st.floats(0, 10),
    log_ridge=st.floats(-5, 3),
)
@settings(max_examples=60, deadline=None)
def test_the_two_rules_enclose_the_truth_and_it_rises_with_the_ridge(
    seed: int, steps: int, slope: float, log_ridge: float
) -> None:
    matrix, displacement, gradient = vectors(seed, slope)
    found, ridge = forced(matrix, displacement, gradient, steps), math.exp(log_ridge)
    square = float(displacement @ displacement)
    truth = least(matrix.numpy(), displacement.numpy(), gradient.numpy(), ridge) / square
    high, low = found.rise(np.abs, ridge)
    rounding = 1e-9 * max(1.0, abs(low))
    assert low - rounding <= truth <= high + rounding
    assert found.rise(np.abs, 2 * ridge)[0] >= high - rounding


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.0, 0.02, 0.1])
def test_the_limit_is_where_half_of_the_random_subspaces_reach_the_loss(slope: float) -> None:
    size, epsilon = 300, 0.05
    values = np.geomspace(1e-4, 1e2, size)
    generator = np.random.default_rng(5)
    displacement = generator.normal(size=size) / math.sqrt(size)
    gradient = slope * np.sqrt(values) * generator.normal(size=size) / 10
    matrix = torch.diag(torch.as_tensor(values))
    direction = forced(matrix, torch.as_tensor(displacement), torch.as_tensor(gradient), size)
    geometry = Geometry(size, np.full(size + 1, float(np.linalg.norm(displacement))), epsilon)
    effective = EffectiveDimension(exact_spectrum(values), np.abs, 0.95)
    limit = DirectionalSearch(geometry, lambda removed: direction).locate(effective, 200).removed

    def reached(removed: int) -> float:
        """Share of random subspaces on which the quadratic loss is within epsilon."""
        met = 0
        for _ in range(24):
            basis = random_rotation(size, size - removed, generator)
            force = basis.T @ (values * displacement + gradient)
            gained = force @ np.linalg.solve((basis.T * values) @ basis, force) / 2
            met += gradient @ displacement + values @ displacement**2 / 2 - gained <= epsilon
        return met / 24

    assert reached(limit - 12) > 0.5 > reached(limit + 12)


@pytest.fixture(scope="module")
def problem() -> Problem:
    """120 parameters, not at a minimum."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(40, 9, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (40,), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = two_layer(9, 9, 3, nn.Tanh()).double()
    return problem_from_module(network, (inputs, labels), (inputs, labels), dtype="float64")


@pytest.mark.parametrize("alone", [False, True], ids=["all parameters", "prunable alone"])
@pytest.mark.parametrize("share", [1.0, 0.4], ids=["all samples", "a part with its weights"])
def test_a_networks_removal_has_the_slope_of_the_same_samples(
    problem: Problem, share: float, alone: bool
) -> None:
    count = len(problem.train)
    split = SplitSubset(problem.train, torch.arange(round(share * count)))
    config = CurvatureConfig(curvature="ggn")
    curvature = open_curvature(problem, config, Budget(), split=split, count=count)
    product = CurvatureProduct(problem, split, "ggn", count=count)
    gradient = share * CurvatureProduct(problem, split, "ggn").gradient()
    mask = torch.ones(problem.layout.size, dtype=torch.bool)
    if alone:
        curvature, mask = curvature.of_prunable(), problem.prunable_mask()
    path = PruningPath(problem, magnitude_order(problem), problem.vector())
    removed = len(path.order) // 2
    removal = begin_removal(path, curvature, removed)
    removal.process.grow(40)
    own = mask.nonzero()[:, 0]
    identity = torch.eye(problem.layout.size, dtype=problem.dtype)[own]
    matrix = torch.stack([product(row) for row in identity])[:, own].double().numpy()
    displacement = path.displacement(removed)[own].double().numpy()
    slope = gradient[own].double().numpy()
    ridge = 1e-2
    truth = least(matrix, displacement, slope, ridge) / float(displacement @ displacement)
    high, low = removal.direction.rise(lambda values: np.maximum(values, 0), ridge)
    assert low - 1e-9 <= truth <= high + 1e-9
    assert high - low < 0.05 * abs(truth)


def test_the_hessian_begins_at_the_displacement_and_has_no_slope(problem: Problem) -> None:
    curvature = open_curvature(problem, CurvatureConfig(curvature="hessian"), Budget())
    path = PruningPath(problem, magnitude_order(problem), problem.vector())
    removal = begin_removal(path, curvature, 50)
    removal.process.grow(10)
    assert removal.direction.unmoved is None
    assert removal.process.run.norm == pytest.approx(float(path.displacement(50).norm()))


def test_a_displacement_that_nothing_feels_costs_nothing(problem: Problem) -> None:
    """A network that is sure of everything: no force to begin at."""
    with torch.no_grad():
        sure = dataclasses.replace(problem, loss=lambda outputs, targets: 0 * outputs.sum(-1))
    curvature = open_curvature(sure, CurvatureConfig(curvature="ggn"), Budget())
    path = PruningPath(sure, magnitude_order(sure), sure.vector())
    removal = begin_removal(path, curvature, 50)
    removal.process.grow(5)
    assert removal.direction.rise(np.abs, 0.1) == pytest.approx((0.0, 0.0), abs=1e-12)
