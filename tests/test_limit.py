"""The limit: exact, monotone, invariant, and inside its own interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import brute_paper_limit, exact_spectrum, kept
from test_lanczos import symmetric

from prunelimit.lanczos import lanczos
from prunelimit.lanczos.slq import estimate_spectrum
from prunelimit.limit.direction import Direction
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.formulas.directional import DirectionalSearch
from prunelimit.limit.formulas.isotropic import isotropic_transition, isotropic_width
from prunelimit.limit.formulas.paper import paper_transition, paper_width
from prunelimit.limit.geometry import Geometry, Transition, almt_band

pytestmark = pytest.mark.slow

GENERATOR = np.random.default_rng(3)
EIGENVALUES = np.concatenate([np.geomspace(1, 30, 12), np.geomspace(1e-5, 0.3, 288)])
WEIGHTS = GENERATOR.laplace(size=250) * 0.2
EPSILON = 0.02
LIMITS = ("paper", "isotropic", "directional")


def transition(
    name: str,
    eigenvalues: np.ndarray = EIGENVALUES,
    weights: np.ndarray = WEIGHTS,
    epsilon: float = EPSILON,
) -> Transition:
    """The limit in a fixed random rotation, from the exact spectrum."""
    geometry = Geometry.of(len(eigenvalues), weights, epsilon)
    effective = EffectiveDimension(exact_spectrum(eigenvalues), np.abs, 0.95)
    if name == "paper":
        return paper_transition(geometry, effective)
    if name == "isotropic":
        return isotropic_transition(geometry, effective)
    matrix = symmetric(eigenvalues, seed=9)
    order = np.argsort(np.abs(weights), kind="stable")

    def run_at(removed: int):  # type: ignore[no-untyped-def]
        displacement = np.zeros(len(eigenvalues))
        displacement[order[:removed]] = -weights[order[:removed]]
        return Direction(
            lanczos(lambda v: matrix @ v, torch.tensor(displacement), len(eigenvalues))
        )

    search = DirectionalSearch(geometry, run_at)
    return search.locate(effective, isotropic_transition(geometry, effective).removed)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-6, 1e-3, 0.1])
@pytest.mark.parametrize("runs", [1, 2, 3])
def test_with_few_runs_the_interval_still_holds_the_limit(runs: int, epsilon: float) -> None:
    """A budget may end the search far from the transition."""
    geometry = Geometry.of(len(EIGENVALUES), WEIGHTS, epsilon)
    effective = EffectiveDimension(exact_spectrum(EIGENVALUES), np.abs, 0.95)
    exact = transition("directional", epsilon=epsilon).removed
    matrix = symmetric(EIGENVALUES, seed=9)
    order = np.argsort(np.abs(WEIGHTS), kind="stable")
    made: list[int] = []

    def run_at(removed: int) -> Direction:
        made.append(removed)
        displacement = np.zeros(len(EIGENVALUES))
        displacement[order[:removed]] = -WEIGHTS[order[:removed]]
        return Direction(
            lanczos(lambda v: matrix @ v, torch.tensor(displacement), len(EIGENVALUES))
        )

    for first in (1, len(WEIGHTS) // 2, len(WEIGHTS) - 1):
        made.clear()
        search = DirectionalSearch(geometry, run_at, more=lambda: len(made) < runs)
        found = search.locate(effective, first)
        assert len(made) <= runs
        low, high = found.interval
        assert low <= exact <= high


def test_effective_dimension_and_its_inverse_are_the_closed_form() -> None:
    effective = EffectiveDimension(exact_spectrum(EIGENVALUES), np.abs, 0.95)
    for ridge in np.geomspace(1e-6, 1e3, 10):
        assert effective.bound(ridge) == pytest.approx(kept(EIGENVALUES, ridge), rel=1e-9)
        assert effective.ridge(effective.bound(ridge)) == pytest.approx(ridge, rel=1e-6)
    assert effective.ridge(0) == np.inf
    assert effective.ridge(len(EIGENVALUES)) == 0


@pytest.mark.parametrize("rank", [1, 7, 150, 299])
def test_where_the_effective_dimension_is_flat_rounding_decides_nothing(rank: int) -> None:
    """Below the smallest eigenvalue it is the rank up to rounding, on which side is chance."""
    eigenvalues = np.concatenate([np.zeros(300 - rank), np.geomspace(1.0, 1e6, rank)])
    effective = EffectiveDimension(exact_spectrum(eigenvalues), np.abs, 0.95)
    places = np.linspace(-30, 15, 91)
    tops = [effective.bound(float(np.exp(each))) for each in places]
    for survivors in (rank, rank + 1e-13, rank - 1e-13, *tops):
        ridge = effective.ridge(survivors)
        assert effective.bound(ridge) == pytest.approx(survivors, rel=1e-6)
    on_grid = effective._table(0, ())
    for survivors in on_grid[on_grid > 0]:
        ridge = effective.ridge(float(survivors))
        assert effective.bound(ridge) == pytest.approx(survivors, rel=1e-6)


def test_paper_limit_is_the_largest_m_that_satisfies_it() -> None:
    radii = Geometry.of(len(EIGENVALUES), WEIGHTS, EPSILON).radii
    for epsilon in (1e-4, 1e-3, 1e-2, 0.1):
        assert transition("paper", epsilon=epsilon).removed == brute_paper_limit(
            EIGENVALUES, radii, epsilon
        )


def test_flat_spectrum_has_a_closed_form() -> None:
    # All eigenvalues 1, radius 1: the isotropic transition is m / D = 2 epsilon.
    size = 1000
    geometry = Geometry(size, np.ones(size + 1), 0.15)
    effective = EffectiveDimension(exact_spectrum(np.ones(size)), np.abs, 0.95)
    assert isotropic_transition(geometry, effective).removed == pytest.approx(300, abs=1)
    assert paper_transition(geometry, effective).removed == pytest.approx(0.3 / 1.3 * size, abs=1)


def test_directional_limit_is_the_exact_root() -> None:
    values, vectors = np.linalg.eigh(symmetric(EIGENVALUES, seed=9).numpy())
    order = np.argsort(np.abs(WEIGHTS), kind="stable")
    effective = EffectiveDimension(exact_spectrum(EIGENVALUES), np.abs, 0.95)

    def rise(removed: int) -> float:
        displacement = np.zeros(len(values))
        displacement[order[:removed]] = -WEIGHTS[order[:removed]]
        ridge = effective.ridge(len(values) - removed)
        inner = vectors.T @ displacement
        return float(0.5 * np.sum(values * ridge / (values + ridge) * inner**2))

    found = transition("directional").removed
    assert rise(found - 1) <= EPSILON < rise(found + 2)


@pytest.mark.parametrize("name", LIMITS)
def test_monotone_in_epsilon_curvature_and_magnitude(name: str) -> None:
    limits = [transition(name, epsilon=e).removed for e in (1e-3, 1e-2, 0.05, 0.3)]
    assert limits == sorted(limits) and limits[0] < limits[-1]
    limits = [transition(name, eigenvalues=c * EIGENVALUES).removed for c in (0.1, 1, 10, 100)]
    assert limits == sorted(limits, reverse=True) and limits[0] > limits[-1]
    limits = [transition(name, weights=c * WEIGHTS).removed for c in (0.3, 1, 3, 10)]
    assert limits == sorted(limits, reverse=True) and limits[0] > limits[-1]


@pytest.mark.parametrize("name", LIMITS)
def test_scaling_weights_against_curvature_changes_nothing(name: str) -> None:
    # w -> c w, H -> H / c^2 is the same network in other units; so is H, epsilon -> a H, a epsilon.
    base = transition(name).removed
    scaled = transition(name, eigenvalues=EIGENVALUES / 49, weights=7 * WEIGHTS).removed
    assert abs(scaled - base) <= 1
    scaled = transition(name, eigenvalues=1e-9 * EIGENVALUES, epsilon=1e-9 * EPSILON).removed
    assert abs(scaled - base) <= 1


@pytest.mark.parametrize("name", ("paper", "isotropic"))
def test_order_and_sign_of_the_weights_do_not_matter(name: str) -> None:
    shuffled = -GENERATOR.permutation(WEIGHTS)
    assert transition(name, weights=shuffled).removed == transition(name).removed


@pytest.mark.parametrize("name", LIMITS)
def test_weights_that_are_zero_already_cost_nothing(name: str) -> None:
    assert transition(name, weights=np.zeros(250)).removed == 250
    some = np.where(np.arange(250) < 180, 0.0, 100.0)
    assert transition(name, weights=some).removed == 180


@pytest.mark.parametrize("name", LIMITS)
def test_one_prunable_weight_stays_or_goes(name: str) -> None:
    assert transition(name, weights=np.array([1e-6])).removed == 1
    assert transition(name, weights=np.array([1e6]), epsilon=1e-9).removed == 0


@pytest.mark.parametrize("name", LIMITS)
def test_everything_and_nothing(name: str) -> None:
    assert transition(name, epsilon=1e9).removed == 250
    full_rank = np.linspace(1, 2, 300)
    assert transition(name, eigenvalues=full_rank, weights=WEIGHTS + 10, epsilon=1e-9).removed == 0
    assert transition(name, eigenvalues=np.zeros(300)).removed == 250


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(1e-8, 1e4), min_size=2, max_size=30),
    st.lists(st.floats(-10, 10), min_size=1, max_size=30),
    st.floats(1e-6, 10),
)
def test_limits_stay_in_range_and_inside_their_intervals(
    eigenvalues: list[float], weights: list[float], epsilon: float
) -> None:
    weights = weights[: len(eigenvalues)]
    for name in LIMITS:
        found = transition(name, np.array(eigenvalues), np.array(weights), epsilon)
        low, high = found.interval
        assert 0 <= low <= found.removed <= high <= len(weights)


def test_width_curves_cross_the_line_at_their_limit() -> None:
    geometry = Geometry.of(len(EIGENVALUES), WEIGHTS, EPSILON)
    effective = EffectiveDimension(exact_spectrum(EIGENVALUES), np.abs, 0.95)
    for width, find in ((paper_width, paper_transition), (isotropic_width, isotropic_transition)):
        removed = find(geometry, effective).removed
        assert width(geometry, effective, float(geometry.radii[removed])) >= removed - 1e-6
        beyond = width(geometry, effective, float(geometry.radii[removed + 1]))
        assert beyond < removed + 1


def test_interval_covers_the_exact_limit_at_about_the_stated_rate() -> None:
    matrix = symmetric(EIGENVALUES, seed=5)
    geometry = Geometry.of(len(EIGENVALUES), WEIGHTS, EPSILON)
    like = torch.empty(len(matrix), dtype=torch.float64)
    inside = {"paper": 0, "isotropic": 0}
    seeds = 120
    truth = {name: transition(name).removed for name in inside}
    for seed in range(seeds):
        spectrum = estimate_spectrum(
            lambda v: matrix @ v, like, num_probes=1, num_steps=120, seed=seed
        )
        effective = EffectiveDimension(spectrum, np.abs, 0.9)
        for name, find in (("paper", paper_transition), ("isotropic", isotropic_transition)):
            low, high = find(geometry, effective).interval
            inside[name] += low <= truth[name] <= high
    for hits in inside.values():
        # 90% stated; the deviation used is an upper bound, so more is expected, 85% would be wrong.
        assert hits / seeds >= 0.85


def test_almt_band_is_the_published_constant() -> None:
    assert almt_band(10_000, 0.95) == pytest.approx(100 * np.sqrt(8 * np.log(80)))
