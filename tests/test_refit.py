"""Refit: removed weights stay removed, only free ones move, and what must be reachable is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights
from prunelimit.pruning.refit import refit

SETTINGS: dict[str, Any] = {"epochs": 3, "lr": 1e-2, "batch_size": 16, "seed": 0}


def with_norm(exclude: tuple[str, ...] = ()) -> Problem:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3)
    )
    inputs = torch.randn(96, 6)
    data = inputs, inputs[:, :3].argmax(1)
    return problem_from_module(network, data, data, exclude=exclude)


def state(problem: Problem) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("removed", [0, 40, 90, 100])
def test_removed_weights_stay_exactly_zero_and_the_network_as_it_was(removed: int) -> None:
    problem = with_norm()
    before = state(problem)
    mask = keep_mask(problem, magnitude_order(problem), removed)
    found = refit(problem, mask, target_loss=0.0, **SETTINGS)
    assert not bool(found.weights[~mask].any())
    assert same(before, state(problem)) and not problem.model.training
    assert all(p.grad is None for p in problem.model.parameters())
    assert not found.feasible and found.epochs_used == 3
    assert found.loss == evaluate(problem, problem.train, found.weights).loss
    start = pruned_weights(problem, mask)
    least = evaluate(problem, problem.train, start).loss
    assert found.loss < least or torch.equal(found.weights, start)
    assert found.loss < least or removed == 100  # little can move there
    assert found.accuracy == evaluate(problem, problem.test, found.weights).accuracy


def test_excluded_modules_are_not_among_what_moves() -> None:
    problem = with_norm(exclude=("^4$",))
    before = state(problem)
    mask = keep_mask(problem, magnitude_order(problem), 30)
    found = refit(problem, mask, target_loss=0.0, **SETTINGS)
    assert len(found.weights) == 6 * 12 + 12
    assert same(before, state(problem))


def test_it_is_deterministic_by_seed_and_leaves_the_global_generator_alone() -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 50)
    generator = torch.get_rng_state()
    runs = [
        refit(problem, mask, target_loss=0.0, **{**SETTINGS, "seed": seed}).weights
        for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert torch.equal(generator, torch.get_rng_state())


def test_a_mask_that_is_feasible_as_it_is_takes_no_epoch() -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 10)
    loss = evaluate(problem, problem.train, pruned_weights(problem, mask)).loss
    found = refit(problem, mask, target_loss=loss, **SETTINGS)
    assert found.feasible and found.epochs_used == 0 and found.loss == loss
    assert torch.equal(found.weights, pruned_weights(problem, mask))


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance to the one-hot target, per sample."""
    wanted = nn.functional.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
    return 0.5 * ((outputs - wanted) ** 2).sum(-1)


def test_a_least_squares_problem_reaches_its_constrained_minimum() -> None:
    torch.manual_seed(0)
    mixed = torch.randn(200, 4) @ torch.tensor(
        [[1.0, 0.9, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0.9], [0, 0, 0, 0.5]]
    )
    data = mixed, (mixed[:, 0] > 0).long()
    network = nn.Linear(4, 2, bias=False)
    problem = problem_from_module(network, data, data, loss=squares, dtype="float64")
    mask = keep_mask(problem, magnitude_order(problem), 4)
    inputs = mixed.double()
    wanted = nn.functional.one_hot(data[1], 2).double()
    least = 0.0
    for row, keep in enumerate(mask.view(2, 4)):
        columns = inputs[:, keep]
        solution = torch.linalg.lstsq(columns, wanted[:, row]).solution
        least += 0.5 * float(((columns @ solution - wanted[:, row]) ** 2).mean())
    settings: dict[str, Any] = {**SETTINGS, "epochs": 30, "lr": 0.1}
    reachable = refit(problem, mask, target_loss=least * 1.01, **settings)
    assert reachable.feasible and reachable.loss >= least
    impossible = refit(problem, mask, target_loss=least * 0.99, **settings)
    assert not impossible.feasible
    assert impossible.loss == pytest.approx(least, rel=0.01)


def test_progress_counts_epochs() -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 50)
    calls: list[tuple[str, int, int]] = []
    refit(
        problem,
        mask,
        target_loss=0.0,
        progress=lambda stage, done, total, note="": calls.append((stage, done, total)),
        **SETTINGS,
    )
    assert calls == [("refit", 1, 3), ("refit", 2, 3), ("refit", 3, 3)]


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", -1), ("lr", 0.0), ("lr", float("nan")), ("batch_size", 0)]
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    problem = with_norm()
    mask = torch.ones(problem.layout.size, dtype=torch.bool)
    with pytest.raises(UsageError, match="--refit-"):
        refit(problem, mask, target_loss=0.0, **{**SETTINGS, name: value})
