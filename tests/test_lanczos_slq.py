"""Stochastic Lanczos quadrature: unbiased, with a deviation known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_lanczos import symmetric

from prunelimit.errors import UsageError
from prunelimit.lanczos import LanczosRun, lanczos
from prunelimit.lanczos.slq import Spectrum, estimate_spectrum

pytestmark = pytest.mark.slow

EIGENVALUES = np.concatenate([np.geomspace(1, 50, 10), np.geomspace(1e-5, 0.1, 190)])


def kept(values: np.ndarray) -> np.ndarray:
    return np.abs(values) / (np.abs(values) + 0.01)


def estimate(matrix: torch.Tensor, seed: int, probes: int = 1, steps: int = 60):  # type: ignore[no-untyped-def]
    like = torch.empty(len(matrix), dtype=matrix.dtype)
    return estimate_spectrum(
        lambda v: matrix @ v, like, num_probes=probes, num_steps=steps, seed=seed
    )


def test_mean_is_unbiased_and_its_deviation_is_not_understated() -> None:
    matrix = symmetric(EIGENVALUES)
    truth = kept(EIGENVALUES).mean()
    spectra = [estimate(matrix, seed) for seed in range(60)]
    errors = np.array([spectrum.mean(kept) - truth for spectrum in spectra])
    stated = np.mean([spectrum.probe_deviation(kept) for spectrum in spectra])
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(60)
    assert errors.std() < 1.15 * stated
    assert errors.std() > 0.6 * stated


def test_four_probes_halve_the_deviation() -> None:
    matrix = symmetric(EIGENVALUES)
    one = np.mean([estimate(matrix, seed).probe_deviation(kept) for seed in range(10)])
    four = np.mean([estimate(matrix, seed, probes=4).probe_deviation(kept) for seed in range(10)])
    assert four == pytest.approx(one / 2, rel=0.2)


def test_more_probes_keep_the_first_ones() -> None:
    matrix = symmetric(EIGENVALUES)
    one, two = estimate(matrix, 5, 1, 8), estimate(matrix, 5, 2, 8)
    np.testing.assert_array_equal(one.runs[0].alpha, two.runs[0].alpha)


def indefinite(seed: int) -> np.ndarray:
    """A few outliers, a heavy mass about zero on both sides, and exact zeros, as networks have."""
    generator = np.random.default_rng(seed)
    bulk = generator.laplace(size=1500) * np.exp(generator.normal(size=1500) - 6)
    return np.concatenate([np.geomspace(0.05, 5, 25), bulk, np.zeros(300)])


def readings(values: np.ndarray, depth: int, ridge: float) -> tuple[float, float, float, float]:
    """Exact, middle of the bracket, half its length, and the plain Gauss value."""
    spectrum = Spectrum(len(values), (diagonal_run(values, depth),))
    bracket = [
        float(rule.weights @ (np.abs(rule.ritz_values) / (np.abs(rule.ritz_values) + ridge)))
        for rule in (
            spectrum.bracket.gauss,
            spectrum.bracket.radau,
            spectrum.runs[0].quadrature(),
        )
    ]
    exact = float((np.abs(values) / (np.abs(values) + ridge)).mean())
    return exact, (bracket[0] + bracket[1]) / 2, abs(bracket[0] - bracket[1]) / 2, bracket[2]


def diagonal_run(values: np.ndarray, depth: int) -> LanczosRun:
    # Started at a vector of equal weights: what is left is the error of the quadrature alone.
    diagonal = torch.tensor(values)
    return lanczos(lambda v: diagonal * v, torch.ones_like(diagonal), depth)


@pytest.mark.parametrize("depth", [60, 100, 160])
def test_bracket_of_an_indefinite_matrix_holds_the_integral(depth: int) -> None:
    inside, total = 0, 0
    middle_errors, gauss_errors = [], []
    for seed in range(6):
        values = indefinite(seed)
        for ridge in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2):
            exact, middle, half, gauss = readings(values, depth, ridge)
            inside += abs(middle - exact) <= half
            total += 1
            middle_errors.append(abs(middle - exact) / exact)
            gauss_errors.append(abs(gauss - exact) / exact)
    # Seen to hold always; no theorem says so for an indefinite matrix, hence the slack.
    assert inside >= 0.97 * total
    assert np.mean(middle_errors) < np.mean(gauss_errors)


def test_bracket_is_a_point_when_the_krylov_space_is_exhausted() -> None:
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).repeat(20))
    shallow = estimate(matrix, 0, steps=2).bracket
    assert shallow.radau.ritz_values.min() < 1e-9 < shallow.gauss.ritz_values.min()
    whole = estimate(matrix, 0, steps=10).bracket
    np.testing.assert_array_equal(whole.gauss.ritz_values, whole.radau.ritz_values)
    np.testing.assert_array_equal(whole.gauss.weights, whole.radau.weights)


def test_negative_mass_and_extremes_see_the_sign() -> None:
    values = np.concatenate([-np.geomspace(0.1, 1, 50), np.geomspace(0.1, 1, 150)])
    spectrum = estimate(symmetric(values), 1, probes=8, steps=100)
    assert spectrum.negative_mass == pytest.approx(0.25, abs=0.03)
    assert spectrum.extremes == pytest.approx((-1, 1), abs=1e-6)
    assert estimate(-torch.eye(10, dtype=torch.float64), 0).negative_mass == 1.0


def test_no_probe_is_refused() -> None:
    with pytest.raises(UsageError, match="`probes`"):
        estimate(torch.eye(3, dtype=torch.float64), 0, probes=0)
