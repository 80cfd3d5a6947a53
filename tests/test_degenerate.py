"""Spectra at the edge: the limit is what the closed form says, at every scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_lanczos import symmetric

from prunelimit.curvature import operator_of
from prunelimit.lanczos import Lanczos, lanczos
from prunelimit.lanczos.slq import Spectrum, estimate_spectrum
from prunelimit.limit.direction import Direction
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.formulas.directional import DirectionalSearch
from prunelimit.limit.formulas.isotropic import isotropic_transition
from prunelimit.limit.formulas.paper import paper_transition
from prunelimit.limit.geometry import Geometry, Transition

SIZE = 200
MAGNITUDES = np.linspace(0.01, 1.0, SIZE)
EPSILON = 0.05


def limits(
    matrix: torch.Tensor, operator: str = "absolute", epsilon: float = EPSILON
) -> dict[str, Transition]:
    """Every limit, by the tool's own route, of removing coordinates in order of magnitude."""
    dtype = matrix.dtype

    def matvec(vector: torch.Tensor) -> torch.Tensor:
        return matrix @ vector

    def run_at(removed: int) -> Direction:
        displacement = torch.zeros(SIZE, dtype=dtype)
        displacement[:removed] = torch.tensor(MAGNITUDES[:removed], dtype=dtype)
        return Direction(lanczos(matvec, displacement, 60))

    like = torch.zeros(SIZE, dtype=dtype)
    spectrum = estimate_spectrum(matvec, like, num_probes=8, num_steps=60, seed=0)
    effective = EffectiveDimension(spectrum, operator_of("hessian").readings[operator], 0.95)
    geometry = Geometry.of(SIZE, MAGNITUDES, epsilon)
    isotropic = isotropic_transition(geometry, effective)
    search = DirectionalSearch(geometry, run_at)
    return {
        "paper": paper_transition(geometry, effective),
        "isotropic": isotropic,
        "directional": search.locate(effective, isotropic.removed),
    }


def exact_isotropic(values: np.ndarray, epsilon: float = EPSILON) -> int:
    """The largest m with R^2 k d_eff(k) / 2 D <= epsilon where d_eff(k) = D - m, by search."""
    radii = np.sqrt(np.concatenate([[0], np.cumsum(MAGNITUDES**2)]))
    ridges = np.geomspace(1e-14, 1e14, 40_001) * values.max()
    dimension = (values[None] / (values[None] + ridges[:, None])).sum(1)
    feasible = [0]
    for removed in range(1, SIZE):
        inside = np.flatnonzero(dimension <= SIZE - removed)
        ridge = ridges[inside[0]]
        if dimension[0] <= SIZE - removed:
            feasible.append(removed)  # fewer directions than survivors: nothing is felt
        elif radii[removed] ** 2 * ridge * dimension[inside[0]] / (2 * SIZE) <= epsilon:
            feasible.append(removed)
    return max(feasible)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_curvature_removes_everything(dtype: torch.dtype) -> None:
    for found in limits(torch.zeros(SIZE, SIZE, dtype=dtype)).values():
        assert found.removed == SIZE
        assert found.interval == (SIZE, SIZE)


def test_one_direction_costs_one_survivor() -> None:
    matrix = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    direction = torch.ones(SIZE, dtype=torch.float64) / SIZE**0.5
    matrix += 1e6 * torch.outer(direction, direction)
    for found in limits(matrix).values():
        assert SIZE - 2 <= found.removed <= SIZE


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e3])
def test_equal_curvature_is_the_closed_form(curvature: float) -> None:
    found = limits(curvature * torch.eye(SIZE, dtype=torch.float64))
    radii = np.sqrt(np.concatenate([[0], np.cumsum(MAGNITUDES**2)]))
    # d_eff(k) = s gives k = curvature m / s, so that (m / D) curvature R(m)^2 / 2 is least.
    rise = np.arange(SIZE + 1) / SIZE * curvature * radii**2 / 2
    expected = int(np.flatnonzero(rise <= EPSILON)[-1])
    assert abs(found["isotropic"].removed - expected) <= 1
    assert abs(found["directional"].removed - expected) <= 1
    paper = int(
        np.flatnonzero(np.arange(SIZE + 1) <= SIZE / (1 + radii**2 * curvature / (2 * EPSILON)))[-1]
    )
    assert abs(found["paper"].removed - paper) <= 1


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaling_loss_and_tolerance_alike_changes_nothing(scale: float, dtype: torch.dtype) -> None:
    values = np.concatenate([-np.geomspace(1e-5, 1e-2, 60), np.geomspace(1e-4, 10, 140)])
    matrix = symmetric(values, seed=7)
    expected = limits(matrix.to(dtype))
    found = limits((scale * matrix).to(dtype), epsilon=scale * EPSILON)
    for formula, each in expected.items():
        assert abs(found[formula].removed - each.removed) <= 1
        assert np.abs(np.subtract(found[formula].interval, each.interval)).max() <= 1


def test_negative_definite_curvature_is_flat_or_its_mirror_image() -> None:
    values = np.geomspace(1e-3, 10, SIZE)
    downhill, uphill = symmetric(-values, seed=8), symmetric(values, seed=8)
    assert all(each.removed == SIZE for each in limits(downhill, "negatives-as-flat").values())
    mirrored, expected = limits(downhill), limits(uphill)
    for formula, each in expected.items():
        assert mirrored[formula].removed == each.removed
    low, high = expected["isotropic"].interval
    assert low <= exact_isotropic(values) <= high


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_a_process_ends_at_the_same_step_at_every_scale(scale: float) -> None:
    values = torch.zeros(SIZE)
    values[:3] = torch.tensor([1.0, 2.0, 5.0]) * scale
    start = torch.ones(SIZE)
    process = Lanczos(lambda vector: values * vector, start)
    process.advance(50)
    assert process.exhausted and process.num_steps == 4
    ritz = process.run.quadrature().ritz_values / scale
    np.testing.assert_allclose(ritz, [0, 1, 2, 5], atol=1e-5)


def test_one_parameter() -> None:
    spectrum = Spectrum(1, (lanczos(lambda v: 3 * v, torch.ones(1), 5),))
    effective = EffectiveDimension(spectrum, np.abs, 0.95)
    geometry = Geometry.of(1, np.array([0.5]), 1.0)
    assert paper_transition(geometry, effective).removed == 0
    assert isotropic_transition(geometry, effective).removed == 1
