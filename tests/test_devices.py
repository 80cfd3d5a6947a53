"""Other devices: tensors stay on one, numbers are the CPU's, and little leaves it.

No accelerator is needed: :mod:`elsewhere` stands for one. Where there is one, the tests marked
``device`` run on it too.
"""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from elsewhere import Mixed, elsewhere
from torch import Tensor, nn

import prunelimit as pl
from prunelimit import devices, plugins
from prunelimit.compensation.conjugate_gradients import solve
from prunelimit.curvature import CurvatureProduct
from prunelimit.distributed import Group, local_device
from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.lanczos import lanczos
from prunelimit.pruning.selection import Selection
from prunelimit.values import Method


def trained() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A network with a convolution, a folded normalisation and dense layers, and its data."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 2, 6, 6, generator=draws)
    targets = (inputs.mean((2, 3)) @ torch.randn(2, 3, generator=draws)).argmax(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(144, 6),
            nn.Tanh(),
            nn.Linear(6, 3),
        )
        descent = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(25):
            loss = nn.functional.cross_entropy(network(inputs), targets)
            descent.zero_grad()
            loss.backward()
            descent.step()
    return network.eval(), (inputs, targets)


NETWORK, DATA = trained()


def problem_on(device: str, **options: Any) -> Problem:
    return problem_from_module(NETWORK, DATA, DATA, device=device, batch_size=32, **options)


def everywhere(work: Callable[[str], Any], *, float64: bool = True) -> tuple[Any, Any]:
    """What ``work(device)`` gives on the CPU and elsewhere."""
    here = work("cpu")
    with elsewhere(float64=float64):
        return here, work("lazy")


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


EXACT = [True, False]
"""With float64 there, and without."""


@pytest.mark.parametrize("criterion", plugins.names("criterion"))
@pytest.mark.parametrize("float64", EXACT)
def test_criteria_choose_the_same_weights(criterion: str, float64: bool) -> None:
    def mask(device: str) -> np.ndarray:
        problem = problem_on(device)
        selection = Selection(problem, Method(criterion), calibration=48)
        return numbers(selection.mask(int(problem.prunable_mask().sum()) // 2))

    here, there = everywhere(mask, float64=float64)
    assert (here == there).mean() > (0.999 if float64 else 0.97)


@pytest.mark.parametrize(
    "allocation", [each for each in plugins.names("allocation") if each != "targets"]
)
def test_allocations_choose_the_same_weights(allocation: str) -> None:
    def mask(device: str) -> np.ndarray:
        method = Method("magnitude", allocation)
        return numbers(Selection(problem_on(device), method, calibration=48).mask(300))

    here, there = everywhere(mask)
    assert np.array_equal(here, there)


@pytest.mark.parametrize(
    "survivors", ["fixed", "layerwise", "compensated", "staged", "trained", "obs"]
)
@pytest.mark.parametrize("float64", EXACT)
def test_survivors_come_out_alike(survivors: str, float64: bool) -> None:
    def weights(device: str) -> np.ndarray:
        problem = pl.Problem(NETWORK, DATA, DATA, device=device)
        options = {"stages": 2, "cg_steps": 4} if survivors in ("compensated", "staged") else {}
        if survivors == "trained":
            options = {"refit_passes": 2}
        pruned = pl.prune(problem, amount=0.5, survivors=survivors, **options)
        state = pruned.state_dict()
        assert all(each.device.type == "cpu" for each in state.values())
        return np.concatenate([numbers(each).reshape(-1) for each in state.values()])

    here, there = everywhere(weights, float64=float64)
    # Without float64 solves take other steps.
    assert here == pytest.approx(there, rel=1e-3, abs=1e-4 if float64 else 0.2)
    assert ((here == 0) == (there == 0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
@pytest.mark.parametrize("float64", EXACT)
def test_predictions_are_the_same(curvature: str, float64: bool) -> None:
    def predicted(device: str) -> pl.PredictResult:
        problem = pl.Problem(NETWORK, DATA, DATA, device=device)
        return pl.predict(problem, curvature=curvature, max_products=30, epsilon=0.05)

    here, there = everywhere(predicted, float64=float64)
    assert there.provenance.device == "lazy"
    # A CPU is given smaller batches.
    slack = 1e-6 if float64 else 2e-2
    assert there.limit.sparsity == pytest.approx(here.limit.sparsity, abs=slack)
    assert there.one_shot.sparsity == pytest.approx(here.one_shot.sparsity, abs=slack)
    assert there.curvature.trace == pytest.approx(here.curvature.trace, rel=slack)


def test_measurements_are_the_same() -> None:
    def curve(device: str) -> list[float]:
        problem = pl.Problem(NETWORK, DATA, DATA, device=device)
        found = pl.measure(problem, sparsities="0.3,0.6")
        return [each for point in found.curve for each in (point.accuracy, point.loss)]

    here, there = everywhere(curve)
    assert here == there


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.inner = kind(3, 4, batch_first=True)
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.last(self.inner(inputs)[0][:, -1])
        return found


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 8)
        self.inner = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.last = nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.last(self.inner(self.table(inputs)).mean(1))
        return found


def sequences(codes: bool) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randint(5, (24, 4), generator=draws) if codes else torch.randn(24, 4, 3)
    return inputs, torch.randint(2, (24,), generator=draws)


KINDS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "convolutions": (lambda: NETWORK, DATA),
    "recurrent": (Recurrent, sequences(False)),
    "attention": (Attentive, sequences(True)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("route", ["recorded", "double-backward"])
@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_products_stay_where_they_are(kind: str, route: str, curvature: str) -> None:
    make, data = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make()
    reads = []

    def product(device: str) -> np.ndarray:
        problem = problem_from_module(network, data, data, device=device, batch_size=16)
        if kind == "recurrent" and route == "recorded":
            pytest.skip("forward mode does not know recurrent layers")
        multiply = CurvatureProduct(problem, problem.train, curvature, route=route)
        draws = torch.Generator().manual_seed(1)
        vector = torch.randn(problem.layout.size, generator=draws).to(problem.device)
        if device != "cpu":
            counter.reads.clear()
        found = multiply(vector)
        if device != "cpu":
            reads.append(dict(counter.reads))
        return numbers(found)

    here = product("cpu")
    with elsewhere() as counter:
        there = product("lazy")
    assert there == pytest.approx(here, rel=1e-5, abs=1e-7)
    assert reads == [{}]  # nothing leaves the device


@pytest.mark.parametrize("float64", EXACT)
def test_lanczos_reads_the_device_twice_per_step_at_most(float64: bool) -> None:
    matrix = torch.randn(40, 40, generator=torch.Generator().manual_seed(0))
    matrix, start = matrix + matrix.T, torch.ones(40)
    here = lanczos(lambda v: matrix @ v, start, 12)
    with elsewhere(float64=float64) as counter:
        there_matrix, there_start = matrix.to("lazy"), start.to("lazy")
        counter.reads.clear()
        there = lanczos(lambda v: there_matrix @ v, there_start, 12)
        reads = sum(counter.reads.values())
    np.testing.assert_allclose(there.alpha, here.alpha, rtol=1e-12 if float64 else 1e-4, atol=1e-5)
    if float64:  # else what is summed goes to the CPU, which has it beside
        assert reads <= 2 * 12 + 2


def test_conjugate_gradients_read_two_numbers_per_step() -> None:
    draws = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=draws)
    matrix, side = root @ root.T + torch.eye(30), torch.randn(30, generator=draws)
    mask = torch.arange(30) % 3 > 0
    here = solve(lambda v: matrix @ v, side, mask, damping=0.1, max_steps=9)
    with elsewhere() as counter:
        moved = matrix.to("lazy")
        arguments = side.to("lazy"), mask.to("lazy")
        counter.reads.clear()
        there = solve(lambda v: moved @ v, *arguments, damping=0.1, max_steps=9)
        reads = sum(counter.reads.values())
        found = numbers(there.iterates[-1].update)
    assert found == pytest.approx(numbers(here.iterates[-1].update), abs=1e-7)
    assert reads <= 2 * 9 + 1 + 3 * len(there.iterates)


def evaluation_reads() -> list[dict[str, int]]:
    """What an evaluation of 48 samples reads off the device, by 8 and by 48 at once."""
    reads = []
    with elsewhere() as counter:
        for size in (8, 48):
            problem = dataclasses.replace(problem_on("lazy"), batch_size=size)
            counter.reads.clear()
            evaluate(problem, problem.train, curvatures=True)
            reads.append(dict(counter.reads))
    return reads


@pytest.mark.slow
def test_an_evaluation_reads_the_device_once_whatever_the_batches() -> None:
    """In a process of its own: what other tests leave in torch would be counted too."""
    command = "import test_devices; print(test_devices.evaluation_reads())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    few, many = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert few == many and sum(few.values()) <= 3


def test_random_draws_do_not_depend_on_the_device() -> None:
    from prunelimit.lanczos.slq import rademacher

    here = rademacher(64, torch.Generator().manual_seed(3), torch.zeros(64))
    with elsewhere():
        like = torch.zeros(64, device="lazy")
        there = numbers(rademacher(64, torch.Generator().manual_seed(3), like))
    assert np.array_equal(numbers(here), there)


def test_the_device_of_the_tests_refuses_what_real_ones_do() -> None:
    with elsewhere():
        vector = torch.ones(3, device="lazy")
        with pytest.raises(Mixed):
            vector + torch.ones(3)
        with pytest.raises(RuntimeError):
            vector.numpy()
        assert (vector + torch.tensor(1.0)).cpu().tolist() == [2.0] * 3
    with elsewhere(float64=False), pytest.raises(TypeError, match="float64"):
        torch.ones(3, device="lazy").double()


# Names


def test_devices_are_named_and_those_that_are_not_there_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert devices.device_of("cpu") == torch.device("cpu")
    for name in ("nowhere", "cuda:99", "meta", "cuda:x", "privateuseone"):
        with pytest.raises(UsageError, match=r"give one that is here: .*cpu\."):
            devices.device_of(name)
    for found, wanted in ((["cuda:0", "cpu"], "cuda"), (["mps", "cpu"], "mps"), (["cpu"], "cpu")):
        monkeypatch.setattr(devices, "available", lambda found=found: tuple(found))
        assert devices.chosen("auto") == wanted
        assert devices.chosen("cuda:1") == "cuda:1"


def test_float64_is_refused_where_there_is_none() -> None:
    with elsewhere(float64=False), pytest.raises(UsageError, match="has no float64; give `dtype`"):
        problem_on("lazy", dtype="float64")


def test_processes_have_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device("cuda", Group(1, 2)) == "cuda:1"
    assert local_device("cuda:1", Group(0, 1)) == "cuda:1"
    assert local_device("cpu", Group(1, 2)) == "cpu"
    with pytest.raises(UsageError, match="cannot share the device cuda:1"):
        local_device("cuda:1", Group(1, 2))


def test_recurrent_layers_go_without_cudnn_on_a_gpu_alone() -> None:
    before = torch.backends.cudnn.enabled
    for network, device, without in (
        (Recurrent(), "cuda", True),
        (Recurrent(nn.GRU), "cuda:1", True),
        (Recurrent(), "cpu", False),
        (NETWORK, "cuda", False),
    ):
        with devices.second_order(network, torch.device(device)):
            assert torch.backends.cudnn.enabled == (before and not without)
        assert torch.backends.cudnn.enabled == before


def test_a_result_names_the_device_that_was_used(
    prunelimit: Callable[..., Any], trained: Any
) -> None:
    options = ("--steps", "8", "--directional-steps", "6", "--samples", "64", "--json")
    found = prunelimit("predict", trained, *options, "--device", "auto", "-v")
    assert found.code == 0, found.stderr
    used = devices.chosen("auto")
    assert found.document["device"] == used
    assert f"Device: {used}" in found.stderr
    refused = prunelimit("predict", trained, "--device", "cuda:99")
    assert refused.code == 2
    assert "give one that is here" in refused.stderr and "`" not in refused.stderr


# Wherever there is an accelerator

ACCELERATORS = [name for name in devices.available() if name != "cpu"]


@pytest.fixture(params=ACCELERATORS or ["none"])
def accelerator(request: pytest.FixtureRequest) -> str:
    if request.param == "none":
        pytest.skip("there is no accelerator on this machine")
    return str(request.param)


@pytest.mark.device
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_products_on_an_accelerator(accelerator: str, kind: str, curvature: str) -> None:
    make, data = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make()
    found = []
    for device in ("cpu", accelerator):
        problem = problem_from_module(network, data, data, device=device, batch_size=16)
        draws = torch.Generator().manual_seed(1)
        vector = torch.randn(problem.layout.size, generator=draws).to(problem.device)
        found.append(numbers(CurvatureProduct(problem, problem.train, curvature)(vector)))
    assert found[1] == pytest.approx(found[0], rel=1e-2, abs=1e-3 * np.abs(found[0]).max())


@pytest.mark.device
@pytest.mark.parametrize("survivors", ["fixed", "layerwise", "staged", "trained", "obs"])
def test_pruning_on_an_accelerator(accelerator: str, survivors: str) -> None:
    losses = []
    for device in ("cpu", accelerator):
        problem = pl.Problem(NETWORK, DATA, DATA, device=device)
        pruned = pl.prune(problem, amount=0.5, survivors=survivors)
        losses.append(pruned.result.accuracy_after)
        assert all(each.device.type == "cpu" for each in pruned.state_dict().values())
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


@pytest.mark.device
def test_a_prediction_on_an_accelerator(accelerator: str) -> None:
    found = [
        pl.predict(pl.Problem(NETWORK, DATA, DATA, device=device), epsilon=0.05)
        for device in ("cpu", accelerator)
    ]
    assert found[1].limit.sparsity == pytest.approx(found[0].limit.sparsity, abs=0.02)
