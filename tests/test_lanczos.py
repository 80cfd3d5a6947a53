"""Lanczos: exact at full depth, orthogonal, safe where the Krylov space ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunelimit.errors import NumericalError, UsageError
from prunelimit.lanczos import Outcome, lanczos


def symmetric(eigenvalues: np.ndarray, seed: int = 0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(generator.normal(size=(len(eigenvalues), len(eigenvalues))))
    return torch.tensor(basis @ np.diag(eigenvalues) @ basis.T)


def test_full_depth_gives_the_eigenvalues() -> None:
    eigenvalues = np.linspace(-1, 3, 30)
    matrix = symmetric(eigenvalues)
    start = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    run = lanczos(lambda v: matrix @ v, start, 30)
    rule = run.quadrature()
    np.testing.assert_allclose(rule.ritz_values, eigenvalues, atol=1e-10)
    exact = np.linalg.eigh(matrix.numpy())[1].T @ (start / start.norm()).numpy()
    np.testing.assert_allclose(rule.weights, exact**2, atol=1e-10)
    assert run.outcome is Outcome.INVARIANT
    assert run.norm == pytest.approx(float(start.norm()))


@pytest.mark.parametrize("depth", [1, 2, 5, 9])
def test_quadrature_of_k_steps_is_exact_for_polynomials_of_degree_2k_minus_1(depth: int) -> None:
    matrix = symmetric(np.linspace(-1, 1, 40) ** 3, seed=2)
    start = torch.ones(40, dtype=torch.float64)
    rule = lanczos(lambda v: matrix @ v, start, depth).quadrature()
    unit = start / start.norm()
    for degree in range(2 * depth):
        power = torch.linalg.matrix_power(matrix, degree)
        assert rule.weights @ rule.ritz_values**degree == pytest.approx(
            float(unit @ power @ unit), abs=1e-12
        )


def test_shallower_rule_of_a_deep_run_is_the_shallow_run() -> None:
    matrix = symmetric(np.geomspace(1e-3, 10, 50), seed=3)
    start = torch.ones(50, dtype=torch.float64)
    deep = lanczos(lambda v: matrix @ v, start, 20)
    shallow = lanczos(lambda v: matrix @ v, start, 10)
    np.testing.assert_array_equal(deep.quadrature(10).weights, shallow.quadrature().weights)


@pytest.mark.parametrize("depth", [2, 5, 9])
def test_radau_rule_has_a_node_at_zero_and_degree_2k_minus_2(depth: int) -> None:
    matrix = symmetric(np.linspace(-1, 2, 40) ** 3, seed=2)
    start = torch.ones(40, dtype=torch.float64)
    rule = lanczos(lambda v: matrix @ v, start, depth).radau()
    assert np.abs(rule.ritz_values).min() < 1e-12
    unit = start / start.norm()
    for degree in range(2 * depth - 1):
        power = torch.linalg.matrix_power(matrix, degree)
        exact = float(unit @ power @ unit)
        assert rule.weights @ rule.ritz_values**degree == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_radau_rule_survives_a_singular_leading_matrix() -> None:
    # alpha = 0 in the first step: the node that balances the one at zero goes to infinity.
    diagonal = torch.tensor([-1.0, 1.0, -2.0, 2.0], dtype=torch.float64)
    run = lanczos(lambda v: diagonal * v, torch.ones(4, dtype=torch.float64), 4)
    for depth in range(1, 5):
        rule = run.radau(depth)
        assert np.isfinite(rule.ritz_values).all()
        assert rule.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
def test_bracket_of_a_positive_matrix_encloses_at_every_depth_and_closes(ridge: float) -> None:
    eigenvalues = np.concatenate([np.geomspace(1, 30, 12), np.geomspace(1e-6, 0.3, 188)])
    diagonal = torch.tensor(eigenvalues)
    exact = float((eigenvalues / (eigenvalues + ridge)).mean())
    previous = np.inf
    for depth in (4, 10, 25, 60, 120):
        run = lanczos(lambda v: diagonal * v, torch.ones_like(diagonal), depth)
        high, low = (
            float(rule.weights @ (rule.ritz_values / (rule.ritz_values + ridge)))
            for rule in (run.bracket.gauss, run.bracket.radau)
        )
        assert low - 1e-12 <= exact <= high + 1e-12
        assert high - low <= previous + 1e-12
        previous = high - low
    assert previous < 0.05 * exact


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("distinct", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_breakdown_ends_the_run_whatever_the_scale(
    scale: float, distinct: int, dtype: torch.dtype
) -> None:
    values = torch.arange(1, distinct + 1, dtype=dtype).repeat(20) * scale
    run = lanczos(lambda v: values * v, torch.ones_like(values), 30)
    assert run.outcome is Outcome.INVARIANT
    assert run.num_steps == distinct
    expected = np.arange(1, distinct + 1) * scale
    np.testing.assert_allclose(run.quadrature().ritz_values, expected, rtol=1e-5)
    np.testing.assert_allclose(run.quadrature().weights, 1 / distinct, rtol=1e-5)


def test_zero_matrix_is_one_node_at_zero() -> None:
    run = lanczos(torch.zeros_like, torch.ones(7), 5)
    assert (run.num_steps, run.outcome) == (1, Outcome.INVARIANT)
    assert run.quadrature().ritz_values.tolist() == [0.0]


def test_float32_vectors_stay_orthogonal_enough_to_repeat_no_eigenvalue() -> None:
    eigenvalues = np.concatenate([np.geomspace(1, 100, 8), np.geomspace(1e-6, 1e-3, 392)])
    matrix = symmetric(eigenvalues, seed=4).float()
    start = torch.ones(400)
    rule = lanczos(lambda v: matrix @ v, start, 60).quadrature()
    # Without reorthogonalisation copies ("ghosts") of the outliers appear within a few steps.
    assert int((rule.ritz_values > 0.5).sum()) == 8


def test_product_that_is_not_finite_is_named() -> None:
    with pytest.raises(NumericalError, match=r"product 1 is not finite"):
        lanczos(lambda v: v * float("nan"), torch.ones(4), 3)


def test_senseless_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="`steps`"):
        lanczos(lambda v: v, torch.ones(4), 0)
    with pytest.raises(UsageError, match="not zero"):
        lanczos(lambda v: v, torch.zeros(4), 2)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3, allow_nan=False), min_size=1, max_size=12),
    st.integers(1, 15),
)
def test_rules_are_probability_measures_inside_the_spectrum(
    values: list[float], depth: int
) -> None:
    diagonal = torch.tensor(values, dtype=torch.float64)
    run = lanczos(lambda v: diagonal * v, torch.ones_like(diagonal), depth)
    slack = 1e-9 * (1 + float(diagonal.abs().max()))
    for steps in range(1, run.num_steps + 1):
        rule = run.quadrature(steps)
        assert rule.weights.min() >= 0
        assert rule.weights.sum() == pytest.approx(1)
        assert rule.ritz_values.min() >= float(diagonal.min()) - slack
        assert rule.ritz_values.max() <= float(diagonal.max()) + slack
