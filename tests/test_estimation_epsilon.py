"""The loss tolerance of an accuracy: a network whose path is known, and what cannot be asked."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any, NoReturn

import jsonschema
import numpy as np
import pytest
import torch
from conftest import Outcome
from torch import Tensor, nn

from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, LimitConfig, MeasureConfig
from prunelimit.errors import UsageError
from prunelimit.estimation.epsilon import tolerance_of
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, cross_entropy, evaluate
from prunelimit.measurement import measure
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights
from prunelimit.results.schema import schema
from prunelimit.results.types import Epsilon
from prunelimit.values import EpsilonRule

pytestmark = pytest.mark.slow

WEIGHTS = 1000
QUICK = CurvatureConfig(steps=8, samples=0)

Run = Callable[..., Outcome]


class Sign(nn.Module):
    """Class 0 where the weighted sum of the inputs is positive: weight i is removed i-th."""

    def __init__(self, weights: int) -> None:
        super().__init__()
        self.linear = nn.Linear(weights, 1, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(values(weights)[None])

    def forward(self, inputs: Tensor) -> Tensor:
        total = self.linear(inputs)
        return torch.cat([total, torch.full_like(total, 1e-6)], dim=-1)


def values(weights: int) -> Tensor:
    return torch.arange(1, weights + 1, dtype=torch.float64) / weights


def losing(*lost: int, kept: int = 0, weights: int = WEIGHTS, **settings: Any) -> Problem:
    """A sample that is lost with each of the weights ``lost``, and ``kept`` that never are."""
    inputs = torch.zeros(len(lost) + kept, weights, dtype=torch.float64)
    inputs[torch.arange(len(lost)), torch.tensor(lost)] = 1
    labels = (torch.arange(len(inputs)) >= len(lost)).long()
    data = inputs, labels
    return problem_from_module(Sign(weights), data, data, dtype="float64", **settings)


def tolerance(problem: Problem, rule: str) -> Epsilon:
    return tolerance_of(problem, EpsilonRule.parse(rule), evaluate(problem, problem.train))


def rise(problem: Problem, removed: int) -> float:
    """Of the loss of all training samples, nats."""
    weights = pruned_weights(problem, keep_mask(problem, magnitude_order(problem), removed))
    return evaluate(problem, problem.train, weights).loss - evaluate(problem, problem.train).loss


@pytest.mark.parametrize("lost", [1, 2, 10, 100, 400])
def test_a_known_crossing_is_exact(lost: int) -> None:
    problem = losing(*range(600, 1000))  # weight 600 + j takes sample j with it
    found = tolerance(problem, f"{100 * lost / 400}pp")
    assert found.sparsity == (600 + lost) / WEIGHTS
    assert found.value == pytest.approx(rise(problem, 600 + lost), rel=1e-12)
    assert found.held_out == 400
    assert found.note is None


def test_its_error_is_that_of_a_fall_in_accuracy() -> None:
    problem = losing(*range(600, 1000))
    z = NormalDist().inv_cdf(0.975)

    def bound(side: int, removed: int) -> float:
        change = np.arange(400) < removed - 600
        return float(change.mean() + side * z * change.std(ddof=1) / 20)

    found = tolerance(problem, "10pp")
    lowest = next(m for m in range(1001) if bound(1, m) >= 0.1) - 1
    highest = next(m for m in range(1001) if bound(-1, m) >= 0.1)
    assert found.interval is not None
    assert found.interval == pytest.approx((rise(problem, lowest), rise(problem, highest)))
    assert 0 < found.interval[0] < found.value < found.interval[1]


def test_it_is_the_first_crossing_and_grows_with_the_tolerance() -> None:
    problem = losing(*range(600, 1000))
    inputs, labels = next(iter(problem.train.batches(400)))
    weights = values(WEIGHTS)
    # Ten samples are wrong while from 655 to 658 weights are removed, and right again after that.
    dip = torch.zeros(10, WEIGHTS, dtype=torch.float64)
    for index, value in ((654, 2.0), (658, -1.0), (WEIGHTS - 1, 0.5)):
        dip[:, index] = value / weights[index]
    data = torch.cat([inputs, dip]), torch.cat([labels, torch.zeros(10, dtype=torch.int64)])
    dipping = problem_from_module(Sign(WEIGHTS), data, data, dtype="float64")
    assert tolerance(dipping, f"{100 * 60 / 410}pp").sparsity == 0.655
    before: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    crossed = 0.0
    for points in np.geomspace(0.05, 100, 40):
        found = tolerance(problem, f"{points}pp")
        assert found.sparsity is not None and found.interval is not None
        after = found.sparsity, found.value, *found.interval
        assert all(x <= y + 1e-12 for x, y in zip(before, after, strict=True))
        before = after
        found = tolerance(dipping, f"{points}pp")
        # The loss has the dip too: it is the sparsity that grows.
        assert found.sparsity is not None and found.sparsity >= crossed
        crossed = found.sparsity


@pytest.mark.parametrize(
    ("samples", "held_out"), [(1999, 1999), (2000, 1000), (9000, 1000), (12_005, 1201)]
)
def test_a_part_of_the_training_samples_is_held_out(samples: int, held_out: int) -> None:
    generator = np.random.default_rng(0)
    problem = losing(*generator.integers(50, 500, samples).tolist(), weights=500)
    found = tolerance(problem, "10pp")
    assert found.held_out == held_out
    assert found == tolerance(problem, "10pp")
    other = tolerance(dataclasses.replace(problem, seed=1), "10pp")
    assert (found == other) == (held_out == samples)
    assert found.sparsity is not None and found.interval is not None
    exact = rise(problem, round(found.sparsity * 500))
    # All samples give the loss, up to 10,000 of them.
    assert found.value == pytest.approx(exact, rel=1e-12 if samples <= 10_000 else 0.05)
    assert found.interval[0] < found.value <= found.interval[1]


class Forbidden:
    """A split that nobody may read."""

    def __len__(self) -> NoReturn:
        raise AssertionError("read")

    def batches(self, *_: Any, **__: Any) -> Iterator[Any]:
        raise AssertionError("read")

    def subset(self, *_: Any) -> NoReturn:
        raise AssertionError("read")


@pytest.mark.parametrize("samples", [400, 4000])
def test_the_test_split_is_never_read(samples: int) -> None:
    problem = losing(*[600 + i % 400 for i in range(samples)])
    shut = dataclasses.replace(problem, test=Forbidden())
    assert tolerance(shut, "1pp") == tolerance(problem, "1pp")


def test_predict_and_measure_have_the_same() -> None:
    problem = losing(*[20 + i % 80 for i in range(2400)], weights=100)
    alone = tolerance(problem, "2pp")
    limit = LimitConfig(epsilon="2pp", directional_steps=6)
    assert predict_problem(problem, QUICK, limit).epsilon == alone
    for survivors in ("fixed", "staged"):
        config = MeasureConfig(epsilon="2pp", survivors=survivors, sparsities="0.1", calibration=64)
        assert measure(problem, config).epsilon == alone


@pytest.mark.parametrize("rule", ["pp", "-1pp", "0pp", "200pp", "nanpp", "1.5.pp", "infpp"])
def test_percentage_points_that_make_no_sense_are_refused(rule: str) -> None:
    with pytest.raises(UsageError, match=r"`epsilon` .*pp.* is not understood.*such as 0\.5pp"):
        EpsilonRule.parse(rule)
    for config in (MeasureConfig, LimitConfig):
        with pytest.raises(UsageError, match=r"`epsilon` .*not understood"):
            config(epsilon=rule)


def test_accuracy_that_never_falls_so_far_is_refused() -> None:
    problem = losing(*range(600, 1000), kept=400)
    assert tolerance(problem, "50pp").sparsity == 1
    with pytest.raises(UsageError, match=r"`epsilon` 51pp: .* 800 training samples never falls"):
        tolerance(problem, "51pp")


def test_a_loss_that_does_not_rise_is_refused() -> None:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return -cross_entropy(outputs, labels)

    problem = losing(*range(600, 1000), loss=loss)
    with pytest.raises(UsageError, match=r"has not risen where .* sparsity of 60\.40%.*give more"):
        tolerance(problem, "1pp")

    def overflowing(outputs: Tensor, labels: Tensor) -> Tensor:
        wrong = outputs.argmax(dim=-1) != labels
        return cross_entropy(outputs, labels) + torch.where(wrong, math.inf, 0.1)

    problem = losing(*range(600, 1000), loss=overflowing)
    with pytest.raises(UsageError, match=r"is not finite where .*60\.40%"):
        tolerance(problem, "1pp")


def test_nothing_prunable_is_refused() -> None:
    problem = dataclasses.replace(losing(5, 6, weights=10), prunable=())
    with pytest.raises(UsageError, match="prunable"):
        tolerance(problem, "1pp")


def memorised(scale: float) -> Problem:
    """Two classes told apart by a margin of about ``scale`` nats."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 2
    margin = scale * (1 + 0.1 * torch.rand(600, 1, generator=generator, dtype=torch.float64))
    network = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.eye(2))
    data = nn.functional.one_hot(labels, 2) * margin, labels
    return problem_from_module(network, data, data, dtype="float64")


def test_a_network_that_has_memorised_its_data_gets_a_note() -> None:
    found = tolerance(memorised(7), "batch-std")
    assert found.note is not None
    assert "by heart (loss 0.00065, 100.00% right)" in found.note
    assert "`epsilon` 0.5pp" in found.note
    for rule in ("5%", "0.0001", "10pp"):
        assert tolerance(memorised(7), rule).note is None
    # Of no memorised network: nothing is said.
    random = torch.Generator().manual_seed(0)
    data = torch.randn(600, 2, generator=random), torch.arange(600) % 2
    assert tolerance(problem_from_module(nn.Linear(2, 2), data, data), "batch-std").note is None


def test_the_command_line_takes_percentage_points(prunelimit: Run, trained: Path) -> None:
    quick = ("--steps", "8", "--directional-steps", "6", "--samples", "128")
    assert (
        prunelimit("predict", trained, *quick, "--epsilon", "1pp", "-q", "-o", "p.json").code == 0
    )
    command = ("measure", trained, "--epsilon", "1pp")
    assert prunelimit(*command, "-q", "-o", "m.json").code == 0
    first, second = (json.loads(Path(name).read_text()) for name in ("p.json", "m.json"))
    jsonschema.Draft202012Validator(schema("predict")).validate(first)
    assert first["epsilon"] == second["epsilon"]
    assert first["epsilon"]["rule"] == "1pp"
    assert 0 < first["epsilon"]["sparsity"] < 1
    low, high = first["epsilon"]["interval"]
    assert low < first["epsilon"]["value"] < high
    assert prunelimit("check", "p.json", "m.json").code in (0, 1)
    shown = prunelimit(*command, "--sparsities", "0.5")
    assert shown.code == 0, shown.stderr
    text = " ".join(shown.stderr.split())
    assert "nats (1pp)" in text
    assert "training samples has fallen" in text
    compared = prunelimit(
        *(
            "compare",
            trained,
            "--predicted",
            "p.json",
            "--methods",
            "magnitude",
            "--epsilon",
            "1pp",
        ),
        *("--sparsities", "0.5", "--json"),
    )
    assert compared.code == 0, compared.stderr
    assert compared.document["epsilon"] == first["epsilon"]


@pytest.mark.parametrize("rule", ["pp", "-1pp", "0pp", "200pp"])
@pytest.mark.parametrize("command", ["predict", "measure", "compare", "check", "prune"])
def test_the_command_line_refuses_others(
    prunelimit: Run, trained: Path, command: str, rule: str
) -> None:
    output = ("-o", "out.safetensors") if command == "prune" else ()
    outcome = prunelimit(command, trained, f"--epsilon={rule}", *output)
    assert outcome.code == 2
    assert outcome.stderr.startswith("Error: --epsilon ")
    assert outcome.stderr.count("\n") == 1


def test_compensation_is_damped_by_the_tolerance_of_an_accuracy(
    prunelimit: Run, trained: Path
) -> None:
    quick = ("--cg-steps", "2", "--calibration", "64", "--epsilon", "1pp", "--json", "-q")
    moved = ("prune", trained, "--amount", "0.5", "--survivors", "compensated", *quick)
    pruned = prunelimit(*moved, "-o", "out.safetensors").document
    measured = prunelimit("measure", trained, "--sparsities", "0", "--epsilon", "1pp", "--json")
    assert pruned["compensation"]["epsilon"] == measured.document["epsilon"]["value"]
