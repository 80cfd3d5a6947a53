"""Masks: exact counts, nested, reproducible; ties, nothing and everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.pruning.magnitude import (
    keep_mask,
    layer_results,
    magnitude_order,
    pruned_weights,
    removal_count,
)


def small(seed: int = 0, constant: float | None = None) -> Problem:
    """A network of 24 + 18 prunable weights, with biases between them in the flat vector."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    if constant is not None:
        for parameter in network.parameters():
            nn.init.constant_(parameter, constant)
    data = torch.randn(8, 4), torch.arange(8) % 3
    return problem_from_module(network, data, data)


def naive_order(problem: Problem) -> list[int]:
    prunable = problem.prunable_mask().tolist()
    pairs = enumerate(problem.vector().tolist())
    return [i for _, i in sorted((abs(w), i) for i, w in pairs if prunable[i])]


def test_the_order_is_the_sorted_one() -> None:
    problem = small()
    order = magnitude_order(problem)
    assert order.dtype == torch.int64
    assert order.tolist() == naive_order(problem)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([-0.5, -0.25, 0.0, 0.25, 0.5]), min_size=42, max_size=42))
def test_ties_go_by_index(values: list[float]) -> None:
    problem = small()
    with torch.no_grad():
        problem.model[0].weight.copy_(torch.tensor(values[:24]).view(6, 4))
        problem.model[2].weight.copy_(torch.tensor(values[24:]).view(3, 6))
    assert magnitude_order(problem).tolist() == naive_order(problem)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 42), st.sampled_from([None, 0.5, 0.0]))
def test_counts_are_exact_and_biases_stay(remove: int, constant: float | None) -> None:
    problem = small(constant=constant)
    mask = keep_mask(problem, magnitude_order(problem), remove)
    assert mask.shape == (problem.layout.size,) and mask.dtype == torch.bool
    assert int((~mask).sum()) == remove
    assert bool(mask[~problem.prunable_mask()].all())
    layers = layer_results(problem, mask)
    assert [layer.shape for layer in layers] == [(6, 4), (3, 6)]
    assert sum(layer.kept for layer in layers) == 42 - remove
    assert all(
        each.sparsity == pytest.approx(1 - each.kept / n)
        for each, n in zip(layers, (24, 18), strict=True)
    )


@given(st.integers(0, 42), st.integers(0, 42))
@settings(max_examples=25, deadline=None)
def test_masks_are_nested(first: int, second: int) -> None:
    problem = small(constant=0.5)
    order = magnitude_order(problem)
    less, more = (keep_mask(problem, order, n) for n in sorted((first, second)))
    assert not bool((more & ~less).any())


def test_what_is_removed_is_smaller_than_what_is_kept() -> None:
    problem = small()
    mask = keep_mask(problem, magnitude_order(problem), 20)
    sizes, prunable = problem.vector().abs(), problem.prunable_mask()
    assert sizes[~mask].max() <= sizes[mask & prunable].min()
    weights = pruned_weights(problem, mask)
    assert torch.equal(weights[mask], problem.vector()[mask])
    assert bool((weights[~mask] == 0).all())


@pytest.mark.parametrize("min_keep", [0, 1, 5, 18, 20, 100])
def test_min_keep_guards_every_layer(min_keep: int) -> None:
    problem = small(constant=0.5)
    with torch.no_grad():
        problem.model[0].weight.mul_(1e-3)  # this layer would go first, and entirely
    order = magnitude_order(problem, min_keep=min_keep)
    guarded = [min(min_keep, 24), min(min_keep, 18)]
    assert len(order) == 42 - sum(guarded)
    kept = [layer.kept for layer in layer_results(problem, keep_mask(problem, order, len(order)))]
    assert kept == guarded
    assert set(order.tolist()) <= set(magnitude_order(problem).tolist())


def test_min_keep_keeps_the_largest() -> None:
    problem = small()
    order = magnitude_order(problem, min_keep=4)
    mask = keep_mask(problem, order, len(order))
    for name in problem.prunable:
        weight = problem.parameters()[name].detach().abs().flatten()
        kept = problem.layout.unflatten(mask)[name].flatten()
        assert set(kept.nonzero().flatten().tolist()) == set(weight.topk(4).indices.tolist())


def test_impossible_counts_are_refused() -> None:
    problem = small()
    order = magnitude_order(problem, min_keep=3)
    with pytest.raises(UsageError, match="37 weights cannot be removed, only 0 to 36"):
        keep_mask(problem, order, 37)
    with pytest.raises(UsageError):
        keep_mask(problem, order, -1)
    with pytest.raises(UsageError, match="`min_keep` is -1"):
        magnitude_order(problem, min_keep=-1)


@given(st.floats(0, 1), st.integers(0, 10**9))
def test_removal_counts_are_nearest(amount: float, prunable: int) -> None:
    count = removal_count(amount, prunable)
    assert 0 <= count <= prunable
    assert abs(count - amount * prunable) <= 0.5 + 1e-6
    assert removal_count(0.0, prunable) == 0 and removal_count(1.0, prunable) == prunable


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan"), 90.0])
def test_amounts_outside_the_range_are_refused(amount: float) -> None:
    with pytest.raises(UsageError, match="from 0 to 1"):
        removal_count(amount, 100)
