"""Training towards flat minima: one step by hand, unbiased traces, resumed to the same bits."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import all_samples, dense_ggn
from test_training_l1 import CONFIG, fresh, interrupted, same, state
from torch import Tensor, nn

import prunelimit as pl
from prunelimit.config import TrainConfig
from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.training.l1 import train
from prunelimit.training.sharpness import trace_estimates

KINDS = ("sam", "rsam")
STEP = TrainConfig(epochs=1, lr=0.3, l1=0.0, momentum=0.0, train_batch_size=20)


def small(loss: Any = None) -> Problem:
    torch.manual_seed(0)
    inputs = torch.randn(20, 4, dtype=torch.float64)
    data = inputs, torch.arange(20) % 3 if loss is None else inputs[:, :3]
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return problem_from_module(network, data, data, loss=loss, dtype="float64")


def slope_at(problem: Problem, weights: list[Tensor]) -> list[Tensor]:
    model = copy.deepcopy(problem.model)
    with torch.no_grad():
        for each, value in zip(model.parameters(), weights, strict=True):
            each.copy_(value)
    inputs, targets = all_samples(problem)
    loss = nn.functional.cross_entropy(model(inputs), targets)
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_a_step_of_sam_is_that_of_the_gradient_uphill() -> None:
    problem = small()
    before = [each.detach().clone() for each in problem.model.parameters()]
    slopes = slope_at(problem, before)
    norm = torch.cat([each.flatten() for each in slopes]).norm()
    uphill = [w + 0.1 * s / norm for w, s in zip(before, slopes, strict=True)]
    wanted = [w - 0.3 * s for w, s in zip(before, slope_at(problem, uphill), strict=True)]
    train(problem, dataclasses.replace(STEP, sharpness="sam", rho=0.1), seed=0)
    for each, value in zip(problem.model.parameters(), wanted, strict=True):
        torch.testing.assert_close(each.detach(), value, rtol=1e-12, atol=1e-12)


def sharpness_of(problem: Problem) -> float:
    matrix = dense_ggn(problem).detach()
    return float((matrix.square().sum() / matrix.trace().square()).log())


def estimates(problem: Problem, seed: int, gradient: bool = False) -> list[Any]:
    free = list(problem.parameters().values())
    draws = torch.Generator().manual_seed(seed)
    signs = [(2 * torch.randint(0, 2, p.shape, generator=draws) - 1).to(p) for p in free]
    found = trace_estimates(problem, free, signs, *all_samples(problem))
    if not gradient:
        return [float(each.detach()) for each in found]
    return [
        problem.layout.flatten(dict(zip(problem.layout.names, each, strict=True)))
        for each in (
            torch.autograd.grad(one, free, retain_graph=True, materialize_grads=True)
            for one in found
        )
    ]


@pytest.mark.slow
@pytest.mark.parametrize("loss", [None, "mse"])
def test_the_traces_are_unbiased(loss: str | None) -> None:
    problem = small(loss)
    matrix = dense_ggn(problem).detach()
    found = torch.tensor([estimates(problem, seed) for seed in range(1500)]).double()
    error = found.std(0) / len(found) ** 0.5
    truth = torch.tensor([matrix.trace(), matrix.square().sum()])
    assert bool(((found.mean(0) - truth).abs() < 3.5 * error).all())
    assert bool((error < 0.1 * truth).all())


@pytest.mark.slow
def test_so_are_their_gradients() -> None:
    problem = small()
    size, step = problem.layout.size, 1e-5
    numeric = torch.zeros(2, size, dtype=torch.float64)
    at = problem.vector()
    for place in range(size):
        for sign in (1, -1):
            moved = at.clone()
            moved[place] += sign * step
            other = copy.deepcopy(problem.model)
            for name, value in problem.layout.unflatten(moved).items():
                dict(other.named_parameters())[name].data.copy_(value)
            matrix = dense_ggn(dataclasses.replace(problem, model=other)).detach()
            pair = torch.stack([matrix.trace(), matrix.square().sum()])
            numeric[:, place] += sign * pair / (2 * step)
    drawn = [torch.stack(estimates(problem, seed, gradient=True)) for seed in range(600)]
    found = torch.stack(drawn)
    error = found.std(0) / len(found) ** 0.5
    away = ((found.mean(0) - numeric).abs() / error.clamp_min(1e-9)).flatten()
    assert float((away < 2).double().mean()) > 0.9 and float(away.max()) < 5


def test_rsam_brings_the_renyi_sharpness_down() -> None:
    found = {}
    for rho in (0.0, 0.1):
        problem = small()
        train(problem, dataclasses.replace(STEP, sharpness="rsam", rho=rho, epochs=60), seed=0)
        found[rho] = sharpness_of(problem)
    assert found[0.1] < found[0.0] - 0.05


@pytest.mark.parametrize("kind", KINDS)
class TestBoth:
    def test_a_rho_of_0_is_plain_training_bit_for_bit(self, kind: str) -> None:
        plain, none = fresh(), fresh()
        expected = train(plain, CONFIG, seed=3)
        found = train(none, dataclasses.replace(CONFIG, sharpness=kind, rho=0.0), seed=3)
        assert found == expected and same(state(plain), state(none))

    def test_another_rho_is_another_network(self, kind: str) -> None:
        plain, other = fresh(), fresh()
        train(plain, CONFIG, seed=3)
        train(other, dataclasses.replace(CONFIG, sharpness=kind), seed=3)
        assert not same(state(plain), state(other))

    @pytest.mark.parametrize("after", [1, 3])
    def test_resumed_it_is_the_same_bit_for_bit(
        self, kind: str, after: int, tmp_path: Path
    ) -> None:
        config = dataclasses.replace(CONFIG, sharpness=kind, rho=0.05)
        whole, broken, resumed = fresh(), fresh(), fresh()
        expected = train(whole, config, seed=5)
        interrupted(broken, config, after, tmp_path / "state")
        found = train(resumed, config, seed=5, resume_path=tmp_path / "state")
        assert found == expected and same(state(whole), state(resumed))

    def test_a_state_of_another_rho_is_refused(self, kind: str, tmp_path: Path) -> None:
        config = dataclasses.replace(CONFIG, sharpness=kind, rho=0.05)
        interrupted(fresh(), config, 1, tmp_path / "state")
        with pytest.raises(UsageError, match="another rho"):
            other = dataclasses.replace(config, rho=0.1)
            train(fresh(), other, seed=5, resume_path=tmp_path / "state")

    def test_a_batch_counts_once_in_the_statistics(self, kind: str) -> None:
        problem = fresh()
        train(problem, dataclasses.replace(CONFIG, sharpness=kind), seed=0)
        norm: Any = problem.model[1]
        assert int(norm.num_batches_tracked) == 4 * 3 and norm.track_running_stats

    def test_zeros_stay(self, kind: str) -> None:
        problem = fresh()
        weight: Any = problem.model[0].weight
        with torch.no_grad():
            weight[weight.abs() < weight.abs().median()] = 0
        zeros = weight.detach() == 0
        config = dataclasses.replace(CONFIG, sharpness=kind, keep_zeros=True, weight_decay=1e-3)
        train(problem, config, seed=0)
        assert bool((weight[zeros] == 0).all()) and bool((weight[~zeros] != 0).all())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sharpness": "sam", "rho": -0.1}, "`rho` is -0.1"),
        ({"sharpness": "rsam", "rho": float("inf")}, "`rho` is inf"),
        ({"rho": 0.1}, "`rho` belongs to `sharpness`"),
        ({"sharpness": "asam"}, "asam"),
    ],
)
def test_bad_settings(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(**given)


def test_a_network_without_such_derivatives_is_told() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: Tensor) -> Tensor:
            return 2 * inputs

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, slope: Tensor) -> Tensor:
            return 2 * slope

    class Layer(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return Once.apply(inputs)

    data = torch.randn(40, 4), torch.arange(40) % 3
    problem = problem_from_module(nn.Sequential(nn.Linear(4, 3), Layer()), data, data)
    with pytest.raises(UsageError, match=r"derivatives that an operator .* give sam"):
        train(problem, TrainConfig(epochs=1, sharpness="rsam"), seed=0)


def test_from_pruned_to_trained_again_on_the_command_line(prunelimit: Any, trained: Path) -> None:
    assert prunelimit("prune", trained, "--amount", "0.8", "-q", "-o", "p.safetensors").code == 0
    again = ("train", "--start", "p.safetensors", "--keep-zeros", "--epochs", "1", "--lr", "0.01")
    for seed in ("1", "2"):
        command = (*again, "--seed", seed, "--sharpness", "sam", "-q", "-o", f"{seed}.safetensors")
        assert prunelimit(*command).code == 0
    first, second, start = (
        pl.Problem.from_checkpoint(f"{name}.safetensors") for name in ("1", "2", "p")
    )
    mask = start.problem.prunable_mask()
    zeros = [each.problem.vector()[mask] == 0 for each in (start, first, second)]
    assert bool((zeros[0] <= zeros[1]).all()) and zeros[1].double().mean() >= 0.8
    assert not torch.equal(first.problem.vector(), second.problem.vector())
    # What made the dense network is still known.
    assert first.loaded.description["start"]["epochs"] == 4
    assert first.loaded.description["training"]["sharpness"] == "sam"
    outcome = prunelimit(*again, "-o", "p.safetensors")
    assert outcome.code == 2 or outcome.code == 3
    assert "--rho belongs to --sharpness" in prunelimit(*again, "--rho", "1", "-o", "x.pt").stderr


def test_keep_zeros_from_python() -> None:
    problem = pl.Problem.new(model="lenet-300-100", data="digits")
    pruned = pl.prune(problem, 0.9)
    start = pl.Problem(pruned.model, *_digits(), name="pruned")
    trained = pl.train(start, keep_zeros=True, epochs=1, sharpness="rsam", rho=1e-3)
    weights = trained.problem.problem.vector()[trained.problem.problem.prunable_mask()]
    assert float((weights == 0).double().mean()) == pytest.approx(0.9, abs=1e-4)


def _digits() -> tuple[Any, Any]:
    inner = pl.Problem.new(model="lenet-300-100", data="digits").problem
    found = []
    for split in (inner.train, inner.test):
        (whole,) = split.batches(len(split))
        found.append(whole)
    return found[0], found[1]
