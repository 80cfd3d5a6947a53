"""``prune --within``: the sparsest network by samples that nothing else has seen."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import numpy as np
import pytest
import torch
from conftest import Outcome
from test_results import filled
from torch import Tensor, nn

from prunelimit.commands.provenance import Recorder
from prunelimit.commands.prune import _unseen, _warnings, prune_problem, pruned_result
from prunelimit.config import LimitConfig, PruneConfig, RunConfig, TrainConfig
from prunelimit.errors import UsageError
from prunelimit.inputs.load import Loaded, live, problem_from_module
from prunelimit.inputs.problem import Problem, Split, evaluate
from prunelimit.measurement import networks as networks_module
from prunelimit.measurement import sparsest as module
from prunelimit.measurement.drop import Drop, paired_drop
from prunelimit.measurement.sparsest import Sparsest, held_out, sparsest
from prunelimit.results.schema import schema
from prunelimit.results.types import DataInfo, ModelInfo, Within
from prunelimit.training.l1 import train
from prunelimit.values import SURVIVORS, EpsilonRule

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]
EPSILON = EpsilonRule("nats", 0.05)
FEW: dict[str, Any] = {"calibration": 60, "cg_steps": 3, "refit_passes": 2}
WEIGHTS, SAMPLES = 1000, 4000


class Forbidden:
    """A split that nobody may read."""

    def __len__(self) -> NoReturn:
        raise AssertionError("read")

    def batches(self, *_: Any, **__: Any) -> Iterator[Any]:
        raise AssertionError("read")

    def subset(self, *_: Any) -> NoReturn:
        raise AssertionError("read")


@pytest.fixture(scope="module")
def learned() -> Problem:
    """A small network that knows its 400 samples well."""
    torch.manual_seed(0)
    inputs = torch.randn(400, 12)
    data = inputs, inputs[:, :3].argmax(1)
    network = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    problem = problem_from_module(network, data, data)
    train(problem, TrainConfig(epochs=15, l1=1e-3), seed=0)
    return dataclasses.replace(problem, test=Forbidden())  # type: ignore[arg-type]


def samples(split: Split) -> set[float]:
    """One number of every input, which no two of them share."""
    return {float(x) for inputs, _ in split.batches(500) for x in inputs[:, 0]}


def found_by(problem: Problem, within: float = 0.02, **choices: Any) -> Sparsest:
    return sparsest(problem, PruneConfig(**{**FEW, **choices}), EPSILON, within)


@pytest.mark.parametrize(
    ("everything", "count"), [(4, 2), (400, 200), (1999, 999), (2000, 1000), (20_000, 2000)]
)
def test_a_tenth_is_held_out_and_the_rest_is_left(everything: int, count: int) -> None:
    inputs = torch.arange(everything, dtype=torch.float32)[:, None]
    data = inputs, torch.arange(everything) % 2
    problem = problem_from_module(nn.Linear(1, 2), data, data)
    rest, judging = held_out(problem)
    assert len(judging) == count
    left, judge = samples(rest.train), samples(judging)
    assert not left & judge and left | judge == set(map(float, range(everything)))
    assert samples(held_out(problem)[1]) == judge
    other = samples(held_out(dataclasses.replace(problem, seed=1))[1])
    assert everything < 10 or other != judge


def test_too_few_to_hold_some_out_are_refused() -> None:
    data = torch.randn(3, 2), torch.arange(3) % 2
    with pytest.raises(UsageError, match=r"at least 4 training samples, .* 3; give an `amount`"):
        held_out(problem_from_module(nn.Linear(2, 2), data, data))


@pytest.mark.parametrize("criterion", ["magnitude", "snip"])
@pytest.mark.parametrize("survivors", SURVIVORS)
def test_what_judges_is_read_by_nothing_else(
    learned: Problem, survivors: str, criterion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the training samples; the test split is read by nothing at all."""
    judged: list[Split] = []

    def seen(problem: Problem, split: Split, *weights: Tensor) -> Any:
        judged.append(split)
        return evaluate(problem, split, *weights)

    for reading in (module, networks_module):
        monkeypatch.setattr(reading, "evaluate", seen)
    found = found_by(learned, criterion=criterion, survivors=survivors)
    _, judging = held_out(learned)
    judge = samples(judging)
    networks = found.networks
    assert not samples(networks.problem.train) & judge
    assert not samples(networks.selection.split) & judge
    if networks.moving is not None:
        windows = networks.moving.windows
        assert not samples(windows.held) & judge
        assert not any(samples(windows.at(number)) & judge for number in range(6))
    # All were judged by the same samples; a loss to be reached is that of the others.
    assert sum(samples(split) == judge for split in judged) == found.tried + 1
    others = sum(not samples(split) & judge for split in judged)
    assert others == (1 if survivors == "trained" else 0)
    assert found.held_out == len(judge) == 200


@pytest.mark.parametrize("pattern", [None, "2:4"])
@pytest.mark.parametrize("survivors", SURVIVORS)
def test_the_network_is_within_with_its_error(
    learned: Problem, survivors: str, pattern: str | None
) -> None:
    found = found_by(learned, survivors=survivors, pattern=pattern)
    _, judging = held_out(learned)
    network = found.network
    drop = paired_drop(
        evaluate(learned, judging), evaluate(network.problem, judging, network.weights)
    )
    assert drop == found.drop
    assert drop.mean + drop.standard_error <= 0.02 + 1e-12
    assert int((~network.mask).sum()) == found.removed > 0
    assert bool((network.weights[~network.mask] == 0).all())
    assert found.removed <= found.networks.top


class Sign(nn.Module):
    """Class 0 where the weighted sum of the inputs is positive: weight i is removed i-th."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WEIGHTS, 1, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.arange(1, WEIGHTS + 1)[None] / WEIGHTS)

    def forward(self, inputs: Tensor) -> Tensor:
        total = self.linear(inputs)
        return torch.cat([total, torch.full_like(total, 1e-6)], dim=-1)


def test_fixed_survivors_are_the_sparsest_and_more_may_go_the_more_may_be_lost() -> None:
    """By trying every count, where a sample is lost with each of the larger weights."""
    owner = 300 + torch.randint(0, 700, (SAMPLES,), generator=torch.Generator().manual_seed(0))
    inputs = torch.zeros(SAMPLES, WEIGHTS)
    inputs[torch.arange(SAMPLES), owner] = 1
    data = inputs, torch.zeros(SAMPLES, dtype=torch.int64)
    problem = problem_from_module(Sign(), data, data)
    _, judging = held_out(problem)
    owners = np.concatenate([x.argmax(1).numpy() for x, _ in judging.batches(500)])
    before = 0
    for within in (0.0, 0.001, 0.005, 0.01, 0.02, 0.1, 0.3, 0.7, 1.0):
        found = found_by(problem, within, min_keep=0)
        lost = [owners < removed for removed in range(WEIGHTS + 1)]
        holds = [
            each.mean() + each.std(ddof=1) / np.sqrt(len(each)) <= within + 1e-12 for each in lost
        ]
        expected = max(removed for removed, ok in enumerate(holds) if ok)
        assert found.removed == expected >= before
        assert found.tried < 40
        before = found.removed
    assert before == WEIGHTS


def test_nothing_goes_where_nothing_may(learned: Problem) -> None:
    inputs, labels = next(iter(learned.train.batches(400)))
    noise = problem_from_module(learned.model, (inputs, labels), (inputs, labels))
    found = sparsest(noise, PruneConfig(criterion="random"), EPSILON, 0.0)
    assert found.drop.mean + found.drop.standard_error <= 0
    assert int((~found.network.mask).sum()) == found.removed


@pytest.mark.parametrize("within", [None, "2pp"])
@pytest.mark.parametrize("survivors", SURVIVORS)
def test_no_choice_of_prune_reads_the_test_split(
    learned: Problem, survivors: str, within: str | None
) -> None:
    """So what is said of it in the end was not chosen by it."""
    about: Any = filled(DataInfo)
    network: Any = filled(ModelInfo)
    loaded = Loaded(
        problem=learned,
        model_info=network,
        data_info=about,
        checkpoint=None,
        description={},
    )
    config = PruneConfig(survivors=survivors, within=within, **FEW)
    found = prune_problem(loaded, config, 0.5, LimitConfig(epsilon="0.05"))
    assert (found.within is not None) is (within is not None)
    if within is None:
        assert int((~found.mask).sum()) == learned.prunable_mask().sum() // 2
    # The problem that is evaluated at last has all its training samples again.
    assert len(found.problem.train) == 400


@pytest.mark.parametrize(("samples", "few"), [(12, True), (20_000, False)])
def test_it_says_where_the_error_alone_ended_the_search(samples: int, few: bool) -> None:
    """The same network and the same share of samples that are lost with each weight."""
    owner = 300 + torch.arange(samples) * 700 // samples
    inputs = torch.zeros(samples, WEIGHTS)
    inputs[torch.arange(samples), owner] = 1
    data = inputs, torch.zeros(samples, dtype=torch.int64)
    loaded = live(problem_from_module(Sign(), data, data), "net")
    config = PruneConfig(within=0.5, min_keep=0)
    pruned = prune_problem(loaded, config, 0.5, LimitConfig(epsilon="0.05"))
    given = {name: each.detach() for name, each in loaded.problem.model.named_parameters()}
    result = pruned_result(loaded, pruned, config, given, Recorder("prune", RunConfig(), config))
    assert any("held out are few" in each for each in result.warnings) is few


class TestCommand:
    def test_it_says_what_was_found(self, prunelimit: Run, trained: Path) -> None:
        command = ("prune", trained, "--within", "1pp", "-o", "p.safetensors", "--json")
        outcome = prunelimit(*command)
        assert outcome.code == 0, outcome.stderr
        document = outcome.document
        jsonschema.Draft202012Validator(schema("prune")).validate(document)
        found = document["within"]
        assert document["amount"] == "within 1pp" and found["tolerance"] == 0.01
        assert found["held_out"] == 1437 // 2 and found["tried"] > 3
        assert found["drop"] + found["standard_error"] <= 0.01
        assert document["reliability"] is None
        assert 0.3 < document["sparsity"] < 1
        assert "on 718 training samples held out; within 1 pp was asked for" in " ".join(
            outcome.stderr.split()
        )
        measured = prunelimit("measure", "p.safetensors", "--sparsities", "0", "--json", "-q")
        assert measured.document["curve"][0]["accuracy"] == document["accuracy_after"]

    def test_it_finds_the_amount_itself(self, prunelimit: Run, trained: Path) -> None:
        outcome = prunelimit("prune", trained, "--within", "1pp", "--amount", "0.5", "-o", "p.pt")
        assert outcome.code == 2 and "leave out --amount" in outcome.stderr
        outcome = prunelimit("prune", trained, "--within", "1", "-o", "p.pt")
        assert outcome.code == 2 and "--within" in outcome.stderr

    @pytest.mark.parametrize(("l1", "seed"), [(None, 0), ("0", 1), ("3e-4", 2)])
    def test_prune_alone_costs_no_more_than_a_point(
        self, prunelimit: Run, trained: Path, l1: str | None, seed: int
    ) -> None:
        """Networks of the digits, with everything at its default."""
        checkpoint = trained
        if l1 is not None:
            checkpoint = Path("other.safetensors")
            options = ("-m", "lenet-300-100", "-d", "digits", "--epochs", "8", "--l1", l1)
            made = prunelimit("train", *options, "--seed", seed, "-q", "-o", checkpoint)
            assert made.code == 0
        outcome = prunelimit("prune", checkpoint, "-o", "p.safetensors", "--json", "-q")
        document = outcome.document
        assert document["drop"] <= 0.01 and document["sparsity"] > 0.2
        assert document["warnings"] == []
        assert document["drop"] == pytest.approx(
            document["accuracy_before"] - document["accuracy_after"]
        )

    def test_a_costly_amount_is_told_with_what_is_better(
        self, prunelimit: Run, trained: Path
    ) -> None:
        outcome = prunelimit("prune", trained, "--amount", "0.97", "-o", "p.pt", "--json")
        (first, *_) = outcome.document["warnings"]
        assert "points of accuracy; " in first and "`within` 0.5pp" in first
        assert "--within 0.5pp" in outcome.stderr and "`" not in outcome.stderr


@pytest.mark.parametrize(
    ("within", "drop", "error", "said"),
    [
        (0.05, 0.02, 0.0, 0),
        (0.005, 0.02, 0.02, 1),
        (0.005, 0.009, 0.001, 1),  # beyond its error
        (0.005, 0.009, 0.003, 0),
        (0.03, 0.031, 0.02, 1),
    ],
)
def test_a_warning_claims_only_what_was_lost_beyond_the_asked(
    within: float, drop: float, error: float, said: int
) -> None:
    before = types.SimpleNamespace(points=True, accuracy=0.9)
    data = types.SimpleNamespace(metric="accuracy")
    found = _warnings(PruneConfig(within=within), Drop(drop, error), before, data, ())
    assert len(found) == said
    assert all(f"more than the {100 * within:g} asked for" in each for each in found)


@pytest.mark.parametrize("held", [10, 200, 598, 599, 5000])
@pytest.mark.parametrize("within", [0.005, 0.02])
def test_so_few_samples_that_a_larger_fall_goes_unseen_are_told(held: int, within: float) -> None:
    """If each of their answers changed with a chance of ``within``, none does more often than in
    one case of twenty."""
    found = Within(tolerance=within, held_out=held, drop=0.0, standard_error=0.0, tried=1)
    data: Any = types.SimpleNamespace(metric="accuracy")
    assert bool(_unseen(found, data)) is ((1 - within) ** held > 0.05)
    assert _unseen(None, data) == []
