"""Allocations: exact counts whatever is asked, formulas, brute force, and patterns."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunelimit import plugins
from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.pruning.allocation import Allocator, apportion
from prunelimit.pruning.allocations.lamp import lamp_scores
from prunelimit.pruning.distortion import DistortionCurve, least_distortion, measured_distortion
from prunelimit.pruning.layers import prunable_layers, prunable_part
from prunelimit.pruning.magnitude import keep_mask, magnitude_order
from prunelimit.pruning.pattern import pattern_kept
from prunelimit.pruning.selection import Selection
from prunelimit.values import KeepRule, Method, Pattern

ALLOCATIONS = tuple(n for n in plugins.names("allocation") if n != "targets")  # needs a file


def small(seed: int = 0) -> Problem:
    """Layers of 20, 30, 12 and 6 weights, biases between them."""
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)]
    network = nn.Sequential(*layers, nn.Linear(2, 3, bias=False))
    data = torch.randn(8, 4), torch.arange(8) % 3
    return problem_from_module(network, data, data)


SMALL = small()
SIZES = [20, 30, 12, 6]
TOTAL = sum(SIZES)


def magnitudes(problem: Problem) -> Tensor:
    return prunable_part(problem, problem.vector()).abs().double()


def allocator(allocation: str, scores: Tensor | None = None, problem: Problem = SMALL) -> Allocator:
    found = magnitudes(problem) if scores is None else scores
    return Allocator(problem, found, allocation, problem.train)


def test_every_allocation_says_what_it_is() -> None:
    for name in ALLOCATIONS:
        each = plugins.find("allocation", name)
        assert each.name == name and each.source and each.help


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(ALLOCATIONS)),
    st.integers(0, TOTAL),
    st.integers(0, 40),
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=TOTAL, max_size=TOTAL),
)
def test_counts_are_exact_whatever_the_scores(
    allocation: str, remove: int, min_keep: int, scores: list[float]
) -> None:
    chosen = allocator(allocation, torch.tensor(scores, dtype=torch.float64))
    floors = [min(min_keep, size) for size in SIZES]
    removable = TOTAL - sum(floors)
    if remove > removable:
        with pytest.raises(UsageError, match=f"only 0 to {removable}"):
            chosen.kept(remove, floors)
        return
    kept = chosen.kept(remove, floors)
    assert kept.shape == (TOTAL,) and kept.dtype == torch.bool
    assert int((~kept).sum()) == remove
    for layer in prunable_layers(SMALL):
        assert int(layer.part(kept).sum()) >= min(min_keep, layer.size)
    assert torch.equal(kept, chosen.kept(remove, floors))


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("remove", [0, 1, TOTAL - 1, TOTAL])
def test_the_ends_and_what_is_kept_is_higher(allocation: str, remove: int) -> None:
    kept = allocator(allocation).kept(remove)
    assert int((~kept).sum()) == remove
    for layer in prunable_layers(SMALL):
        sizes, own = layer.part(magnitudes(SMALL)), layer.part(kept)
        rows = (
            (sizes, own)
            if allocation != "rows"
            else (sizes.view(layer.shape), own.view(layer.shape))
        )
        for values, stays in zip(*(each.reshape(-1, each.shape[-1]) for each in rows), strict=True):
            if stays.any() and not stays.all():
                assert values[~stays].max() <= values[stays].min()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, TOTAL - 8), st.integers(0, 2))
def test_global_is_global_magnitude_pruning(remove: int, min_keep: int) -> None:
    kept = allocator("global").kept(remove, [min(min_keep, size) for size in SIZES])
    mask = keep_mask(SMALL, magnitude_order(SMALL, min_keep=min_keep), remove)
    assert torch.equal(kept, prunable_part(SMALL, mask))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_apportioned_numbers_are_near_their_shares(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=8))
    weights = data.draw(st.lists(st.floats(0.01, 100), min_size=len(sizes), max_size=len(sizes)))
    lower = [data.draw(st.integers(0, size)) for size in sizes]
    total = data.draw(st.integers(sum(lower), sum(sizes)))
    counts = apportion(weights, lower, sizes, total)
    assert sum(counts) == total
    assert all(low <= k <= high for low, k, high in zip(lower, counts, sizes, strict=True))
    # All that no bound holds are within one of the same multiple of their weights.
    free = [
        (k - 1, k + 1, weight)
        for low, k, high, weight in zip(lower, counts, sizes, weights, strict=True)
        if low < k < high
    ]
    if free:
        slack = 1 + 1e-6
        assert max(k / w for k, _, w in free) <= min(k / w for _, k, w in free) * slack


def test_uniform_removes_the_same_share() -> None:
    counts = allocator("uniform").counts(34)
    assert counts == [10, 15, 6, 3]


def test_erk_is_its_formula() -> None:
    """Density f (n_in + n_out) / (n_in n_out), with all of a layer kept where that passes 1."""
    sums = [9, 11, 8, 5]
    counts = allocator("erk").counts(TOTAL - 33)
    kept = [size - count for size, count in zip(SIZES, counts, strict=True)]
    assert kept == [9, 11, 8, 5]
    counts = allocator("erk").counts(TOTAL - 50)
    kept = [size - count for size, count in zip(SIZES, counts, strict=True)]
    # The last layer, of 6, would hold 50 * 5 / 33 > 6; the others share 44 as 9 : 11 : 8.
    assert kept[3] == 6
    assert all(abs(k - 44 * s / 28) <= 1 for k, s in zip(kept[:3], sums, strict=False))


def test_erk_counts_the_kernel() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 10))
    data = torch.randn(4, 3, 4, 4), torch.arange(4) % 3
    problem = problem_from_module(network, data, data)
    chosen = allocator("erk", problem=problem)
    kept = [216 - chosen.counts(536 - 59)[0], 320 - chosen.counts(536 - 59)[1]]
    assert kept == [17, 42]  # 3 + 8 + 3 + 3 and 32 + 10


def test_lamp_is_its_definition() -> None:
    values = torch.tensor([0.5, -2.0, 1.0, 0.5])
    squares = [0.25, 4.0, 1.0, 0.25]
    expected = [0.25 / 5.5, 1.0, 1.0 / 5.0, 0.25 / 5.25]
    assert sum(squares) == 5.5
    torch.testing.assert_close(lamp_scores(values), torch.tensor(expected, dtype=torch.float64))
    assert lamp_scores(torch.zeros(3)).tolist() == [0.0] * 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, TOTAL))
def test_lamp_is_global_pruning_after_its_transform(remove: int) -> None:
    transformed = torch.cat(
        [lamp_scores(layer.part(magnitudes(SMALL))) for layer in prunable_layers(SMALL)]
    )
    assert torch.equal(
        allocator("lamp").kept(remove), allocator("global", transformed).kept(remove)
    )


def test_lamp_keeps_one_of_every_layer_until_the_last() -> None:
    """The largest of a layer scores 1, more than anything else does."""
    kept = allocator("lamp").kept(TOTAL - 4)
    assert [int(layer.part(kept).sum()) for layer in prunable_layers(SMALL)] == [1] * 4


class TestDistortion:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_the_dynamic_program_is_brute_force(self, data: st.DataObject) -> None:
        sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
        numbers = st.floats(0, 10, allow_subnormal=False)
        curves = []
        for size in sizes:
            values = data.draw(st.lists(numbers, min_size=size, max_size=size))
            curves.append(DistortionCurve(tuple(range(size + 1)), (0.0, *values)))
        caps = [data.draw(st.integers(0, size)) for size in sizes]
        remove = data.draw(st.integers(0, sum(caps)))
        counts = least_distortion(curves, caps, remove)
        assert sum(counts) == remove
        assert all(0 <= count <= cap for count, cap in zip(counts, caps, strict=True))
        least = min(
            math.fsum(curve.at(c) for curve, c in zip(curves, choice, strict=True))
            for choice in itertools.product(*(range(cap + 1) for cap in caps))
            if sum(choice) == remove
        )
        found = math.fsum(curve.at(c) for curve, c in zip(curves, counts, strict=True))
        assert found == pytest.approx(least)

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.77, 0.9999, 1.0])
    def test_portions_still_make_exact_counts(self, share: float) -> None:
        sizes = [70_001, 13, 30_000, 5_000]
        generator = np.random.default_rng(0)
        curves = [
            DistortionCurve((0, size // 2, size), tuple(np.cumsum(generator.random(3)) - 0.0))
            for size in sizes
        ]
        remove = round(share * sum(sizes))
        counts = least_distortion(curves, sizes, remove)
        assert sum(counts) == remove
        assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))

    def test_convex_curves_are_dealt_out_by_slope(self) -> None:
        """With quadratic distortions a n^2 the optimum is n inversely to a."""
        points = np.arange(0, 100_001, 100)
        curves = [
            DistortionCurve(tuple(points.tolist()), tuple((a * points.astype(float) ** 2).tolist()))
            for a in (1.0, 3.0)
        ]
        counts = least_distortion(curves, [100_000, 100_000], 80_000)
        assert counts == [pytest.approx(60_000, abs=200), pytest.approx(20_000, abs=200)]

    def test_is_how_far_the_outputs_move(self) -> None:
        problem = small()
        layers = prunable_layers(problem)
        orders = [torch.argsort(layer.part(magnitudes(problem))) for layer in layers]
        curve = measured_distortion(problem, problem.train, layers, orders)[1]
        assert curve.removed[0] == 0 and curve.removed[-1] == 30
        assert curve.distortions[0] == 0.0
        inputs, _ = next(problem.train.batches(8))
        weights = problem.parameters()["2.weight"].detach().clone().reshape(-1)
        weights[orders[1][:15]] = 0
        with torch.no_grad():
            moved = torch.func.functional_call(
                problem.model, {"2.weight": weights.view(6, 5)}, (inputs,)
            )
            expected = float((moved - problem.model(inputs)).square().sum() / 8)
        assert float(curve.at(15)) == pytest.approx(expected)

    def test_spares_the_layer_that_matters(self) -> None:
        """A layer scaled up by 100 distorts a hundred times as much as its twin."""
        torch.manual_seed(0)

        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.loud, self.quiet = nn.Linear(6, 3), nn.Linear(6, 3)
                self.quiet.load_state_dict(self.loud.state_dict())

            def forward(self, inputs: Tensor) -> Tensor:
                return 100 * self.loud(inputs) + self.quiet(inputs)

        data = torch.randn(20, 6), torch.arange(20) % 3
        problem = problem_from_module(Two(), data, data)
        loud, quiet = allocator("rd", problem=problem).counts(18)
        assert (loud, quiet) == (0, 18)
        assert allocator("global", problem=problem).counts(18) == [9, 9]


class TestPattern:
    def test_leaves_exactly_two_of_each_four(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
        data = torch.randn(8, 8), torch.arange(8) % 3
        problem = problem_from_module(network, data, data)
        kept = pattern_kept(problem, magnitudes(problem), Pattern.parse("2:4"))
        first, second = (layer.part(kept).view(layer.shape) for layer in prunable_layers(problem))
        assert (first.view(6, 2, 4).sum(dim=2) == 2).all()
        # Of six inputs one group is whole; the two left over stay.
        assert (second[:, :4].sum(dim=1) == 2).all() and second[:, 4:].all()
        sizes = network[0].weight.detach().abs().view(6, 2, 4)
        groups = first.view(6, 2, 4)
        for values, stays in zip(sizes.view(-1, 4), groups.view(-1, 4), strict=True):
            assert values[stays].min() >= values[~stays].max()

    @pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
    def test_groups_run_along_the_input_channels(self, kind: type[nn.Module]) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(kind(8, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        data = torch.randn(4, 8, 4, 4), torch.arange(4) % 3
        problem = problem_from_module(network, data, data)
        kept = pattern_kept(problem, magnitudes(problem), Pattern.parse("1:4"))
        shape = network[0].weight.shape
        along = 1 if kind is nn.Conv2d else 0
        groups = kept.view(shape).movedim(along, -1).reshape(-1, 4)
        assert (groups.sum(dim=1) == 1).all()

    def test_ties_go_by_index(self) -> None:
        data = torch.randn(4, 8), torch.arange(4) % 3
        problem = problem_from_module(nn.Linear(8, 3, bias=False), data, data)
        kept = pattern_kept(problem, torch.zeros(24, dtype=torch.float64), Pattern.parse("2:4"))
        assert kept.view(-1, 4).tolist() == [[False, False, True, True]] * 6

    def test_layers_without_a_whole_group_stay_and_one_is_needed(self) -> None:
        problem = small()
        with pytest.raises(UsageError, match=r"No layer has 8 inputs"):
            pattern_kept(problem, magnitudes(problem), Pattern.parse("4:8"))


class TestSelection:
    def test_relabelled_neurons_permute_the_mask(self) -> None:
        problem = small()
        order = torch.tensor([2, 4, 0, 1, 3])
        other = small()
        with torch.no_grad():
            other.model[0].weight.copy_(problem.model[0].weight[order])
            other.model[0].bias.copy_(problem.model[0].bias[order])
            other.model[2].weight.copy_(problem.model[2].weight[:, order])
        for allocation in set(ALLOCATIONS) - {"ecoflap"}:  # whose draws know no names
            first, second = (
                each.layout.unflatten(Selection(each, Method(allocation=allocation)).mask(40))
                for each in (problem, other)
            )
            assert torch.equal(first["0.weight"][order], second["0.weight"])
            assert torch.equal(first["2.weight"][:, order], second["2.weight"])

    def test_samples_are_counted_where_they_are_read(self) -> None:
        problem = small()
        assert Selection(problem, calibration=5).calibration == 0
        assert Selection(problem, Method(allocation="rd"), calibration=5).calibration == 5
        assert Selection(problem, Method("snip"), calibration=5).calibration == 5
        assert Selection(problem, Method("snip")).calibration == 8
        assert Selection(problem, Method("snip"), calibration=0).calibration == 8

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(UsageError, match="did you mean uniform"):
            Method(allocation="unifrom")
        with pytest.raises(UsageError, match="`calibration` is -1"):
            Selection(SMALL, calibration=-1)
        guarded = Selection(SMALL, min_keep=KeepRule("count", 3))
        assert guarded.removable == TOTAL - 4 * 3
        with pytest.raises(UsageError, match=f"only 0 to {TOTAL - 12}; .*`min_keep`"):
            guarded.mask(TOTAL - 11)
