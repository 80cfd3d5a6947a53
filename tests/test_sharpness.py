"""Measures of sharpness: closed forms, dense matrices, what leaves them unchanged, their errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import dense_ggn, dense_hessian, exact_spectrum
from torch import Tensor, nn

import prunelimit as pl
from prunelimit.config import SharpnessConfig
from prunelimit.errors import UsageError
from prunelimit.lanczos.slq import Spectrum, estimate_spectrum
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.sharpness import effective_dimension, frobenius, largest, renyi, trace

ORDERS = (0.3, 0.5, 1 - 1e-9, 1.0, 1.5, 2.0, 3.0, 10.0)
KNOWN = {
    "power law": np.geomspace(1e-4, 10, 60),
    "two": np.array([3.0, 1.0]),
    "outliers": np.concatenate([[50.0, 20.0], np.linspace(0.01, 0.1, 40)]),
    "with zeros": np.concatenate([np.zeros(20), np.linspace(1, 2, 20)]),
}


def same(values: np.ndarray) -> np.ndarray:
    return values


def by_hand(eigenvalues: np.ndarray, alpha: float) -> float:
    """Minus the Renyi entropy, term by term."""
    shares = [float(x) for x in eigenvalues / eigenvalues.sum() if x > 0]
    if abs(alpha - 1) < 1e-6:
        return math.fsum(p * math.log(p) for p in shares)
    return math.log(math.fsum(p**alpha for p in shares)) / (alpha - 1)


def sampled(matrix: Tensor, seed: int, probes: int = 1, steps: int = 40) -> Spectrum:
    like = torch.empty(len(matrix), dtype=matrix.dtype)
    return estimate_spectrum(
        lambda v: matrix @ v, like, num_probes=probes, num_steps=steps, seed=seed
    )


def rotated(eigenvalues: np.ndarray, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(eigenvalues), len(eigenvalues), generator=generator).double()
    basis, _ = torch.linalg.qr(noise)
    return basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T


class TestClosedForms:
    @pytest.mark.parametrize("alpha", ORDERS)
    @pytest.mark.parametrize("name", KNOWN)
    def test_renyi_of_a_known_spectrum(self, name: str, alpha: float) -> None:
        values = KNOWN[name]
        found = renyi(exact_spectrum(values), same, alpha, 0.95, noise=1e-12)
        assert found.value == pytest.approx(by_hand(values, alpha), abs=1e-7)

    @pytest.mark.parametrize("alpha", ORDERS)
    def test_equal_eigenvalues_have_the_least_and_one_alone_the_most(self, alpha: float) -> None:
        flat = renyi(exact_spectrum(np.full(7, 3.0)), same, alpha, 0.95)
        assert flat.value == pytest.approx(-math.log(7))
        alone = renyi(exact_spectrum(np.array([4.0, 0, 0, 0])), same, alpha, 0.95)
        assert alone.value == pytest.approx(0.0, abs=1e-9)

    @pytest.mark.parametrize("name", KNOWN)
    def test_order_two_is_that_of_two_traces(self, name: str) -> None:
        spectrum = exact_spectrum(KNOWN[name])
        closed = math.log(frobenius(spectrum, 0.95).value ** 2 / trace(spectrum, 0.95).value ** 2)
        assert renyi(spectrum, same, 2.0, 0.95).value == pytest.approx(closed)

    def test_order_one_is_the_limit_from_either_side(self) -> None:
        spectrum = exact_spectrum(KNOWN["power law"])
        below, at, above = (
            renyi(spectrum, same, alpha, 0.95, noise=0).value for alpha in (0.9999, 1.0, 1.0001)
        )
        assert below < at < above and above - below < 1e-3

    def test_it_grows_with_the_order(self) -> None:
        spectrum = exact_spectrum(KNOWN["outliers"])
        values = [renyi(spectrum, same, alpha, 0.95).value for alpha in sorted(ORDERS)]
        assert values == sorted(values)

    @pytest.mark.parametrize("name", KNOWN)
    def test_the_others(self, name: str) -> None:
        values = KNOWN[name]
        spectrum = exact_spectrum(values)
        assert largest(spectrum).value == pytest.approx(values.max())
        assert largest(spectrum).above < 1e-6 * values.max()
        assert trace(spectrum, 0.95).value == pytest.approx(values.sum())
        assert frobenius(spectrum, 0.95).value == pytest.approx(np.linalg.norm(values))
        effective = EffectiveDimension(spectrum, same, 0.95)
        found = effective_dimension(effective, 0.05)
        assert found.value == pytest.approx((values / (values + 0.05)).sum(), rel=1e-6)

    def test_nothing_curved_has_no_renyi_sharpness(self) -> None:
        spectrum = exact_spectrum(np.zeros(5))
        assert math.isnan(renyi(spectrum, same, 2.0, 0.95).value)
        assert frobenius(spectrum, 0.95).value == 0

    def test_one_step_knows_the_frobenius_norm(self) -> None:
        """The start vector's own product has it."""
        matrix = rotated(KNOWN["power law"])
        (run,) = sampled(matrix, 3, steps=1).runs
        deep = sampled(matrix, 3, steps=30)
        found = frobenius(Spectrum(len(matrix), (run,)), 0.95)
        assert found.value == pytest.approx(frobenius(deep, 0.95).value)


COVERED = {
    "trace": (lambda s: trace(s, 0.95), lambda x: x.sum()),
    "frobenius": (lambda s: frobenius(s, 0.95), np.linalg.norm),
    **{
        f"renyi {alpha}": (
            lambda s, a=alpha: renyi(s, same, a, 0.95, noise=1e-12),
            lambda x, a=alpha: by_hand(x, a),
        )
        for alpha in (0.5, 1.0, 1.5, 2.0, 3.0)
    },
    "effective dimension": (
        lambda s: effective_dimension(EffectiveDimension(s, same, 0.95), 0.01),
        lambda x: (x / (x + 0.01)).sum(),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERED)
def test_intervals_cover(name: str) -> None:
    """Of 100 estimates of a rotated matrix, at least 90 intervals of 95% hold the truth, and they
    are not so wide that this says nothing."""
    measure, truth = COVERED[name]
    values = np.concatenate([np.geomspace(1, 20, 12), np.geomspace(1e-4, 0.1, 138)])
    matrix, wanted = rotated(values), float(truth(values))  # type: ignore[no-untyped-call]
    found = [measure(sampled(matrix, seed)) for seed in range(100)]  # type: ignore[no-untyped-call]
    held = [low <= wanted <= high for low, high in (each.interval for each in found)]
    assert sum(held) >= 90
    scatter = np.std([each.value for each in found])
    assert np.mean([each.above for each in found]) < 6 * scatter


def test_the_largest_eigenvalue_lies_within_its_residual() -> None:
    values = np.geomspace(1e-3, 5, 200)
    for seed in range(10):
        found = largest(sampled(rotated(values), seed, steps=12))
        assert found.value <= 5 + 1e-9 and found.interval[1] >= 5


def network(scale: float = 1.0, loss: float = 1.0) -> pl.Problem:
    """A perceptron with ReLU whose layers are rescaled: the same function for every ``scale``."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        model[0].weight *= scale
        model[0].bias *= scale
        model[2].weight /= scale
    inputs = torch.randn(300, 6, generator=torch.Generator().manual_seed(1)).double()
    data = inputs, inputs[:, :3].argmax(1)

    def weighed(outputs: Tensor, targets: Tensor) -> Tensor:
        return loss * nn.functional.cross_entropy(outputs, targets, reduction="none")

    return pl.Problem(model, data, data, loss=weighed, dtype="float64")


def renyi_of(problem: pl.Problem, layer: Any = None, **options: Any) -> dict[float, float]:
    found = pl.spectrum(problem, by_layer=True, probes=1, epsilon="5%", **options)
    return {
        each.parameter: each.value
        for each in found.sharpness.measures
        if each.name == "Renyi sharpness" and each.layer == layer
    }


DENSE: dict[str, Callable[..., Tensor]] = {"ggn": dense_ggn, "hessian": dense_hessian}


class TestNetworks:
    @pytest.mark.parametrize("kind", DENSE)
    def test_every_measure_is_that_of_the_dense_matrix(self, kind: str) -> None:
        problem = network()
        values = np.linalg.eigvalsh(DENSE[kind](problem.problem).detach().numpy())
        read = np.abs(values)
        found = pl.spectrum(problem, curvature=kind, probes=40, steps=90, epsilon="5%")
        sharp = found.sharpness
        truth = {
            ("largest eigenvalue", None): values.max(),
            ("trace", None): values.sum(),
            ("Frobenius norm", None): np.linalg.norm(values),
            **{("Renyi sharpness", a): by_hand(read, a) for a in (0.5, 1.0, 2.0)},
            ("effective dimension", sharp.ridge): (read / (read + sharp.ridge)).sum(),
        }
        assert {(each.name, each.parameter) for each in sharp.measures} == set(truth)
        for each in sharp.measures:
            wanted, (low, high) = truth[each.name, each.parameter], each.interval
            slack = 1e-6 * abs(wanted)
            assert low - slack <= wanted <= high + slack, each
            assert each.value == pytest.approx(wanted, rel=0.25), each
        assert sharp.reading == {"ggn": "ggn", "hessian": "absolute"}[kind]

    def test_a_quadratic_loss(self) -> None:
        """Of least squares the GGN is the covariance of the inputs, once per output."""
        inputs = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)).double()
        inputs *= torch.tensor([3.0, 1.0, 1.0, 0.5, 0.1])
        data = inputs, inputs[:, :2] @ torch.eye(2).double()
        model = nn.Linear(5, 2, bias=False).double()
        problem = pl.Problem(model, data, data, loss="mse", dtype="float64")
        dense = np.linalg.eigvalsh(dense_ggn(problem.problem).detach().numpy())
        moments = np.linalg.eigvalsh((inputs.T @ inputs / 400).numpy())
        shares = np.repeat(moments, 2) / (2 * moments.sum())
        assert np.allclose(np.sort(shares), dense / dense.sum())
        found = pl.spectrum(problem, probes=60, epsilon=0.1).sharpness
        for each in found.measures:
            if each.name == "Renyi sharpness":
                assert each.value == pytest.approx(by_hand(shares, each.parameter), abs=0.15)

    def test_what_rescaling_of_layers_leaves(self) -> None:
        """Blocks of layers are only multiplied, so their normalised spectra stay; that of the whole
        matrix does not."""
        plain, scaled = network(), network(8.0)
        for layer in ("0.weight", "2.weight", "all layers"):
            assert renyi_of(scaled, layer) == pytest.approx(renyi_of(plain, layer), abs=1e-6)
        before, after = renyi_of(plain), renyi_of(scaled)
        assert all(abs(before[alpha] - after[alpha]) > 0.1 for alpha in before)

    def test_the_scale_of_the_loss_leaves_all_of_it(self) -> None:
        for layer in (None, "0.weight", "all layers"):
            left = renyi_of(network(loss=7.0), layer)
            assert left == pytest.approx(renyi_of(network(), layer), abs=1e-6)

    def test_little_data_give_no_ridge_and_say_so(self) -> None:
        data = torch.randn(40, 4), torch.arange(40) % 3
        found = pl.spectrum(pl.Problem(nn.Linear(4, 3), data, data)).sharpness
        assert found.ridge is None and "needs 256 training samples" in found.note
        assert "effective dimension" not in {each.name for each in found.measures}
        assert (
            "No effective dimension: `epsilon`"
            in pl.spectrum(pl.Problem(nn.Linear(4, 3), data, data)).summary()
        )


class TestBadInput:
    @pytest.mark.parametrize("alpha", [0, -1, math.nan, math.inf, "much", "0", ["2", "-2"], []])
    def test_orders_that_make_no_sense(self, alpha: Any) -> None:
        with pytest.raises(UsageError, match="`alpha`"):
            SharpnessConfig(alpha=alpha)

    def test_an_order_given_twice_is_one(self) -> None:
        assert SharpnessConfig(alpha=("2", 2, 2.0)).alpha == (2.0,)

    @pytest.mark.parametrize("alpha", ["0", "-0.5", "inf", "two"])
    def test_on_the_command_line(self, prunelimit: Any, trained: Any, alpha: str) -> None:
        outcome = prunelimit("spectrum", trained, "--alpha", alpha)
        assert outcome.code == 2 and f"--alpha is {alpha}; give a number" in outcome.stderr


def test_the_command_prints_and_writes_the_table(prunelimit: Any, trained: Any) -> None:
    few = ("--steps", "8", "--samples", "128", "-q")
    shown = prunelimit("spectrum", trained, *few[:-1], "--alpha", "3", "--by-layer")
    for line in ("Frobenius norm", "Renyi sharpness of order 3, layers.0.weight", "all layers"):
        assert line in shown.stderr
    document = prunelimit("spectrum", trained, *few, "--json").document
    names = [each["name"] for each in document["sharpness"]["measures"]]
    assert names.count("Renyi sharpness") == 3 and "effective dimension" in names
    assert document["config"]["sharpness"]["alpha"] == [0.5, 1.0, 2.0]
