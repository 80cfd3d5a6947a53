"""Allocations and tiles of other papers against twins written as plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunelimit.errors import InputError, UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.pruning.allocation import Allocator, Ranking
from prunelimit.pruning.allocations import ecoflap
from prunelimit.pruning.allocations.dimap import module_of
from prunelimit.pruning.allocations.ecoflap import ecoflap_kept, zeroth_order
from prunelimit.pruning.allocations.owl import outlier_shares, owl_densities
from prunelimit.pruning.allocations.smart_ratio import smart_ratio_kept
from prunelimit.pruning.layers import prunable_layers, prunable_part
from prunelimit.pruning.patterns.block import block_order
from prunelimit.pruning.selection import Selection
from prunelimit.randomness import generator
from prunelimit.values import KeepRule, Method, Pattern


def magnitudes(problem: Problem) -> Tensor:
    return prunable_part(problem, problem.vector()).abs().double()


def ranking(problem: Problem) -> Ranking:
    layers, scores = prunable_layers(problem), magnitudes(problem)
    orders = tuple(torch.argsort(layer.part(scores), stable=True) for layer in layers)
    return Ranking(problem, scores, layers, orders, problem.train)


class Attention(nn.Module):
    """The names that timm gives a block of a transformer, on vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(4, 6)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attn": nn.ModuleDict({"qkv": nn.Linear(6, 9), "proj": nn.Linear(9, 6)}),
                    "mlp": nn.ModuleDict({"fc1": nn.Linear(6, 8), "fc2": nn.Linear(8, 6)}),
                }
            )
            for _ in range(2)
        )
        self.head = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.patch_embed(inputs)
        for block in self.blocks:
            found = found + block["attn"]["proj"](torch.tanh(block["attn"]["qkv"](found)))
            found = found + block["mlp"]["fc2"](torch.relu(block["mlp"]["fc1"](found)))
        return self.head(found)


def attention(seed: int = 0) -> Problem:
    torch.manual_seed(seed)
    network = Attention()
    with torch.no_grad():
        network.blocks[1]["attn"]["qkv"].weight.mul_(0.1)
    data = torch.randn(40, 4), torch.arange(40) % 3
    return problem_from_module(network, data, data, batch_size=16, dtype="float64")


PROBLEM = attention()
LAYERS = prunable_layers(PROBLEM)
SIZES = [layer.size for layer in LAYERS]
TOTAL = sum(SIZES)
SHARES = [0.0, 0.1, 0.5, 0.83, 0.97, 1.0]


def removed(allocation: str, share: float) -> list[int]:
    found = Allocator(PROBLEM, magnitudes(PROBLEM), allocation, PROBLEM.train)
    return found.counts(round(share * TOTAL))


class TestDimap:
    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("layers.0.blocks.1.attn.qkv.weight", "qkv"),
            ("encoder.layer.0.attention.self.query.weight", "qkv"),
            ("model.layers.3.self_attn.k_proj.weight", "qkv"),
            ("self_attn.in_proj_weight", "qkv"),
            ("features.1.0.attn.proj.weight", "projection"),
            ("encoder.layer.0.attention.output.dense.weight", "projection"),
            ("layers.0.self_attn.out_proj.weight", "projection"),
            ("features.1.0.mlp.3.weight", "mlp"),
            ("encoder.layer.0.output.dense.weight", "mlp"),
            ("layers.0.linear2.weight", "mlp"),
            ("layers.1.downsample.reduction.weight", "auxiliary"),
            ("patch_embed.proj.weight", "auxiliary"),
            ("classifier.6.weight", "auxiliary"),
        ],
    )
    def test_parts_have_the_names_that_libraries_use(self, name: str, part: str) -> None:
        assert module_of(name) == part

    @pytest.mark.parametrize("share", SHARES)
    def test_is_the_naive_twin(self, share: float) -> None:
        """Importance by the paper's sum, in loops; the least important of all modules go."""
        weights = PROBLEM.parameters()
        scored = []
        for part in ("auxiliary", "qkv", "projection", "mlp"):
            entries = [
                (abs(float(value)), place)
                for place, layer in enumerate(LAYERS)
                if module_of(layer.name) == part
                for value in weights[layer.name].detach().reshape(-1)
            ]
            entries.sort(reverse=True)
            for index, (value, place) in enumerate(entries):
                total = sum(other**2 for other, _ in entries[: index + 1])
                scored.append((value**2 / total, place))
        scored.sort()
        gone = [place for _, place in scored[: round(share * TOTAL)]]
        assert removed("dimap", share) == [gone.count(place) for place in range(len(LAYERS))]

    def test_a_plain_network_is_one_module(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        data = torch.randn(8, 4), torch.arange(8) % 3
        problem = problem_from_module(network, data, data)
        ours, plain = (
            Allocator(problem, magnitudes(problem), name, problem.train).counts(17)
            for name in ("dimap", "global")
        )
        assert ours == plain


class TestOwl:
    def test_outliers_are_counted_one_by_one(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Linear(30, 3))
        with torch.no_grad():
            network[0].weight[3, 2] = 30.0
            network[0].weight[8, 1] = -40.0
        inputs = torch.randn(20, 4)
        problem = problem_from_module(
            network, (inputs, torch.arange(20) % 3), (inputs, torch.arange(20) % 3)
        )
        hidden = torch.relu(network[0](inputs)).detach()
        expected = []
        for matrix, read in ((network[0].weight, inputs), (network[2].weight, hidden)):
            sizes = []
            for row in range(matrix.shape[0]):
                for column in range(matrix.shape[1]):
                    norm = math.sqrt(sum(float(x) ** 2 for x in read[:, column]))
                    sizes.append(abs(float(matrix[row, column].detach())) * norm)
            mean = sum(sizes) / len(sizes)
            expected.append(sum(size > 5 * mean for size in sizes) / len(sizes))
        assert expected[0] > 0
        assert outlier_shares(ranking(problem)) == pytest.approx(expected)

    def test_densities_are_the_papers_where_layers_are_alike(self) -> None:
        shares = [0.01, 0.03, 0.02, 0.05]
        found = owl_densities(shares, [100] * 4, 0.3)
        scaled = [(each - 0.01) / 0.04 * 0.08 * 2 for each in shares]
        mean = sum(scaled) / 4
        assert found == pytest.approx([each - mean + 0.3 for each in scaled])

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.tuples(st.floats(0, 1), st.integers(1, 1000)), min_size=1, max_size=6),
        st.floats(0, 1),
    )
    def test_densities_are_densities_and_make_up_the_whole(
        self, layers: list[tuple[float, int]], density: float
    ) -> None:
        shares, sizes = zip(*layers, strict=True)
        found = owl_densities(shares, sizes, density)
        assert all(-1e-12 <= each <= 1 + 1e-12 for each in found)
        total = math.fsum(each * size for each, size in zip(found, sizes, strict=True))
        assert total == pytest.approx(density * sum(sizes))

    @pytest.mark.parametrize("share", SHARES)
    def test_counts_are_the_densities_rounded(self, share: float) -> None:
        keep = TOTAL - round(share * TOTAL)
        densities = owl_densities(outlier_shares(ranking(PROBLEM)), SIZES, keep / TOTAL)
        for size, count, density in zip(SIZES, removed("owl", share), densities, strict=True):
            assert abs(size - count - density * size) <= 1 + 1e-6

    def test_inputs_that_are_not_seen_are_told_of(self) -> None:
        class Hidden(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(4, 3)

            def forward(self, inputs: Tensor) -> Tensor:
                return nn.functional.linear(inputs, self.inner.weight)

        data = torch.randn(8, 4), torch.arange(8) % 3
        problem = problem_from_module(Hidden(), data, data)
        with pytest.raises(InputError, match=r"owl sees no inputs of inner.*another `allocation`"):
            Selection(problem, Method(allocation="owl")).mask(3)


class TestEcoflap:
    def test_slopes_are_differences_of_the_loss(self) -> None:
        weights = {name: each.detach() for name, each in PROBLEM.parameters().items()}
        expected = []
        for place, layer in enumerate(LAYERS):
            slopes = []
            for number, (inputs, targets) in enumerate(PROBLEM.train.batches(32)):
                draws = generator(PROBLEM.seed, "zeroth-order steps", place, number)
                step = torch.randn(tuple(layer.shape), generator=draws, dtype=torch.float64)
                losses = []
                for sign in (1, -1):
                    moved = {layer.name: weights[layer.name] + sign * 1e-3 * step}
                    with torch.no_grad():
                        outputs = torch.func.functional_call(PROBLEM.model, moved, (inputs,))
                    losses.append(float(nn.functional.cross_entropy(outputs, targets)))
                slopes.append(abs(losses[0] - losses[1]) / 2e-3)
            expected.append(sum(slopes) / len(slopes))
        assert zeroth_order(ranking(PROBLEM)) == pytest.approx(expected, rel=1e-6)

    def test_slopes_are_directional_derivatives(self) -> None:
        """Over many draws |g z| has the mean sqrt(2 / pi) |g|."""
        torch.manual_seed(0)
        alike = torch.randn(1, 3).repeat(3200, 1), torch.zeros(3200).long()
        problem = problem_from_module(nn.Linear(3, 2), alike, alike, dtype="float64")
        inputs, targets = next(problem.train.batches(1))
        (gradient,) = torch.autograd.grad(
            nn.functional.cross_entropy(problem.model(inputs), targets), problem.model.weight
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ecoflap, "SAMPLES", 3200)
            patch.setattr(ecoflap, "BATCH", 1)
            (found,) = zeroth_order(ranking(problem))
        assert found == pytest.approx(math.sqrt(2 / math.pi) * float(gradient.norm()), rel=0.05)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_sharing_is_the_papers_loop(self, data: st.DataObject) -> None:
        """Add each layer's share of what is left, drop what is full, and again."""
        sizes = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=6))
        slopes = data.draw(st.lists(st.floats(0.01, 50), min_size=len(sizes), max_size=len(sizes)))
        keep = data.draw(st.integers(0, sum(sizes)))
        first = [max(0, math.ceil((1 - (1 - keep / sum(sizes) + 0.1)) * n - 1e-9)) for n in sizes]
        if sum(first) > keep:
            first = [0] * len(sizes)
        kept = [float(count) for count in first]
        weights = list(slopes)
        for _ in range(500):
            rest = keep - sum(kept)
            if rest < 1e-9 or not any(weights):
                break
            total = sum(weights)
            kept = [
                min(n, k + w / total * rest) for n, k, w in zip(sizes, kept, weights, strict=True)
            ]
            weights = [0 if k >= n else w for n, k, w in zip(sizes, kept, weights, strict=True)]
        found = ecoflap_kept(slopes, sizes, [0] * len(sizes), keep)
        assert sum(found) == keep
        assert all(abs(ours - theirs) <= 1 + 1e-3 for ours, theirs in zip(found, kept, strict=True))

    def test_a_flat_loss_is_shared_by_number(self) -> None:
        assert sum(ecoflap_kept([0.0, 0.0], [10, 30], [0, 0], 20)) == 20


class TestSmartRatio:
    def test_is_its_formula(self) -> None:
        """Four layers: densities as 20 : 12 : 6, and 0.3 of the last."""
        sizes = [10_000, 20_000, 40_000, 1_000]
        keep = 5_000
        found = smart_ratio_kept(sizes, [0] * 4, keep)
        unit = (keep - 300) / (20 * 10_000 + 12 * 20_000 + 6 * 40_000)
        expected = [unit * 20 * 10_000, unit * 12 * 20_000, unit * 6 * 40_000, 300]
        assert found == [pytest.approx(each, abs=1) for each in expected]

    def test_the_last_layer_never_has_more_than_half(self) -> None:
        assert smart_ratio_kept([100, 100], [0, 0], 20) == [10, 10]
        assert smart_ratio_kept([100], [0], 20) == [20]

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_counts_are_exact(self, data: st.DataObject) -> None:
        sizes = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=5))
        lower = [data.draw(st.integers(0, size)) for size in sizes]
        keep = data.draw(st.integers(sum(lower), sum(sizes)))
        found = smart_ratio_kept(sizes, lower, keep)
        assert sum(found) == keep
        bounds = zip(lower, found, sizes, strict=True)
        assert all(low <= count <= high for low, count, high in bounds)

    def test_random_masks_have_its_counts(self) -> None:
        selection = Selection(PROBLEM, Method.parse("random/smart-ratio"))
        kept = prunable_part(PROBLEM, selection.mask(TOTAL // 2))
        expected = smart_ratio_kept(SIZES, [0] * len(SIZES), TOTAL - TOTAL // 2)
        assert [int(layer.part(kept).sum()) for layer in LAYERS] == expected


def tile_means(matrix: Tensor, rows: int, columns: int) -> dict[tuple[int, int], float]:
    """Mean of every tile, by loops."""
    entries: dict[tuple[int, int], list[float]] = {}
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            entries.setdefault((i // rows, j // columns), []).append(float(matrix[i, j]))
    return {place: sum(values) / len(values) for place, values in entries.items()}


def partial_tiles(kept: Tensor, shape: tuple[int, int]) -> int:
    """Tiles that are neither all kept nor all gone."""
    number = 0
    for layer in LAYERS:
        matrix = layer.part(kept).view(layer.shape[0], -1).double()
        number += sum(0 < mean < 1 for mean in tile_means(matrix, *shape).values())
    return number


class TestBlocks:
    @pytest.mark.parametrize("shape", [(2, 2), (4, 4), (1, 3), (8, 2), (7, 5)])
    @pytest.mark.parametrize("share", SHARES)
    def test_is_the_naive_twin(self, shape: tuple[int, int], share: float) -> None:
        """Tiles of least mean go whole, and of the last its smallest weights."""
        remove = round(share * TOTAL)
        scores = magnitudes(PROBLEM)
        tiles = []
        for place, layer in enumerate(LAYERS):
            matrix = layer.part(scores).view(layer.shape[0], -1)
            for where, mean in tile_means(matrix, *shape).items():
                tiles.append((mean, place, where))
        expected = torch.ones(TOTAL, dtype=torch.bool)
        left = remove
        for _, place, (down, across) in sorted(tiles):
            layer = LAYERS[place]
            wide = layer.size // layer.shape[0]
            inside = [
                layer.start + i * wide + j
                for i in range(layer.shape[0])
                for j in range(wide)
                if (i // shape[0], j // shape[1]) == (down, across)
            ]
            inside.sort(key=lambda index: float(scores[index]))
            for index in inside[:left]:
                expected[index] = False
            left -= min(left, len(inside))
        method = Method(pattern=Pattern.parse(f"block:{shape[0]}x{shape[1]}"))
        found = prunable_part(PROBLEM, Selection(PROBLEM, method).mask(remove))
        assert torch.equal(found, expected)
        assert partial_tiles(found, shape) <= 1

    def test_a_convolution_is_a_matrix_of_outputs_by_all_else(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        data = torch.randn(8, 2, 5, 5), torch.arange(8) % 4
        problem = problem_from_module(network, data, data)
        selection = Selection(problem, Method(pattern=Pattern.parse("block:2x9")))
        kept = prunable_part(problem, selection.mask(36)).view(2, 2, 2, 9)
        whole = kept.permute(0, 2, 1, 3).reshape(4, 18).double().mean(1)
        assert sorted(whole.tolist()) == [0, 0, 1, 1]

    @pytest.mark.parametrize("allocation", ["uniform", "erk", "lamp", "dimap", "smart-ratio"])
    def test_allocations_share_tiles(self, allocation: str) -> None:
        method = Method.parse(f"magnitude/{allocation}/block:2x3")
        found = prunable_part(PROBLEM, Selection(PROBLEM, method).mask(TOTAL // 2))
        plain = Selection(PROBLEM, Method(allocation=allocation)).mask(TOTAL // 2)
        counts = [
            [int(layer.part(each).sum()) for layer in LAYERS]
            for each in (found, prunable_part(PROBLEM, plain))
        ]
        assert counts[0] == counts[1]
        assert partial_tiles(found, (2, 3)) <= len(LAYERS)

    def test_wanda_shares_by_layers(self) -> None:
        method = Method.parse("wanda/block:2x3")
        assert Selection(PROBLEM, method).allocation == "uniform"
        with pytest.raises(UsageError, match="rows chooses single weights"):
            Method.parse("magnitude/rows/block:2x3")

    def test_guards_hold(self) -> None:
        method = Method(pattern=Pattern.parse("block:4x4"))
        selection = Selection(PROBLEM, method, min_keep=KeepRule("count", 5))
        kept = prunable_part(PROBLEM, selection.mask(selection.removable))
        assert all(int(layer.part(kept).sum()) == 5 for layer in LAYERS)

    @pytest.mark.parametrize("criterion", ["magnitude", "snip"])
    def test_what_is_begun_is_finished_first(self, criterion: str) -> None:
        """In stages, whatever the survivors have become, nothing comes back."""
        method = Method(criterion, pattern=Pattern.parse("block:3x3"), survivors="staged")
        selection = Selection(PROBLEM, method)
        weights = PROBLEM.vector()
        kept = torch.ones_like(weights, dtype=torch.bool)
        generator = torch.Generator().manual_seed(0)
        for remove in (50, 53, 101, 180, TOTAL - 1):

            def network(now: Tensor = weights) -> Problem:
                problem = attention()
                problem.model.load_state_dict(problem.layout.unflatten(now))
                return problem

            found = selection.following(weights, kept, remove, network)
            assert int((~found).sum()) == remove and not bool((found & ~kept).any())
            assert partial_tiles(prunable_part(PROBLEM, found), (3, 3)) <= 1
            noise = torch.randn(len(weights), generator=generator, dtype=weights.dtype)
            kept, weights = found, (weights + 0.1 * noise).masked_fill(~found, 0)

    @pytest.mark.parametrize(
        "text", ["block:4", "block:0x4", "block:1x1", "block:4x4x4", "block:x"]
    )
    def test_mistakes_are_named(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"give block:RxC \(block:4x4\)"):
            Pattern.parse(text)


def test_tiles_larger_than_every_matrix_are_refused() -> None:
    with pytest.raises(UsageError, match="larger than every prunable matrix"):
        block_order(PROBLEM, magnitudes(PROBLEM), (640, 640))
