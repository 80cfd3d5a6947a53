"""Samples at once: small enough for caches, large enough for the parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunelimit.inputs.batching import CACHED, LEAST, MOST, samples_at_once
from prunelimit.inputs.build import build_network
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import evaluate


def at_once(name: str, shape: tuple[int, ...]) -> int:
    model = build_network(name, input_shape=shape, classes=10, arguments={})
    return samples_at_once(model.eval(), torch.zeros(1, *shape))


def test_outputs_of_a_layer_stay_near_caches() -> None:
    # 16 channels of 32x32 in float32 are 64 KiB.
    assert at_once("resnet20", (3, 32, 32)) == CACHED // 2**16
    assert at_once("resnet20", (3, 64, 64)) == LEAST


def test_a_perceptron_takes_the_most() -> None:
    assert at_once("lenet-300-100", (1, 28, 28)) == MOST


def test_parameters_are_read_seldom() -> None:
    # As many as that their outputs weigh what the parameters do.
    layers = nn.Sequential(nn.Unflatten(1, (1, 64, 64)), nn.Conv2d(1, 16, 3, padding=1))
    heavy = nn.Sequential(layers, nn.Flatten(), nn.Linear(65_536, 512))
    light = nn.Sequential(layers, nn.Flatten(), nn.Linear(65_536, 2))
    one = torch.zeros(1, 4096)
    outputs = 4 * (4096 + 65_536 + 65_536 + 512)
    parameters = 4 * (160 + 65_536 * 512 + 512)
    assert samples_at_once(heavy, one) == parameters // outputs
    assert samples_at_once(light, one) == CACHED // (4 * 65_536)


def test_double_precision_is_twice_as_large() -> None:
    model = build_network("resnet20", input_shape=(3, 32, 32), classes=10, arguments={})
    assert samples_at_once(model.eval().double(), torch.zeros(1, 3, 32, 32).double()) == 32


def test_no_hook_is_left_and_nothing_changes() -> None:
    model = build_network("resnet20", input_shape=(3, 32, 32), classes=10, arguments={}).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    samples_at_once(model, torch.zeros(1, 3, 32, 32))
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_cannot_be_looked_into_takes_the_most() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU()))
    assert samples_at_once(scripted, torch.zeros(1, 3, 32, 32)) == MOST


@pytest.mark.parametrize("given", [7, None])
def test_a_given_batch_size_is_taken_and_changes_no_loss(given: int | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    data = torch.randn(40, 5), torch.randint(3, (40,))
    problem = problem_from_module(model, data, data, batch_size=given, dtype="float64")
    assert problem.batch_size == (given or 40)
    whole = problem_from_module(model, data, data, batch_size=40, dtype="float64")
    losses = [evaluate(each, each.train).losses for each in (problem, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
