"""The samples that carry the GGN: chosen by what they carry, and what the others leave open."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from oracles import all_samples, dense_ggn
from sklearn.datasets import load_digits
from torch import Tensor, nn

from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, LimitConfig, TrainConfig
from prunelimit.curvature import CurvatureProduct, RestrictedProduct
from prunelimit.estimation.estimate import Limits
from prunelimit.estimation.sample_size import Carried, Sampled
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.output_curvature import output_curvature
from prunelimit.inputs.problem import Problem, SampleLoss, cross_entropy, evaluate
from prunelimit.inputs.splits import SplitSubset
from prunelimit.limit.geometry import Transition
from prunelimit.results.types import PredictResult
from prunelimit.training.l1 import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits() -> Problem:
    """A trained network of 1,210 parameters, in float64."""
    data = load_digits()
    both = torch.tensor(data.data / 16.0), torch.tensor(data.target)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    problem = problem_from_module(network, both, both, dtype="float64")
    train(problem, TrainConfig(l1=1e-4, epochs=30), seed=0)
    return problem


def small(loss: Any = cross_entropy, targets: Tensor | None = None) -> Problem:
    torch.manual_seed(0)
    inputs = torch.randn(30, 5)
    targets = torch.arange(30) % 3 if targets is None else targets
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    data = inputs, targets
    return problem_from_module(network, data, data, loss=loss, dtype="float64")


# -- what a sample carries -----------------------------------------------------------------


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).sum(-1)


def smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)


def linear(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs * targets).sum(-1)


def soft(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets)


SOFT = torch.softmax(torch.randn(30, 3, generator=torch.Generator().manual_seed(1)), -1)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (cross_entropy, None),
        (smoothed, None),
        (soft, SOFT),
        (squared, SOFT),
        (linear, SOFT),
    ],
    ids=["labels", "smoothed", "soft", "regression", "linear"],
)
def test_a_samples_trace_is_that_of_its_second_derivative(
    loss: Any, targets: Tensor | None
) -> None:
    problem = small(loss, targets)
    inputs, wanted = all_samples(problem)
    outputs = problem.outputs(inputs).detach()
    found = output_curvature(loss, outputs, wanted)
    for place in range(len(outputs)):
        one = wanted[place : place + 1]
        exact = torch.func.hessian(lambda z, y=one: loss(z[None], y).sum())(outputs[place])
        assert float(found[place]) == pytest.approx(float(exact.diagonal().sum()), abs=1e-12)


def test_for_cross_entropy_it_is_one_less_the_squares_whatever_the_labels() -> None:
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(50) % 7
    expected = 1 - (torch.softmax(logits.double(), -1) ** 2).sum(-1)
    for targets in (labels, labels.flip(0)):
        found = output_curvature(cross_entropy, logits, targets)
        assert torch.allclose(found, expected, atol=1e-12)


def test_with_many_outputs_random_signs_are_close() -> None:
    logits = torch.randn(40, 1000, generator=torch.Generator().manual_seed(3))
    found = output_curvature(cross_entropy, logits, torch.arange(40))
    expected = 1 - (torch.softmax(logits.double(), -1) ** 2).sum(-1)
    assert torch.allclose(found, expected, rtol=0.2)
    again = output_curvature(cross_entropy, logits, torch.arange(40))
    assert torch.equal(found, again)


# -- the order -----------------------------------------------------------------------------


def test_the_largest_come_first_and_equal_ones_in_order() -> None:
    problem = small()
    traces = np.array([0.1, 0.5, 0.5, 0.0, 0.9] * 6)
    carried = Carried(problem.train, traces)
    assert carried.order[:18].tolist() == [
        *range(4, 30, 5),
        *sorted([*range(1, 30, 5), *range(2, 30, 5)]),
    ]
    shares = [carried.share(count) for count in range(31)]
    assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)
    for share in (0.2, 0.5, 0.99):
        count = carried.count(share)
        assert carried.share(count) >= share > carried.share(count - 1)
    assert carried.first(30) is problem.train and len(carried.first(7)) == 7


def test_where_nothing_is_carried_nothing_is_divided() -> None:
    carried = Carried(small().train, np.zeros(30))
    assert carried.share(1) == carried.share(30) == 1.0
    assert carried.count(0.5) == 1


# -- the matrix ----------------------------------------------------------------------------


def test_a_part_at_its_weight_lies_below_the_whole_and_grows() -> None:
    problem = small()
    traces = evaluate(problem, problem.train, curvatures=True).curvatures
    assert traces is not None
    carried = Carried(problem.train, traces)
    identity = torch.eye(problem.layout.size, dtype=torch.float64)
    before = torch.zeros_like(identity)
    for count in (3, 10, 29, 30):
        product = CurvatureProduct(problem, carried.first(count), "ggn", count=30)
        matrix = torch.stack([product(row) for row in identity])
        assert float(torch.linalg.eigvalsh(matrix - before).min()) > -1e-12
        before = matrix
    assert torch.allclose(before, dense_ggn(problem), atol=1e-12)


def test_the_restricted_product_is_a_block_of_the_matrix() -> None:
    problem = small()
    own = CurvatureProduct(problem, problem.train, "ggn")
    mask = problem.prunable_mask()
    product = RestrictedProduct(own, mask.to(torch.float64), int(mask.sum()))
    identity = torch.eye(problem.layout.size, dtype=torch.float64)
    found = torch.stack([product(row) for row in identity])
    expected = dense_ggn(problem) * mask * mask[:, None]
    assert torch.allclose(found, expected, atol=1e-12)
    assert product.dimension == 5 * 4 + 4 * 3


# -- the limit -----------------------------------------------------------------------------


KNOWN: dict[Any, PredictResult] = {}


def limit(problem: Problem, samples: int | None, **given: Any) -> PredictResult:
    """Read once for the same question: at the depth of a first reading, which bounds and
    comparisons are about."""
    key = (id(problem), samples, *given.items())
    if key not in KNOWN:
        config = LimitConfig(**{"tolerance": "2pp", **given})
        KNOWN[key] = predict_problem(problem, CurvatureConfig(samples=samples), config)
    return KNOWN[key]


def test_limits_of_the_samples_alone_fall_as_their_number_grows(digits: Problem) -> None:
    found = [limit(digits, count, no_drift=True).limit.sparsity for count in (60, 200, 600, 1797)]
    assert found == sorted(found, reverse=True) and found[0] > found[-1] + 0.01


@pytest.mark.parametrize("samples", [20, 40, 100, 200, 600])
def test_the_interval_from_some_holds_the_limit_of_all(digits: Problem, samples: int) -> None:
    everything = limit(digits, 0).limit.sparsity
    found = limit(digits, samples)
    low, high = found.limit.interval
    assert low <= everything <= high
    assert found.curvature.carried is not None and found.curvature.carried < 1
    # The reading alone is an upper bound; what is taken off brings it nearer.
    if samples >= 100:
        alone = limit(digits, samples, no_drift=True).limit.sparsity
        assert abs(found.limit.sparsity - everything) < alone - everything


def test_chosen_samples_say_more_than_a_uniform_draw(digits: Problem) -> None:
    everything = limit(digits, 0).limit.sparsity
    draw = digits.train.subset(300, 0)
    uniform = predict_problem(
        dataclasses.replace(digits, train=draw),
        CurvatureConfig(samples=0),
        LimitConfig(tolerance="2pp", epsilon=repr(limit(digits, 0).epsilon.value)),
    ).limit.sparsity
    chosen = limit(digits, 300).limit.sparsity
    assert abs(chosen - everything) < 0.2 * abs(uniform - everything)


def test_a_network_that_is_sure_of_everything_is_told(digits: Problem) -> None:
    model = nn.Sequential(nn.Linear(5, 3, bias=False))
    inputs = torch.eye(5)[torch.arange(300) % 3]
    with torch.no_grad():
        model[0].weight.copy_(1e4 * torch.eye(3, 5))
    data = inputs, torch.arange(300) % 3
    problem = problem_from_module(model, data, data, dtype="float64")
    found = limit(problem, None, epsilon="0.01")
    assert not found.reliability.ok
    assert any("sure of every training sample" in each for each in found.reliability.reasons)


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().sum(-1)


def squared_hinge(outputs: Tensor, targets: Tensor) -> Tensor:
    """Flat where every answer is right by a margin, and bent elsewhere."""
    return (1 - targets * outputs).clamp(min=0).square().sum(-1)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (absolute, "The loss has no second derivative in the outputs"),
        (squared_hinge, "The network is sure of every training sample"),
    ],
)
def test_why_the_ggn_is_zero_is_told(loss: SampleLoss, said: str) -> None:
    model = nn.Linear(5, 3, bias=False)
    inputs = torch.eye(5)[torch.arange(300) % 5]
    wanted = torch.tensor([[1.0, -1, 1], [-1, 1, 1], [1, 1, -1], [-1, -1, 1], [1, -1, -1]])
    with torch.no_grad():
        model.weight.copy_(4 * wanted.T)
    data = inputs, wanted[torch.arange(300) % 5]
    problem = problem_from_module(model, data, data, dtype="float64", loss=loss)
    found = limit(problem, None, epsilon="0.01")
    assert not found.reliability.ok
    told = [each for each in found.reliability.reasons if said in each]
    assert len(told) == 1, found.reliability.reasons


def test_the_order_of_the_data_does_not_matter(digits: Problem) -> None:
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(5))
    shuffled = dataclasses.replace(digits, train=SplitSubset(digits.train, order))
    given = {"epsilon": "0.005"}
    first, second = (limit(each, 500, **given) for each in (digits, shuffled))
    assert second.limit.sparsity == pytest.approx(first.limit.sparsity, abs=2e-3)
    assert second.curvature.carried == pytest.approx(first.curvature.carried, abs=1e-9)


@pytest.mark.parametrize(
    ("removed", "apart", "lowered"),
    [
        (9_000, 190, 0),  # two in a hundred of 10,000, and fewer than are left
        (9_000, 210, 105),
        (9_950, 50, 0),
        (9_950, 60, 30),  # more than the 50 that are left
        (9_950, 61, 31),
    ],
)
def test_a_limit_leans_by_points_or_by_the_weights_that_are_left(
    removed: int, apart: int, lowered: int
) -> None:
    key = ("directional", "ggn")
    given = Transition(removed, {"probe": (1, 1)}, 10_000)
    sampled = Sampled(None, None, {}, leaning={key: apart})  # type: ignore[arg-type]
    found = sampled.corrected(Limits({}, {key: given})).transitions[key]
    assert found.removed == removed - lowered
    assert found.ends.get("network", (0, 0)) == (lowered, lowered)
    assert sampled.alone(key, found) == removed - apart  # the limit's place does not move it


def test_no_limit_is_known_where_none_was_looked_at() -> None:
    sampled = Sampled(None, None, {})  # type: ignore[arg-type]
    assert sampled.alone(("directional", "ggn"), Transition(1, {}, 2)) is None
