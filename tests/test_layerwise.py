"""Survivors in closed form: against ridge regressions by hand, for every kind of layer."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunelimit.compensation import layerwise as layers
from prunelimit.compensation import passes
from prunelimit.compensation.layerwise import RIDGE, _patches, _solved_by_roots, layerwise
from prunelimit.compensation.passes import live_bytes
from prunelimit.config import SurvivorConfig
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.inputs.splits import shuffled
from prunelimit.measurement import networks
from prunelimit.pruning.selection import Selection
from prunelimit.values import Method

SAMPLES = 300


def problem(model: nn.Module, shape: tuple[int, ...], dtype: str = "float64") -> Problem:
    torch.manual_seed(0)
    inputs = torch.randn(SAMPLES, *shape, dtype=torch.float64)
    targets = torch.arange(SAMPLES) % 3
    data = inputs.float() if dtype == "float32" else inputs, targets
    return problem_from_module(model, data, data, dtype=dtype)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return make()


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (
        lambda: nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 3, bias=False)),
        (7,),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(4, 6, 2, groups=2, bias=False),
            nn.BatchNorm2d(6),
            nn.Flatten(),
            nn.Linear(24, 3),
        ),
        (2, 6, 6),
    ),
    "dilated, along one axis": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 5, 3, dilation=2, padding="same"),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(40, 3),
        ),
        (2, 8),
    ),
}


@pytest.fixture(params=KINDS)
def given(request: pytest.FixtureRequest) -> Problem:
    make, shape = KINDS[request.param]
    return problem(seeded(make), shape)


def misfit(given: Problem, weights: Tensor) -> float:
    """Mean squared distance of the outputs from the dense network's."""
    inputs, _ = next(iter(given.train.batches(SAMPLES)))
    student = copy.deepcopy(given.model)
    own = dict(student.named_parameters())
    with torch.no_grad():
        for name, piece in given.layout.unflatten(weights).items():
            own[name].copy_(piece)
        return float((student(inputs) - given.model(inputs)).square().mean())


def test_one_layer_is_a_ridge_regression_by_hand() -> None:
    given = problem(seeded(lambda: nn.Linear(7, 3)), (7,))
    mask = Selection(given).mask(9)
    found = given.layout.unflatten(layerwise(given, given.vector(), mask, given.train))
    inputs, _ = next(iter(given.train.batches(SAMPLES)))
    rows = np.hstack([inputs.numpy(), np.ones((SAMPLES, 1))])
    dense = given.layout.unflatten(given.vector())
    start = np.hstack([dense["weight"].numpy(), dense["bias"].numpy()[:, None]])
    outputs = rows @ start.T
    gram = rows.T @ rows
    delta = RIDGE * np.diag(gram)[:7].mean()
    kept = given.layout.unflatten(mask)["weight"].numpy()
    for output in range(3):
        survivors = [*np.flatnonzero(kept[output]), 7]
        system = gram[np.ix_(survivors, survivors)] + delta * np.eye(len(survivors))
        side = rows.T[survivors] @ outputs[:, output] + delta * start[output, survivors]
        wanted = np.linalg.solve(system, side)
        got = [*found["weight"][output].numpy()[survivors[:-1]], float(found["bias"][output])]
        np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_a_network_that_lost_nothing_stays_as_it_is(given: Problem) -> None:
    whole = torch.ones(given.layout.size, dtype=torch.bool)
    assert torch.equal(layerwise(given, given.vector(), whole, given.train), given.vector())


def _dead(bias: bool, *layers: nn.Module) -> nn.Module:
    """Convolutions between a layer of which half of the outputs are always zero, and a head."""
    first = nn.Conv1d(3, 8, 3, padding=1)
    nn.init.constant_(first.bias[:4].detach(), -100.0)
    pool = nn.AdaptiveAvgPool1d(2), nn.Flatten()
    return nn.Sequential(first, nn.ReLU(), *layers, nn.ReLU(), *pool, nn.Linear(16, 3, bias=bias))


DEAD: dict[str, Callable[[bool], nn.Module]] = {
    "one group": lambda bias: _dead(bias, nn.Conv1d(8, 8, 3, padding=1, bias=bias)),
    "groups": lambda bias: _dead(bias, nn.Conv1d(8, 8, 3, padding=1, groups=4, bias=bias)),
    "depthwise": lambda bias: _dead(bias, nn.Conv1d(8, 8, 3, padding=1, groups=8, bias=bias)),
    "depthwise, pointwise": lambda bias: _dead(
        bias, nn.Conv1d(8, 8, 3, padding=1, groups=8, bias=bias), nn.Conv1d(8, 8, 1, bias=bias)
    ),
    "all of a layer": lambda bias: nn.Sequential(
        nn.Flatten(), nn.Threshold(1e9, 0.0), nn.Linear(48, 6, bias=bias), nn.ReLU(),
        nn.Linear(6, 3, bias=bias),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("survivors", ["layerwise", "compensated", "staged"])
@pytest.mark.parametrize("kind", DEAD)
def test_survivors_whose_inputs_are_always_zero(kind: str, survivors: str, bias: bool) -> None:
    """They stay as they are, and the others are fitted."""
    given = problem(seeded(lambda: DEAD[kind](bias)), (3, 16))
    made = networks.Networks(
        given,
        Method(survivors=survivors),
        SurvivorConfig(calibration=SAMPLES, cg_steps=3, stages=2),
        epsilon=0.1,
        target_loss=0.0,
    )
    found = made.at(made.top // 2)
    assert bool(torch.isfinite(found.weights).all())
    pieces, kept = given.layout.unflatten(found.weights), given.layout.unflatten(found.mask)
    dense, grouped = given.layout.unflatten(given.vector()), "2.weight"
    where = kept[grouped].clone()
    if kind in ("groups", "depthwise", "depthwise, pointwise"):
        where[len(where) // 2 :] = False  # the others have inputs
    elif kind == "one group":
        where[:, 4:] = False
    torch.testing.assert_close(pieces[grouped][where], dense[grouped][where])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_outputs_come_nearer_and_what_is_removed_stays_zero(given: Problem, share: float) -> None:
    selection = Selection(given)
    mask = selection.mask(round(share * selection.removable))
    before = copy.deepcopy(given.model.state_dict())
    cut = given.vector().masked_fill(~mask, 0)
    found = layerwise(given, cut, mask, given.train)
    assert not bool(found[~mask].any())
    assert misfit(given, found) < misfit(given, cut)
    after = given.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_layer_before_the_first_that_lost_weights_stays(given: Problem) -> None:
    names = given.prunable
    last = {
        name: torch.ones(shape, dtype=torch.bool)
        for name, shape in zip(given.layout.names, given.layout.shapes, strict=True)
    }
    last[names[-1]][:, ::2] = False
    mask = given.layout.flatten(last)
    found = given.layout.unflatten(layerwise(given, given.vector(), mask, given.train))
    dense = given.layout.unflatten(given.vector())
    for name in names[:-1]:
        assert torch.equal(found[name], dense[name])
    assert not torch.equal(found[names[-1]], dense[names[-1]])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.Conv1d(2, 3, 3, stride=2, dilation=2, padding=1),
    ],
)
def test_patches_times_weights_are_the_convolution(layer: nn.Module) -> None:
    assert isinstance(layer, (nn.Conv1d, nn.Conv2d))
    shape = (5, layer.in_channels, 9) + ((8,) if isinstance(layer, nn.Conv2d) else ())
    inputs = torch.randn(shape)
    with torch.no_grad():
        outputs = layer(inputs)
        places = torch.arange(outputs[0, 0].numel())
        patches = _patches(layer, inputs, places)
        weights = layer.weight.reshape(layer.groups, layer.out_channels // layer.groups, -1)
        found = (patches @ weights.transpose(1, 2)).view(layer.groups, 5, len(places), -1)
    assert layer.bias is not None
    wanted = (outputs - layer.bias.view(-1, *[1] * (outputs.ndim - 2))).flatten(2)
    found = found.permute(1, 0, 3, 2).reshape(wanted.shape)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_it_is_deterministic() -> None:
    given = problem(seeded(KINDS["linear"][0]), (7,), dtype="float32")
    mask = Selection(given).mask(40)
    first = layerwise(given, given.vector(), mask, given.train)
    assert torch.equal(first, layerwise(given, given.vector(), mask, given.train))


class Residual(nn.Module):
    """Two layers that a sum skips, one of them called twice; what it passes on lies in itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4 * 36, 3)
        self.kept: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        self.kept = torch.relu(self.first(inputs))
        for _ in range(2):
            self.kept = self.kept + torch.tanh(self.inner(self.kept))
        return self.last(self.kept.flatten(1))


def ridge(rows: Tensor, aims: Tensor, start: Tensor, kept: Tensor) -> Tensor:
    """Row by row; the last column of ``rows`` stands for the bias."""
    gram, cross = rows.T @ rows, rows.T @ aims
    delta = RIDGE * gram.diagonal()[:-1].mean()
    found = torch.zeros_like(start)
    for output, own in enumerate(kept):
        at = torch.cat([own, own.new_ones(1)]).nonzero()[:, 0]
        system = gram[at[:, None], at] + delta * torch.eye(len(at), dtype=gram.dtype)
        found[output, at] = torch.linalg.solve(
            system, cross[at, output] + delta * start[output, at]
        )
    return found


def test_layers_are_fitted_on_what_the_fitted_ones_before_give() -> None:
    """Against regressions by hand, one layer after the other on all samples."""
    given = problem(
        seeded(lambda: nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 8), nn.Linear(8, 3))),
        (7,),
    )
    mask = Selection(given).mask(70)
    inputs, _ = next(iter(given.train.batches(SAMPLES)))
    kept = given.layout.unflatten(mask)
    student, dense = inputs, inputs
    wanted = {}
    for name in ("0", "2", "3"):
        layer = given.model.get_submodule(name)
        weight, bias = layer.weight.detach(), layer.bias.detach()
        start = torch.cat([weight * kept[f"{name}.weight"], bias[:, None]], 1)
        rows = torch.cat([student, student.new_ones(SAMPLES, 1)], 1)
        dense = dense @ weight.T + bias
        found = ridge(rows, dense, start, kept[f"{name}.weight"])
        wanted[f"{name}.weight"], wanted[f"{name}.bias"] = found[:, :-1], found[:, -1]
        student = rows @ found.T
        if name == "0":
            student, dense = torch.relu(student), torch.relu(dense)
    got = given.layout.unflatten(layerwise(given, given.vector(), mask, given.train))
    for name, each in wanted.items():
        torch.testing.assert_close(got[name], each, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["residual", *KINDS])
@pytest.mark.parametrize("most", [0, 1, 2])
def test_passes_that_go_on_give_what_those_begun_anew_give(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, shape = (Residual, (2, 6, 6)) if name == "residual" else KINDS[name]
    given = problem(seeded(make), shape)
    selection = Selection(given)
    mask = selection.mask(round(0.6 * selection.removable))
    threads = threading.active_count()
    found = layerwise(given, given.vector(), mask, given.train)
    assert threading.active_count() == threads
    monkeypatch.setattr(layers, "MOST_KEPT", most)
    assert torch.equal(found, layerwise(given, given.vector(), mask, given.train))


def test_all_layers_take_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the dense network and of the pruned one; begun anew, there are as many as layers."""
    depth, seen = 6, []
    first = nn.Linear(5, 5)
    first.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    made = [first, *(nn.Linear(5, 5) for _ in range(depth - 1))]
    given = problem(nn.Sequential(*made), (5,))
    mask = Selection(given).mask(90)
    counts = {}
    for most in (layers.MOST_KEPT, 0):
        monkeypatch.setattr(layers, "MOST_KEPT", most)
        seen.clear()
        layerwise(given, given.vector(), mask, given.train)
        counts[most] = sum(seen)
    few = 2  # by which the order of layers and their memory are found
    assert sorted(counts.values()) == [2 * SAMPLES + few, 2 * SAMPLES * depth + few]


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)
        self.begun = False

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.first(inputs)
        if self.begun and len(inputs) > 1:
            raise ValueError("cannot")
        return self.second(found)


def test_what_a_network_raises_comes_out_and_no_thread_stays() -> None:
    given = problem(Raises(), (4,))
    mask = Selection(given).mask(9)
    given.model.begun = True
    threads = threading.active_count()
    with pytest.raises(ValueError, match="cannot"):
        layerwise(given, given.vector(), mask, given.train)
    assert threading.active_count() == threads


def test_live_bytes_are_what_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a chain the input of a layer and its output; of a sum what it skips, too."""
    chain = nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 10))
    assert live_bytes(chain, torch.zeros(3, 10)) == 3 * 4 * 2 * 1000
    network, inputs = Residual(), torch.zeros(1, 2, 6, 6)
    of_map = 4 * 4 * 36
    assert 3 * of_map <= live_bytes(network, inputs) <= 4 * of_map

    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(passes._Live, "__torch_dispatch__", refuse)
    # first, inner twice, last, and the network itself
    assert live_bytes(network, inputs) == 3 * of_map + 2 * 3 * 4


def test_data_that_lie_class_by_class_are_read_from_every_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Layers are fitted on the first samples that are enough, so the order has to be drawn."""
    torch.manual_seed(0)
    data = torch.randn(2000, 6), torch.arange(2000) // 200
    own = problem_from_module(nn.Linear(6, 10), data, data)
    seen: list[torch.Tensor] = []

    def watched(problem: Any, start: Any, mask: Any, samples: Any, **_: Any) -> Any:
        seen.append(next(iter(samples.batches(100)))[1])
        return start

    monkeypatch.setattr(networks, "layerwise", watched)
    for count in (0, 1500, None):
        config = SurvivorConfig(calibration=count)
        method = Method.parse("magnitude+layerwise")
        made = networks.Networks(own, method, config, epsilon=0.1, target_loss=0.0)
        made.at(10)
    assert all(len(each.unique()) == 10 for each in seen) and len(seen) == 3
    whole = shuffled(own.train, 1500, own.seed)
    chosen = torch.cat([y for _, y in whole.batches(100)])
    same = torch.cat([y for _, y in own.train.subset(1500, own.seed).batches(100)])
    assert torch.equal(chosen.sort().values, same) and not torch.equal(chosen, same)


def test_systems_without_an_inverse_get_their_smallest_solution() -> None:
    made = torch.diag_embed(torch.tensor([[2.0, 4.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64))
    side = torch.tensor([[4.0, 4.0, 0.0], [3.0, 2.0, 1.0]], dtype=torch.float64)[:, :, None]
    found = _solved_by_roots(made.clone, side)[:, :, 0]
    assert found.tolist() == [[2.0, 1.0, 0.0], [3.0, 2.0, 1.0]]


def test_systems_that_rounding_made_indefinite_are_solved_all_the_same() -> None:
    torch.manual_seed(0)
    good = torch.randn(3, 20, 6, dtype=torch.float64)
    good = good.mT @ good
    bad = good - 1.5 * torch.linalg.eigvalsh(good)[1, 0] * torch.eye(6, dtype=torch.float64)
    side = torch.randn(3, 6, 1, dtype=torch.float64)
    for made in (good, bad):
        before = made.clone()
        found = _solved_by_roots(made.clone, side)
        torch.testing.assert_close(made @ found, side, rtol=1e-8, atol=1e-8)
        assert bool((made == before).all())
