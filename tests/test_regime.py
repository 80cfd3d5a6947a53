"""The regime of pruning: lines and similarities in closed form, each regime met, bad input."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import prunelimit as pl
from prunelimit.commands.regime import ADVICE
from prunelimit.compensation.batch_norm import statistics
from prunelimit.errors import InputError, UsageError
from prunelimit.inputs.problem import evaluate
from prunelimit.inputs.splits import shuffled
from prunelimit.measurement.connectivity import POINTS, Connectivity, Place, between, connectivity
from prunelimit.measurement.similarity import cka, outputs_of

INPUTS = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
DATA = INPUTS, INPUTS[:, :3].argmax(1)


def network(seed: int = 0, width: int = 12, norm: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Linear(6, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 3))


def problem(seed: int = 0, **options: Any) -> pl.Problem:
    return pl.Problem(network(seed, **options), DATA, DATA)


@pytest.fixture(scope="module")
def dense() -> pl.Problem:
    return pl.train(problem(norm=True), epochs=15, l1=0.0, lr=0.05).problem


def siblings(start: pl.Problem, amount: float, **options: Any) -> list[pl.Problem]:
    pruned = pl.Problem(pl.prune(start, amount).model, DATA, DATA)
    again = {"epochs": 3, "l1": 0.0, "lr": 0.02, "keep_zeros": True, **options}
    return [pl.train(pruned, seed=seed, **again).problem for seed in (1, 2)]


def vector_state(found: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in found.state_dict().items()}


class TestLine:
    def test_eleven_networks_by_hand(self, dense: pl.Problem) -> None:
        """A second implementation, with statistics of batch normalisation taken anew."""
        first, second = siblings(dense, 0.5)
        before = vector_state(first.model), vector_state(second.model)
        line = connectivity(first.problem, second.problem)
        assert len(line.places) == POINTS == 11
        for step, place in enumerate(line.places):
            at = step / 10
            assert place.at == at
            model = copy.deepcopy(first.model)
            mixed = dict(before[0])
            for name, tensor in before[1].items():
                if tensor.is_floating_point():
                    mixed[name] = (1 - at) * mixed[name] + at * tensor
            model.load_state_dict(mixed)
            drawn = shuffled(first.problem.train, 400, first.problem.seed)
            model.load_state_dict(statistics(model, drawn, 400), strict=False)
            own = pl.Problem(model, DATA, DATA).problem
            found = evaluate(own, own.train)
            assert place.loss == pytest.approx(found.loss, rel=1e-4)
            assert place.error == pytest.approx(1 - found.accuracy, abs=1 / 400)
        for found, state in zip((first, second), before, strict=True):
            for name, tensor in found.model.state_dict().items():
                assert torch.equal(tensor, state[name])

    def test_the_statistics_are_not_those_of_the_files(self, dense: pl.Problem) -> None:
        spoilt = copy.deepcopy(dense.model)
        spoilt[1].running_mean += 100.0
        ends = connectivity(pl.Problem(spoilt, DATA, DATA).problem, dense.problem).places
        assert ends[0].loss == pytest.approx(ends[-1].loss, rel=1e-4)

    def test_ends_are_exact(self) -> None:
        first, second = vector_state(network(0)), vector_state(network(1))
        for at, wanted in ((0.0, first), (1.0, second)):
            found = between(first, second, at)
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)

    @pytest.mark.parametrize(
        ("errors", "value"),
        [
            ((0.1, 0.1, 0.1), 0.0),
            ((0.1, 0.5, 0.3), -0.3),
            ((0.4, 0.1, 0.4), 0.3),
            ((0.0, 0.2, 0.0), -0.2),
        ],
    )
    def test_the_value_is_what_lies_farthest(self, errors: tuple[float, ...], value: float) -> None:
        places = tuple(Place(i / 2, 0.0, error) for i, error in enumerate(errors))
        assert Connectivity(places).value == pytest.approx(value)


class TestSimilarity:
    def test_it_knows_no_rotation_scale_and_shift(self) -> None:
        x = torch.randn(50, 4).double()
        rotation, _ = torch.linalg.qr(torch.randn(4, 4).double())
        assert cka(x, x) == pytest.approx(1)
        assert cka(x, 3 * x @ rotation + 7) == pytest.approx(1)

    def test_by_gram_matrices(self) -> None:
        x, y = torch.randn(30, 4).double(), torch.randn(30, 7).double()
        centre = torch.eye(30).double() - 1 / 30
        grams = [centre @ each @ each.T @ centre for each in (x, y)]
        wanted = (grams[0] * grams[1]).sum() / (grams[0].norm() * grams[1].norm())
        assert cka(x, y) == pytest.approx(float(wanted))

    def test_nothing_in_common(self) -> None:
        x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).double()
        y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]).double()
        assert cka(x, y) == pytest.approx(0)
        assert cka(x, torch.ones(4, 2).double()) == 0

    def test_outputs_are_the_networks(self) -> None:
        found = problem().problem
        with torch.no_grad():
            wanted = found.model(INPUTS).double()
        assert torch.allclose(outputs_of(found, found.train), wanted, atol=1e-6)


class TestDensities:
    """One regime is of one load: what was pruned otherwise has no mean."""

    @pytest.mark.parametrize("other", [0.3, 0.48])
    def test_other_densities_are_refused(self, dense: pl.Problem, other: float) -> None:
        given = [siblings(dense, amount)[0] for amount in (0.5, other)]
        with pytest.raises(InputError, match=r"keeps [\d.]+% of .* and .* 50\.0%\. .*pruned alike"):
            pl.regime(given)

    def test_a_weight_that_ends_at_zero_is_no_other_density(self, dense: pl.Problem) -> None:
        first, second = siblings(dense, 0.0)
        with torch.no_grad():
            second.model[0].weight[0, 0] = 0.0
        assert 0.99 < pl.regime([first, second]).density < 1


class TestRegimes:
    def test_siblings_of_one_network_are_connected_and_alike(self, dense: pl.Problem) -> None:
        found = pl.regime(siblings(dense, 0.5))
        assert found.regime == "II-B" and found.advice == ADVICE["II-B"]
        assert found.density == pytest.approx(0.5, abs=0.01)
        assert abs(found.connectivity) < 0.02 and found.similarity > 0.9
        strict = pl.regime(siblings(dense, 0.5), similar=0.99999)
        assert strict.regime == "II-A" and "cooler" in strict.advice

    def test_networks_of_other_beginnings_are_poorly_connected(self) -> None:
        """The same function with its hidden neurons in another order: a barrier lies between."""
        trained = pl.train(problem(), epochs=25, l1=0.0, lr=0.05).problem
        turned = copy.deepcopy(trained.model)
        order = torch.arange(12).roll(5)
        with torch.no_grad():
            turned[0].weight.copy_(turned[0].weight[order])
            turned[0].bias.copy_(turned[0].bias[order])
            turned[2].weight.copy_(turned[2].weight[:, order])
        found = pl.regime([trained, pl.Problem(turned, DATA, DATA)])
        assert found.regime == "I" and "hotter" in found.advice
        assert found.connectivity < -0.02 and found.similarity == pytest.approx(1, abs=1e-4)
        assert any("zeros are not the same" in note or "None" in note for note in found.notes)
        # However high the wall may be, it is none.
        assert pl.regime([trained, pl.Problem(turned, DATA, DATA)], barrier="100pp").regime != "I"

    def test_three_networks_are_three_pairs(self, dense: pl.Problem) -> None:
        first, second = siblings(dense, 0.3)
        third = siblings(dense, 0.3, epochs=4)[0]
        found = pl.regime([first, second, third])
        assert [(each.first, each.second) for each in found.pairs] == [
            ("network 1", "network 2"), ("network 1", "network 3"), ("network 2", "network 3"),
        ]  # fmt: skip
        mean = sum(each.connectivity for each in found.pairs) / 3
        assert found.connectivity == pytest.approx(mean)


def test_networks_that_say_nothing_are_told() -> None:
    flat = network()
    with torch.no_grad():
        flat[2].weight.fill_(0.1)  # the answers of all classes are alike
    found = pl.regime([problem(1), pl.Problem(flat, DATA, DATA)])
    assert any("% of the training samples wrong" in note for note in found.notes)
    assert [note for note in found.notes if "the same answer" in note] == [
        "network 2 gives every sample the same answer, so its regime says nothing; "
        "remove fewer weights."
    ]


class TestBadInput:
    def test_one_network_is_refused(self, dense: pl.Problem) -> None:
        for given in ([], [dense]):
            with pytest.raises(UsageError, match="at least two networks of one architecture"):
                pl.regime(given)
        with pytest.raises(UsageError, match="give a list"):
            pl.regime(dense)  # type: ignore[arg-type]

    def test_the_same_network_twice(self) -> None:
        with pytest.raises(InputError, match="holds the same weights as network 1"):
            pl.regime([problem(), problem()])

    def test_another_architecture(self) -> None:
        with pytest.raises(InputError, match=r"another architecture .*0.weight differs"):
            pl.regime([problem(), problem(1, width=5)])

    def test_other_data(self) -> None:
        few = INPUTS[:99], DATA[1][:99]
        with pytest.raises(InputError, match="other data"):
            pl.regime([problem(), pl.Problem(network(1), few, few)])

    @pytest.mark.parametrize(
        "given", [{"similar": 0.0}, {"similar": 1.5}, {"barrier": "much"}, {"samples": -1}]
    )
    def test_bounds_that_make_no_sense(self, given: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=f"`{next(iter(given))}`"):
            pl.regime([problem(), problem(1)], **given)


def test_on_the_command_line(prunelimit: Any, trained: Path) -> None:
    assert prunelimit("prune", trained, "--amount", "0.7", "-q", "-o", "p.safetensors").code == 0
    for seed in ("1", "2"):
        again = ("train", "--start", "p.safetensors", "--keep-zeros", "--epochs", "2")
        command = (*again, "--seed", seed, "--lr", "0.02", "-q", "-o", f"{seed}.safetensors")
        assert prunelimit(*command).code == 0
    outcome = prunelimit("regime", "1.safetensors", "2.safetensors", "--json", "-q")
    document = outcome.document
    assert document["schema"] == "prunelimit.regime/1"
    assert document["regime"] in ADVICE and len(document["pairs"][0]["line"]) == 11
    temperature = document["networks"][0]["temperature"]
    assert temperature["epochs"] == 4 and temperature["batch_size"] == 128  # of the dense one
    assert temperature["noise"] == pytest.approx(0.1 / 128 / 0.1)
    assert document["networks"][0]["density"] == pytest.approx(0.3, abs=0.01)
    shown = prunelimit("regime", "1.safetensors", "2.safetensors").stderr
    assert "Regime II" in shown or "Regime I " in shown
    assert "Train the dense network" in shown or "suits this sparsity" in shown
    alone = prunelimit("regime", "1.safetensors")
    assert alone.code == 2 and "at least two networks" in alone.stderr
    twice = prunelimit("regime", "1.safetensors", "1.safetensors")
    assert twice.code == 3 and "same weights" in twice.stderr
