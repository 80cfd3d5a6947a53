"""Criteria that train, iterative magnitude pruning and Rare Gems, against twins in plain loops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prunelimit.config import MeasureConfig
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.measurement import measure
from prunelimit.pruning.criteria import imp, rare_gems
from prunelimit.pruning.custom import find_criterion
from prunelimit.pruning.layers import prunable_part
from prunelimit.pruning.rounds import removal_order, rounds
from prunelimit.pruning.selection import Selection
from prunelimit.randomness import generator
from prunelimit.values import Method


def tiny(seed: int = 0, samples: int = 24, hidden: int = 5) -> Problem:
    """Labels that the first two of six inputs decide; weights as initialised."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, hidden), nn.Tanh(), nn.Linear(hidden, 2))
    inputs = torch.randn(samples, 6)
    data = inputs, (inputs[:, 0] * 2 + inputs[:, 1] > 0).long()
    return problem_from_module(network, data, data, batch_size=samples, dtype="float64", seed=seed)


def adam(
    start: list[Tensor],
    loss: Callable[[list[Tensor]], Tensor],
    masks: list[Tensor],
    steps: int,
    lr: float,
    clip: bool = False,
) -> list[Tensor]:
    """Kingma and Ba's algorithm 1, on several tensors, entries of ``masks`` zero held."""
    values = [each.clone() for each in start]
    first = [torch.zeros_like(each) for each in start]
    second = [torch.zeros_like(each) for each in start]
    for step in range(1, steps + 1):
        leaves = [each.clone().requires_grad_() for each in values]
        gradients = torch.autograd.grad(loss(leaves), leaves)
        for i, (gradient, mask) in enumerate(zip(gradients, masks, strict=True)):
            gradient = gradient * mask
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            mean, square = first[i] / (1 - 0.9**step), second[i] / (1 - 0.999**step)
            values[i] = values[i] - lr * mean / (square.sqrt() + 1e-8)
            if clip:
                values[i] = values[i].clamp(0, 1)
    return values


def in_rounds(count: int, share: float, least: int, judge: Callable[[Tensor], Tensor]) -> list[int]:
    """The order of removal, one weight at a time."""
    left, order = list(range(count)), []
    while left:
        mask = torch.zeros(count)
        mask[left] = 1
        scores = judge(mask)
        left.sort(key=lambda i: (float(scores[i]), i))
        number = max(1, len(left) - int(share * len(left)))
        if len(left) - number < least:
            number = len(left)
        order += left[:number]
        left = sorted(left[number:])
    return order


def order_of(criterion: str, problem: Problem) -> list[int]:
    """The order of removal that a criterion's scores make."""
    scores = find_criterion(criterion).scores(problem, problem.train, problem.seed)
    return [int(place) for place in scores.argsort()]


def test_rounds_end_where_few_are_left() -> None:
    assert rounds(100, 0.5, 10) == 4  # 50, 25, 12, none
    asked = []

    def judge(kept: Tensor) -> Tensor:
        asked.append(int(kept.sum()))
        return torch.arange(100.0, dtype=torch.float64) + 1

    every = torch.ones(100, dtype=torch.bool)
    assert removal_order(judge, every, 0.5, least=10).tolist() == list(range(100))
    assert asked == [100, 50, 25, 12]


def test_iterative_magnitude_pruning_is_its_loop() -> None:
    problem = tiny()
    inputs, targets = next(problem.train.batches(24))
    start = [each.detach().clone() for each in problem.model.parameters()]

    def loss(tensors: list[Tensor]) -> Tensor:
        hidden = torch.tanh(inputs @ tensors[0].T + tensors[1])
        return nn.functional.cross_entropy(hidden @ tensors[2].T + tensors[3], targets)

    def judge(mask: Tensor) -> Tensor:
        kept = [mask[:30].view(5, 6), torch.ones(5), mask[30:].view(2, 5), torch.ones(2)]
        begin = [value * each for value, each in zip(start, kept, strict=True)]  # rewound
        found = adam(begin, loss, kept, imp.PASSES, imp.LR)
        return torch.cat([found[0].reshape(-1), found[2].reshape(-1)]).abs()

    assert order_of("imp", problem) == in_rounds(40, imp.KEPT_PER_ROUND, 1, judge)


def test_rare_gems_is_its_loop() -> None:
    problem = tiny()
    inputs, targets = next(problem.train.batches(24))
    held = [each.detach().clone() for each in problem.model.parameters()]
    values = torch.rand(40, generator=generator(0, "gem scores"), dtype=torch.float64)

    def loss(tensors: list[Tensor]) -> Tensor:
        (scores,) = tensors
        hard = rare_gems.rounded(scores)
        first, second = held[0] * hard[:30].view(5, 6), held[2] * hard[30:].view(2, 5)
        hidden = torch.tanh(inputs @ first.T + held[1])
        error = nn.functional.cross_entropy(hidden @ second.T + held[3], targets)
        return error + rare_gems.PENALTY * (scores**2).sum()

    def judge(mask: Tensor) -> Tensor:
        nonlocal values
        begin = [values * mask]
        (values,) = adam(begin, loss, [mask], rare_gems.PASSES, rare_gems.LR, clip=True)
        return values

    assert order_of("rare-gems", problem) == in_rounds(40, rare_gems.KEPT_PER_ROUND, 1, judge)


def test_rounding_is_straight_through() -> None:
    scores = torch.tensor([0.0, 0.49, 0.5, 1.0], requires_grad=True)
    hard = rare_gems.rounded(scores)
    assert hard.tolist() == [0, 0, 1, 1]
    (gradient,) = torch.autograd.grad((hard * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum(), scores)
    assert gradient.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("criterion", ["imp", "rare-gems"])
def test_judging_changes_no_weight_and_is_the_same_again(criterion: str) -> None:
    problem = tiny()
    before = problem.vector().clone()
    first, second = (order_of(criterion, problem) for _ in range(2))
    assert first == second and torch.equal(problem.vector(), before)
    assert not any(each.grad is not None for each in problem.model.parameters())


def test_gems_are_better_than_chance_without_training() -> None:
    """Masks alone make a network of random weights learn (Ramanujan et al. 2020)."""
    problem = tiny(samples=600, hidden=40)
    losses = {}
    for criterion in ("rare-gems", "random"):
        selection = Selection(problem, Method(criterion))
        weights = selection.weights(selection.mask(160))
        losses[criterion] = evaluate(problem, problem.train, weights).loss
    dense = evaluate(problem, problem.train).loss
    assert losses["rare-gems"] < 0.85 * min(dense, losses["random"])


def test_tickets_spare_what_training_needs() -> None:
    """Inputs that say nothing lose more of their weights than those that decide."""
    problem = tiny(samples=3000)
    kept = prunable_part(problem, Selection(problem, Method("imp")).mask(20))[:30].view(5, 6)
    shares = kept.double().mean(0)
    assert shares[:2].mean() > shares[2:].mean()


def test_passes_are_counted() -> None:
    problem = tiny()
    config = MeasureConfig(criterion="imp", sparsities="0,0.5", epsilon="0.05")
    spent = measure(problem, config).cost.epochs
    assert spent == imp.PASSES * rounds(40, imp.KEPT_PER_ROUND, 1)


def test_the_papers_baselines_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from prunelimit.cli.main import main

    def run(*arguments: object) -> dict[str, object]:
        assert main([str(each) for each in arguments]) == 0
        return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]

    network = tmp_path / "network.safetensors"
    given = ("train", "-m", "lenet-300-100", "-d", "digits", "--epochs", "1", "--seed", "0")
    run(*given, "--train-samples", "300", "-o", network, "--json", "-q")
    pruned = tmp_path / "pruned.safetensors"
    methods = [
        "random/smart-ratio+trained",
        "magnitude/dimap",
        "magnitude/owl",
        "wanda/ecoflap",
        "magnitude/block:4x4",
        "snip/erk/block:2x8+trained",
    ]
    for name in methods:
        method = Method.parse(name)
        options = ["--criterion", method.criterion, "--survivors", method.survivors]
        options += ["--allocation", method.allocation] if method.allocation else []
        options += ["--pattern", method.pattern] if method.pattern else []
        few = ("--calibration", "50", "--refit-passes", "2", "--json", "-q", "--force")
        found = run("prune", network, "--amount", "0.7", *options, *few, "-o", pruned)
        assert found["method"] == name and found["sparsity"] == pytest.approx(0.7, abs=1e-5)
        assert found["allocation"] == (method.allocation or "global")
    compared = run(
        *("compare", network, "--methods", ",".join(methods), "--sparsities", "0,0.5"),
        *("--calibration", "50", "--refit-passes", "1", "--json", "-q", "-o", tmp_path / "c.json"),
        *("--steps", "5", "--samples", "100", "--no-drift", "--directional-steps", "3"),
    )
    assert [each["method"] for each in compared["methods"]] == methods  # type: ignore[attr-defined]
