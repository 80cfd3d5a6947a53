"""Training: one step by hand, the same numbers every time, and resumed to the same bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunelimit.config import TrainConfig
from prunelimit.errors import InputError, NumericalError, UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.training.l1 import train

CONFIG = TrainConfig(epochs=4, train_batch_size=32, l1=1e-3)


def fresh(samples: int = 97) -> Problem:
    """With dropout and batch norm; 97 = 3 * 32 + 1 samples, a last batch of a single one."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
    )
    inputs = torch.randn(samples, 6)
    data = inputs, inputs[:, :3].argmax(1)
    return problem_from_module(network, data, data)


def state(problem: Problem) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


class Stop(Exception):
    pass


def interrupted(problem: Problem, config: TrainConfig, after: int, path: Path) -> None:
    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if done == after:
            raise Stop

    with pytest.raises(Stop):
        train(problem, config, seed=5, resume_path=path, progress=progress)


def test_one_step_is_the_subgradient_step() -> None:
    torch.manual_seed(0)
    data = torch.randn(20, 4, dtype=torch.float64), torch.arange(20) % 3
    network = nn.Linear(4, 3).double()
    with torch.no_grad():
        network.weight[0, 0] = 0
    problem = problem_from_module(network, data, data, dtype="float64")
    nn.functional.cross_entropy(network(data[0]), data[1]).backward()
    assert network.weight.grad is not None and network.bias.grad is not None
    config = TrainConfig(epochs=1, lr=0.3, l1=0.01, train_batch_size=20)
    found = train(problem, config, seed=0)
    after = dict(problem.model.named_parameters())
    weight = network.weight - 0.3 * (network.weight.grad + 0.01 * network.weight.sign())
    torch.testing.assert_close(after["weight"], weight, rtol=1e-12, atol=1e-12)
    bias = network.bias - 0.3 * network.bias.grad
    torch.testing.assert_close(after["bias"], bias, rtol=1e-12, atol=1e-12)
    assert found.loss == evaluate(problem, problem.train).loss


def test_weight_decay_acts_on_biases_too_and_excluded_modules_learn_without_l1() -> None:
    torch.manual_seed(0)
    data = torch.randn(20, 4, dtype=torch.float64), torch.arange(20) % 3
    network = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).double()
    problem = problem_from_module(network, data, data, dtype="float64", exclude=("^1$",))
    nn.functional.cross_entropy(network(data[0]), data[1]).backward()
    config = TrainConfig(epochs=1, lr=0.3, l1=0.01, weight_decay=0.1, train_batch_size=20)
    train(problem, config, seed=0)
    after = dict(problem.model.named_parameters())
    for name, before in network.named_parameters():
        assert before.grad is not None
        slope = before.grad + 0.1 * before + (0.01 * before.sign() if name == "0.weight" else 0)
        torch.testing.assert_close(after[name], before - 0.3 * slope, rtol=1e-12, atol=1e-12)


def test_the_learning_rate_falls_along_one_cosine_over_all_epochs() -> None:
    torch.manual_seed(0)
    data = torch.randn(20, 4, dtype=torch.float64), torch.arange(20) % 3
    network = nn.Linear(4, 3, bias=False).double()
    problem = problem_from_module(network, data, data, dtype="float64")
    config = TrainConfig(epochs=3, lr=0.3, l1=0.0, momentum=0.0, train_batch_size=20)
    train(problem, config, seed=0)
    weight = network.weight.detach()
    for rate in (0.3, 0.225, 0.075):  # (1 + cos(pi t)) / 2 at t = 0, 1/3, 2/3
        weight.requires_grad_()
        loss = nn.functional.cross_entropy(data[0] @ weight.T, data[1])
        (slope,) = torch.autograd.grad(loss, weight)
        weight = (weight - rate * slope).detach()
    torch.testing.assert_close(problem.model.weight.detach(), weight, rtol=1e-12, atol=1e-12)


def test_norm_layers_gather_statistics_and_dropout_acts() -> None:
    problem = fresh()
    train(problem, CONFIG, seed=0)
    norm = problem.model[1]
    assert int(norm.num_batches_tracked) == 4 * 3  # the lone last sample of 97 is left out
    assert not torch.equal(norm.running_mean, torch.zeros(16))
    undropped = fresh()
    undropped.model[3].p = 0.0
    train(undropped, CONFIG, seed=0)
    assert not same(state(problem), state(undropped))


def test_it_learns_and_says_so() -> None:
    problem = fresh(300)
    before = evaluate(problem, problem.train).loss
    calls: list[tuple[str, int, int, str]] = []
    found = train(
        problem,
        dataclasses.replace(CONFIG, epochs=12),
        seed=0,
        progress=lambda stage, done, total, note="": calls.append((stage, done, total, note)),
    )
    assert found.loss < before / 2 and found.accuracy > 0.8
    assert [entry["epoch"] for entry in found.history] == list(range(1, 13))
    assert found.history[-1]["accuracy"] == found.accuracy
    assert [call[:3] for call in calls] == [("training", i, 12) for i in range(1, 13)]
    assert calls[-1][3].startswith(f"accuracy {found.accuracy:.1%}, loss ")


def test_it_depends_on_the_seed_alone_and_leaves_the_global_generator() -> None:
    states = []
    for seed in (1, 1, 2):
        problem = fresh()
        torch.manual_seed(100 + len(states))
        generator = torch.get_rng_state()
        train(problem, CONFIG, seed=seed)
        assert torch.equal(generator, torch.get_rng_state())
        states.append(state(problem))
    assert same(states[0], states[1]) and not same(states[0], states[2])


def test_the_network_ends_in_eval_mode_without_gradients(tmp_path: Path) -> None:
    finished, stopped = fresh(), fresh()
    train(finished, CONFIG, seed=0)
    interrupted(stopped, CONFIG, 1, tmp_path / "state")
    for problem in (finished, stopped):
        assert not any(module.training for module in problem.model.modules())
        assert all(p.grad is None for p in problem.model.parameters())


@pytest.mark.parametrize("after", [1, 3, 4])
def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path, after: int) -> None:
    path = tmp_path / "state"
    whole, broken, resumed = fresh(), fresh(), fresh()
    expected = train(whole, CONFIG, seed=5, resume_path=tmp_path / "other")
    interrupted(broken, CONFIG, after, path)
    done: list[int] = []
    found = train(
        resumed,
        CONFIG,
        seed=5,
        resume_path=path,
        progress=lambda stage, now, total, note="": done.append(now),
    )
    assert done == list(range(after + 1, 5))
    assert found == expected
    assert same(state(whole), state(resumed))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "state"]


def test_l1_makes_prunable_weights_smaller_and_only_them() -> None:
    sums = []
    for l1 in (0.0, 1e-2):
        problem = fresh(300)
        train(problem, dataclasses.replace(CONFIG, l1=l1, epochs=10), seed=0)
        sums.append(float(problem.vector()[problem.prunable_mask()].abs().sum()))
    assert sums[1] < 0.8 * sums[0]


@pytest.mark.parametrize("change", [{"lr": 0.05}, {"epochs": 5}, {"l1": 0.0}, {"momentum": 0.5}])
def test_a_state_of_another_configuration_is_refused(
    tmp_path: Path, change: dict[str, float]
) -> None:
    path = tmp_path / "state"
    interrupted(fresh(), CONFIG, 1, path)
    kept = path.read_bytes()
    with pytest.raises(UsageError, match=f"another {next(iter(change))}"):
        train(fresh(), dataclasses.replace(CONFIG, **change), seed=5, resume_path=path)
    with pytest.raises(UsageError, match="another seed"):
        train(fresh(), CONFIG, seed=6, resume_path=path)
    assert path.read_bytes() == kept


def test_a_state_of_another_network_or_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    interrupted(fresh(), CONFIG, 1, path)
    with pytest.raises(UsageError, match="another training samples"):
        train(fresh(90), CONFIG, seed=5, resume_path=path)
    data = torch.randn(97, 6), torch.arange(97) % 3
    with pytest.raises(UsageError, match="another training data"):
        train(problem_from_module(nn.Linear(6, 3), data, data), CONFIG, seed=5, resume_path=path)


def _of_another_shape(found: dict[str, Any]) -> None:
    found["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(3)


def _of_another_type(found: dict[str, Any]) -> None:
    found["optimizer"]["state"][0]["momentum_buffer"] = found["optimizer"]["state"][0][
        "momentum_buffer"
    ].half()


def _of_no_parameter(found: dict[str, Any]) -> None:
    found["optimizer"]["state"][99] = {"momentum_buffer": torch.zeros(3)}


def _not_finite(found: dict[str, Any]) -> None:
    next(iter(found["model"].values())).view(-1)[0] = torch.nan


def _not_a_number(found: dict[str, Any]) -> None:
    found["history"][0]["loss"] = float("nan")


def _of_more_epochs(found: dict[str, Any]) -> None:
    found["history"] += [{**found["history"][0], "epoch": k} for k in range(2, 9)]


@pytest.mark.parametrize(
    "damage",
    [
        _of_another_shape,
        _of_another_type,
        _of_no_parameter,
        _not_finite,
        _not_a_number,
        _of_more_epochs,
    ],
)
def test_a_state_with_other_contents_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    path = tmp_path / "state"
    interrupted(fresh(), CONFIG, 1, path)
    found = torch.load(path, weights_only=True)
    damage(found["state"])
    torch.save(found, path)
    with pytest.raises(InputError, match="cannot be read as the state of a training"):
        train(fresh(), CONFIG, seed=5, resume_path=path)


def test_a_states_own_settings_of_the_optimizer_count_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    expected = train(fresh(), CONFIG, seed=5)
    interrupted(fresh(), CONFIG, 1, path)
    found = torch.load(path, weights_only=True)
    found["state"]["optimizer"]["param_groups"][0]["momentum"] = 0.0
    torch.save(found, path)
    assert train(fresh(), CONFIG, seed=5, resume_path=path) == expected


def test_a_file_that_is_no_state_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="`force` without `resume` to begin again"):
        train(fresh(), CONFIG, seed=5, resume_path=path)


def test_divergence_is_told() -> None:
    problem = fresh()
    with pytest.raises(NumericalError, match="give a smaller `lr`"):
        train(problem, dataclasses.replace(CONFIG, lr=1e30), seed=0)
    assert not problem.model.training


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": 1e30}, r"epoch 1 \(`lr` 1e\+30\); give a smaller `lr`\."),
        ({"lr": 1e30, "sharpness": "sam"}, r"\(`lr` 1e\+30\); give a smaller `lr`\."),
        ({"lr": 1.0, "sharpness": "sam", "rho": 1e30}, "with `rho` 1e\\+30, `sharpness` sam makes"),
        (
            {"lr": 1.0, "sharpness": "rsam", "rho": 1e30},
            "with `rho` 1e\\+30, `sharpness` rsam makes",
        ),
    ],
)
def test_divergence_names_what_made_it(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NumericalError, match=said) as caught:
        train(fresh(), dataclasses.replace(CONFIG, **changes), seed=0)
    assert ("smaller `rho`" in str(caught.value)) is ("rho" in changes)


@pytest.mark.parametrize("kind", ["none", "sam", "rsam"])
@pytest.mark.parametrize("sample", [0, 50])
def test_a_loss_that_is_never_finite_is_not_blamed_on_a_setting(kind: str, sample: int) -> None:
    """One sample whose loss is no number, whatever the weights are."""
    problem = fresh()
    odd = next(iter(problem.train.batches(97)))[1][sample]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        found = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return found + torch.where(targets == odd, torch.nan, 0.0)

    broken = dataclasses.replace(problem, loss=loss)
    with pytest.raises(
        NumericalError, match="correct the loss function or those samples"
    ) as caught:
        train(broken, dataclasses.replace(CONFIG, sharpness=kind), seed=0)
    assert "smaller" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("l1", -1.0),
        ("weight_decay", -1.0),
        ("epochs", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("momentum", 1.0),
        ("train_batch_size", 0),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"`{name}` is"):
        train(fresh(), dataclasses.replace(CONFIG, **{name: value}), seed=0)
