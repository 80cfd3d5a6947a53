"""Masks of one network after another: exact counts, nothing comes back, patterns stay patterns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prunelimit import plugins
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.pruning.criterion import Criterion, Scores
from prunelimit.pruning.layers import prunable_layers, prunable_part
from prunelimit.pruning.selection import Selection
from prunelimit.values import KeepRule, Method, Pattern

CRITERIA = plugins.names("criterion")
ALLOCATIONS = tuple(n for n in plugins.names("allocation") if n != "targets")  # needs a file
PATTERN = Pattern.parse("2:4")
METHODS = [
    *(Method(name, allocation) for name in CRITERIA for allocation in ALLOCATIONS),
    *(Method(name, pattern=PATTERN) for name in CRITERIA),
]


def small(seed: int = 0) -> Problem:
    """Layers of 96, 96 and 24 weights, all of whole groups of four."""
    torch.manual_seed(seed)
    layers = [nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)]
    data = torch.randn(40, 8), torch.arange(40) % 3
    return problem_from_module(nn.Sequential(*layers), data, data, dtype="float64")


PROBLEM = small()
TOTAL = 216


def network_of(weights: Tensor) -> Callable[[], Problem]:
    """The problem with these weights, as a stage has it."""

    def made() -> Problem:
        problem = small()
        values = problem.layout.unflatten(weights)
        problem.model.load_state_dict({**problem.model.state_dict(), **values})
        return problem

    return made


def moved(weights: Tensor, kept: Tensor, seed: int) -> Tensor:
    """Survivors that went elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(weights), generator=generator, dtype=weights.dtype)
    return (weights + 0.2 * noise).masked_fill(~kept, 0)


def in_pattern(kept: Tensor) -> bool:
    """Whether no group lost more than the pattern lets go."""
    return all(
        bool((layer.part(kept).view(-1, 4).sum(1) >= 2).all()) for layer in prunable_layers(PROBLEM)
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_is_removed_stays_removed_and_counts_are_exact(method: Method) -> None:
    """At every stage, whatever the survivors have become."""
    selection = Selection(PROBLEM, dataclasses.replace(method, survivors="staged"))
    weights = PROBLEM.vector()
    kept = torch.ones_like(weights, dtype=torch.bool)
    top = selection.removable
    assert top == (TOTAL // 2 if method.pattern else TOTAL)
    counts = [0, 1, top // 3, top // 3 + 1, top // 2, int(0.9 * top), top - 1, top]
    for stage, removed in enumerate(counts):
        found = selection.following(weights, kept, removed, network_of(weights))
        assert int((~found).sum()) == removed
        assert not bool((found & ~kept).any())
        assert bool(found[~PROBLEM.prunable_mask()].all())
        if method.pattern is not None:
            assert in_pattern(prunable_part(PROBLEM, found))
        kept, weights = found, moved(weights, found, stage)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_survivors_are_scored_as_they_are_now(allocation: str) -> None:
    """The next mask is that of the network of survivors, but for what is gone."""
    selection = Selection(PROBLEM, Method(allocation=allocation, survivors="staged"))
    kept = selection.mask(40)
    weights = moved(PROBLEM.vector(), kept, 7)
    found = selection.following(weights, kept, 100, network_of(weights))
    fresh = Selection(network_of(weights)(), Method(allocation=allocation))
    # Zeros are its smallest weights, so where no layer is to keep more than it has, it agrees.
    wanted = fresh.mask(100)
    if not bool((wanted & ~kept).any()):
        assert torch.equal(found, wanted)
    assert not torch.equal(found, Selection(PROBLEM, Method(allocation=allocation)).mask(100))


def test_scores_of_any_size_bring_nothing_back() -> None:
    """What is gone goes first, even where one less than the least score is no other number."""

    def huge(problem: Problem) -> Tensor:
        return -1e20 * problem.vector()[problem.prunable_mask()].abs()

    own = Criterion(
        "huge", "", "", reads="weights", function=lambda problem, *_: Scores(huge(problem))
    )
    selection = Selection(PROBLEM, Method(survivors="staged"), criterion=own)
    kept = selection.mask(50)
    weights = PROBLEM.vector().masked_fill(~kept, 0)
    found = selection.following(weights, kept, 100, network_of(weights))
    assert int((~found).sum()) == 100 and not bool((found & ~kept).any())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_pattern_is_kept_to_at_every_sparsity(criterion: str) -> None:
    selection = Selection(PROBLEM, Method(criterion, pattern=PATTERN))
    before = torch.ones(PROBLEM.layout.size, dtype=torch.bool)
    for removed in range(0, selection.removable + 1, 9):
        kept = selection.mask(removed)
        assert int((~kept).sum()) == removed
        assert in_pattern(prunable_part(PROBLEM, kept))
        assert not bool((kept & ~before).any())
        before = kept
    groups = prunable_part(PROBLEM, selection.mask(selection.removable)).view(-1, 4)
    assert bool((groups.sum(1) == 2).all())


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("criterion", ["magnitude", "snip", "random"])
def test_the_guard_by_default_leaves_no_layer_empty_and_refuses_nothing(
    criterion: str, allocation: str
) -> None:
    selection = Selection(PROBLEM, Method(criterion, allocation), min_keep=KeepRule("auto"))
    assert selection.removable == TOTAL
    for removed in (0, 100, 200, TOTAL - 4, TOTAL - 3, TOTAL - 2, TOTAL - 1, TOTAL):
        kept = prunable_part(PROBLEM, selection.mask(removed))
        assert int((~kept).sum()) == removed
        if removed <= TOTAL - 3:
            assert all(bool(layer.part(kept).any()) for layer in prunable_layers(PROBLEM))


def test_stages_keep_what_the_guard_guards() -> None:
    selection = Selection(PROBLEM, Method(survivors="staged"), min_keep=KeepRule("count", 5))
    weights = PROBLEM.vector()
    kept = torch.ones_like(weights, dtype=torch.bool)
    for stage, removed in enumerate((60, 150, TOTAL - 15)):
        kept = selection.following(weights, kept, removed, network_of(weights))
        weights = moved(weights, kept, stage)
        parts = [layer.part(prunable_part(PROBLEM, kept)) for layer in prunable_layers(PROBLEM)]
        assert min(int(part.sum()) for part in parts) >= 5
