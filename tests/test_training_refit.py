"""Refit: removed weights stay removed, only free ones move, and what must be reachable is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights
from prunelimit.training.refit import minibatch_passes, refit

SETTINGS: dict[str, Any] = {"passes": 6, "first": 2, "lr": 1e-2, "batch_size": 16, "seed": 0}


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
    assert not found.feasible and found.outcome in ("budget", "stalled")
    assert found.passes <= 7
    assert found.loss == pytest.approx(evaluate(problem, problem.train, found.weights).loss)
    start = pruned_weights(problem, mask)
    least = evaluate(problem, problem.train, start).loss
    assert found.loss < least or torch.equal(found.weights, start)
    assert found.loss < least or removed == 100  # little can move there


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
    # The passes over all samples together draw nothing.
    whole = [
        refit(problem, mask, target_loss=0.0, **{**SETTINGS, "first": 0, "seed": seed}).weights
        for seed in (1, 2)
    ]
    assert torch.equal(whole[0], whole[1])
    assert torch.equal(generator, torch.get_rng_state())


def test_a_mask_that_is_feasible_as_it_is_takes_no_pass() -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 10)
    loss = evaluate(problem, problem.train, pruned_weights(problem, mask)).loss
    found = refit(problem, mask, target_loss=loss, **SETTINGS)
    assert found.outcome == "on target" and found.passes == 0 and found.loss == loss
    assert torch.equal(found.weights, pruned_weights(problem, mask))


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance to the one-hot target, per sample."""
    wanted = nn.functional.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
    return 0.5 * ((outputs - wanted) ** 2).sum(-1)


MIXING = [[1.0, 0.9, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0.9], [0, 0, 0, 0.5]]


def linear(**settings: Any) -> tuple[Problem, Tensor, Tensor, Tensor]:
    """A linear network on correlated inputs with noisy labels, a mask that keeps half of it, its
    inputs and its labels."""
    torch.manual_seed(0)
    mixed = torch.randn(200, 4) @ torch.tensor(MIXING)
    labels = (mixed[:, 0] + torch.randn(200) > 0).long()
    network = nn.Linear(4, 2, bias=False)
    data = mixed, labels
    problem = problem_from_module(network, data, data, **{"dtype": "float64", **settings})
    return problem, keep_mask(problem, magnitude_order(problem), 4), mixed.double(), labels


def least_squares(mask: Tensor, inputs: Tensor, labels: Tensor) -> float:
    """The least loss of :func:`squares` by what ``mask`` keeps, from the normal equations."""
    wanted = nn.functional.one_hot(labels, 2).double()
    least = 0.0
    for row, keep in enumerate(mask.view(2, 4)):
        columns = inputs[:, keep]
        solution = torch.linalg.lstsq(columns, wanted[:, row]).solution
        least += 0.5 * float(((columns @ solution - wanted[:, row]) ** 2).mean())
    return least


def least_logistic(mask: Tensor, inputs: Tensor, labels: Tensor) -> float:
    """The least cross-entropy by what ``mask`` keeps, from Newton's method."""
    places = mask.nonzero()[:, 0]

    def loss(kept: Tensor) -> Tensor:
        weights = torch.zeros(8, dtype=torch.float64).index_put((places,), kept)
        return nn.functional.cross_entropy(inputs @ weights.view(2, 4).T, labels)

    kept = torch.zeros(len(places), dtype=torch.float64)
    for _ in range(30):
        hessian = torch.func.hessian(loss)(kept)
        # A constant added to both outputs changes nothing: where that is possible it is singular.
        kept = kept - torch.linalg.pinv(hessian, rtol=1e-10) @ torch.func.grad(loss)(kept)
    return float(loss(kept))


@pytest.mark.parametrize(
    ("settings", "expected"), [({"loss": squares}, least_squares), ({}, least_logistic)]
)
def test_a_convex_problem_reaches_its_constrained_minimum(
    settings: dict[str, Any], expected: Callable[[Tensor, Tensor, Tensor], float]
) -> None:
    problem, mask, inputs, labels = linear(**settings)
    least = expected(mask, inputs, labels)
    above = refit(problem, mask, target_loss=least * (1 + 1e-6), passes=200)
    assert above.outcome == "on target"
    assert above.passes < 50
    below = refit(problem, mask, target_loss=least * (1 - 1e-6), passes=2000)
    # More passes would change nothing: the budget is not what ended it.
    assert below.outcome == "stalled" and not below.feasible and below.passes < 1000
    assert below.loss == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("passes", [0, 1, 2.5, 7, 20])
@pytest.mark.parametrize("first", [0, 3])
def test_the_budget_is_kept_to_within_a_pass(passes: float, first: int) -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 50)
    settings = {**SETTINGS, "passes": passes, "first": first}
    found = refit(problem, mask, target_loss=0.0, **settings)
    assert found.outcome == "budget"
    assert passes <= found.passes < passes + 1


def test_a_larger_budget_reaches_no_higher_loss() -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 50)
    losses = [refit(problem, mask, target_loss=0.0, passes=n).loss for n in (0, 5, 10, 20, 40)]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


def test_it_begins_at_the_start_of_least_loss() -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 60)
    own = refit(problem, mask, target_loss=0.0, passes=0)
    assert torch.equal(own.weights, pruned_weights(problem, mask))
    assert (own.outcome, own.passes) == ("budget", 0)
    better = refit(problem, mask, target_loss=0.0, passes=20)
    worse = torch.full_like(own.weights, 3.0)
    # What was removed counts for nothing, though a start has it.
    full = torch.where(mask, better.weights, 5.0)
    found = refit(problem, mask, target_loss=0.0, passes=0, starts=[worse, full])
    assert torch.equal(found.weights, better.weights)
    assert found.loss == pytest.approx(better.loss)
    ignored = refit(problem, mask, target_loss=0.0, passes=0, starts=[worse])
    assert torch.equal(ignored.weights, own.weights)
    further = refit(problem, mask, target_loss=0.0, passes=5, starts=[full])
    assert further.loss < better.loss
    at_once = refit(problem, mask, target_loss=better.loss + 1e-6, passes=5, starts=[full])
    assert (at_once.outcome, at_once.passes) == ("on target", 0)


def test_a_mask_that_keeps_nothing_stalls_at_once() -> None:
    problem, mask, _, _ = linear()
    found = refit(problem, torch.zeros_like(mask), target_loss=0.0, passes=5)
    assert (found.outcome, found.passes) == ("stalled", 0)
    assert found.loss == pytest.approx(math.log(2)) and not bool(found.weights.any())


@pytest.mark.parametrize("beyond", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_in_the_line_search_does_no_harm(beyond: float) -> None:
    seen: list[bool] = []

    def fenced(outputs: Tensor, targets: Tensor) -> Tensor:
        """Steep towards 0.6, and not finite from 0.7 on."""
        output = outputs[:, 0]
        seen.append(bool((output.detach().abs() >= 0.7).any()))
        return torch.where(output.abs() < 0.7, 50 * (output - 0.6) ** 2, beyond)

    network = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        network.weight.zero_()
    data = torch.ones(4, 1), torch.zeros(4, dtype=torch.int64)
    problem = problem_from_module(network, data, data, loss=fenced, dtype="float64")
    mask = torch.tensor([True, False])
    found = refit(problem, mask, target_loss=1e-12, passes=50)
    assert any(seen)
    assert found.outcome == "on target" and math.isfinite(found.loss)
    assert found.weights.tolist() == pytest.approx([0.6, 0.0], abs=1e-6)


def test_minibatches_that_diverge_do_no_harm() -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 50)
    start = refit(problem, mask, target_loss=0.0, passes=0)
    found = refit(problem, mask, target_loss=0.0, **{**SETTINGS, "lr": 1e30, "passes": 20})
    assert found.loss < start.loss
    assert bool(torch.isfinite(found.weights).all()) and not bool(found.weights[~mask].any())


def test_minibatches_come_first_where_a_pass_has_many() -> None:
    assert minibatch_passes(99 * 128, 128, 50) == 0
    assert minibatch_passes(99 * 128 + 1, 128, 50) == 10
    assert minibatch_passes(60_000, 128, 50) == 10
    assert minibatch_passes(60_000, 1_000, 50) == 0
    # At least one, but never the whole budget.
    assert [minibatch_passes(60_000, 128, n) for n in (0, 1, 2, 4, 9, 10)] == [0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize(("first", "passes"), [(0, 3), (2, 6), (0, 0.5)])
def test_progress_counts_passes_and_ends_once(first: int, passes: float) -> None:
    problem = with_norm()
    mask = keep_mask(problem, magnitude_order(problem), 50)
    calls: list[tuple[str, int, int]] = []
    refit(
        problem,
        mask,
        target_loss=0.0,
        progress=lambda stage, done, total, note="": calls.append((stage, done, total)),
        **{**SETTINGS, "first": first, "passes": passes},
    )
    total = math.ceil(passes)
    assert calls[-1] == ("refit", total, total)
    assert all(stage == "refit" and done < all_ == total for stage, done, all_ in calls[:-1])
    assert calls == sorted(calls)
    if not first and passes == 3:
        assert calls == [("refit", 1, 3), ("refit", 2, 3), ("refit", 3, 3)]


def test_progress_ends_where_the_solver_does_before_the_budget() -> None:
    problem, mask, inputs, labels = linear(loss=squares)
    least = least_squares(mask, inputs, labels)
    for target, outcome in ((least * 1.001, "on target"), (0.0, "stalled")):
        calls: list[tuple[int, int]] = []
        found = refit(
            problem,
            mask,
            target_loss=target,
            passes=2000,
            progress=lambda stage, done, total, note="", calls=calls: calls.append((done, total)),
        )
        assert found.outcome == outcome and found.passes < 2000
        assert calls.count((2000, 2000)) == 1 and calls[-1] == (2000, 2000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("passes", -1),
        ("passes", math.inf),
        ("passes", math.nan),
        ("lr", 0.0),
        ("lr", math.nan),
        ("batch_size", 0),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    problem = with_norm()
    mask = torch.ones(problem.layout.size, dtype=torch.bool)
    with pytest.raises(UsageError, match=f"`refit_{name}` is"):
        refit(problem, mask, target_loss=0.0, **{**SETTINGS, name: value})
