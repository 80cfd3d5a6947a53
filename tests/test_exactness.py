"""Prediction end to end on networks whose Hessian can be written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import dense_ggn, dense_hessian, exact_spectrum, two_layer
from torch import nn

from prunelimit.curvature import CurvatureProduct
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.lanczos import lanczos
from prunelimit.lanczos.slq import Spectrum, estimate_spectrum
from prunelimit.limit.direction import Direction
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.formulas.directional import DirectionalSearch
from prunelimit.limit.formulas.isotropic import isotropic_transition
from prunelimit.limit.formulas.paper import paper_transition
from prunelimit.limit.geometry import Geometry

pytestmark = pytest.mark.slow

EPSILON = 1e-4


def trained(scale: float = 1.0, order: torch.Tensor | None = None) -> Problem:
    """A fitted network of 1,925 parameters on three overlapping clusters.

    ``scale`` multiplies the first layer and divides the second, ``order`` permutes hidden units:
    both leave the function of a ReLU network what it is.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (100,), generator=generator)
    centres = torch.randn(3, 27, generator=generator, dtype=torch.float64)
    noise = torch.randn(100, 27, generator=generator, dtype=torch.float64)
    inputs = 0.6 * centres[labels] + noise
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = two_layer(27, 62, 3, nn.ReLU()).double()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimiser.step()
    with torch.no_grad():
        network[0].weight *= scale
        network[0].bias *= scale
        network[2].weight /= scale
        if order is not None:
            network[0].weight.copy_(network[0].weight[order])
            network[0].bias.copy_(network[0].bias[order])
            network[2].weight.copy_(network[2].weight[:, order])
    both = (inputs, labels)
    return problem_from_module(network, both, both, dtype="float64")


@pytest.fixture(scope="module")
def problem() -> Problem:
    return trained()


@pytest.fixture(scope="module")
def hessian(problem: Problem) -> torch.Tensor:
    return dense_hessian(problem)


def geometry_of(problem: Problem) -> Geometry:
    weights = problem.vector()[problem.prunable_mask()]
    return Geometry.of(problem.layout.size, weights.numpy(), EPSILON)


def limits(problem: Problem, matrix: torch.Tensor, spectrum: Spectrum) -> dict[str, object]:
    """All three limits; the directional one from full-depth runs of ``matrix``."""
    geometry = geometry_of(problem)
    effective = EffectiveDimension(spectrum, np.abs, 0.9)
    vector, prunable = problem.vector(), problem.prunable_mask().nonzero()[:, 0]
    order = prunable[vector[prunable].abs().argsort(stable=True)]

    def run_at(removed: int) -> Direction:
        displacement = torch.zeros_like(vector)
        displacement[order[:removed]] = -vector[order[:removed]]
        return Direction(lanczos(lambda v: matrix @ v, displacement, 80))

    isotropic = isotropic_transition(geometry, effective)
    return {
        "paper": paper_transition(geometry, effective),
        "isotropic": isotropic,
        "directional": DirectionalSearch(geometry, run_at).locate(effective, isotropic.removed),
    }


def test_products_see_the_dense_spectrum(problem: Problem, hessian: torch.Tensor) -> None:
    assert problem.layout.size == 1925
    product = CurvatureProduct(problem, problem.train)
    run = lanczos(product, torch.ones(1925, dtype=torch.float64), 60)
    values = torch.linalg.eigvalsh(hessian).numpy()
    assert run.quadrature().ritz_values[-1] == pytest.approx(values[-1], rel=1e-8)
    assert run.quadrature().ritz_values[0] == pytest.approx(values[0], rel=1e-3)


def test_limit_from_slq_covers_the_limit_from_the_exact_spectrum(
    problem: Problem, hessian: torch.Tensor
) -> None:
    values = torch.linalg.eigvalsh(hessian).numpy()
    truth = {k: t.removed for k, t in limits(problem, hessian, exact_spectrum(values)).items()}
    assert all(1000 < removed < 1860 for removed in truth.values())
    inside = dict.fromkeys(truth, 0)
    seeds = 20
    for seed in range(seeds):
        spectrum = estimate_spectrum(
            lambda v: hessian @ v, problem.vector(), num_probes=1, num_steps=120, seed=seed
        )
        for name, found in limits(problem, hessian, spectrum).items():
            low, high = found.interval
            inside[name] += low <= truth[name] <= high
    for name, hits in inside.items():
        # 90% is stated; the deviation used is an upper bound, so more than that is expected.
        assert hits >= 0.8 * seeds, name


def test_permuting_hidden_units_changes_nothing(problem: Problem, hessian: torch.Tensor) -> None:
    order = torch.randperm(62, generator=torch.Generator().manual_seed(5))
    other = trained(order=order)
    found = []
    for given in (problem, other):
        matrix = hessian if given is problem else dense_hessian(given)
        spectrum = exact_spectrum(torch.linalg.eigvalsh(matrix).numpy())
        found.append({k: t.removed for k, t in limits(given, matrix, spectrum).items()})
    for name in found[0]:
        assert abs(found[0][name] - found[1][name]) <= 2


def test_rescaling_a_relu_network_moves_the_limit(problem: Problem, hessian: torch.Tensor) -> None:
    # The function is the same but magnitudes and curvature are not: the limit speaks of weights.
    other = trained(scale=10.0)
    spectrum = exact_spectrum(torch.linalg.eigvalsh(dense_hessian(other)).numpy())
    base = exact_spectrum(torch.linalg.eigvalsh(hessian).numpy())
    moved = limits(other, dense_hessian(other), spectrum)["directional"].removed
    assert abs(moved - limits(problem, hessian, base)["directional"].removed) > 10


def test_ggn_is_positive_semidefinite_and_gives_a_limit(problem: Problem) -> None:
    values = torch.linalg.eigvalsh(dense_ggn(problem)).numpy()
    assert values[0] > -1e-12
    effective = EffectiveDimension(exact_spectrum(np.maximum(values, 0)), np.asarray, 0.95)
    # 100 samples of 3 classes carry at most 200 curved directions.
    assert effective.bound(1e-12) <= 200 + 1e-6
    # As many survivors reach any loss that the flat directions allow.
    assert isotropic_transition(geometry_of(problem), effective).removed >= 1925 - 200
