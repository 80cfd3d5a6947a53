"""Losses, metrics and curvature for targets and inputs of every kind, against slow second ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import dense_ggn, dense_hessian
from sklearn.metrics import accuracy_score, hamming_loss, jaccard_score, r2_score
from torch import Tensor, nn
from torch.utils.data import DataLoader

import prunelimit as pl
from prunelimit import plugins
from prunelimit.curvature import CurvatureProduct
from prunelimit.errors import InputError, NumericalError, UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.loss import Form, Loss
from prunelimit.inputs.output_curvature import output_curvature
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.pruning.criteria.obd import ggn_diagonal
from prunelimit.pruning.criterion import Criterion

COUNT = 23
"""Samples: batches of 6 leave a ragged last one."""


def noise(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def draws(most: int, *shape: int) -> Tensor:
    return torch.randint(0, most, shape, generator=torch.Generator().manual_seed(5))


class Tokens(nn.Module):
    """Logits (n, T, 4) of every position, or (n, 4, T)."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.table, self.inner = nn.Embedding(5, 3), nn.Linear(3, 4)
        self.last = last

    def forward(self, codes: Tensor) -> Tensor:
        found: Tensor = self.inner(self.table(codes).tanh())
        return found if self.last else found.transpose(1, 2)


class Bags(nn.Module):
    """Attention over the instances of a bag; what is padded does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.top = nn.Linear(2, 1), nn.Linear(2, 3)

    def forward(self, instances: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = self.attention(instances.tanh())[..., 0]
        if mask is not None:
            scores = scores.masked_fill(~mask, -1e9)
        pooled = (scores.softmax(1)[..., None] * instances.tanh()).sum(1)
        found: Tensor = self.top(pooled)
        return found


class Two(nn.Module):
    """Two inputs, and outputs with .logits beside other things."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.left, self.right, self.form = nn.Linear(3, 2), nn.Linear(4, 2), form

    def forward(self, left: Tensor, right: Tensor) -> Any:
        found = self.left(left).tanh() + self.right(right).sin()
        if self.form == "tuple":
            return found, left
        if self.form == "dict":
            return {"hidden": left, "logits": found}
        return type("Outputs", (), {"logits": found})()


def perceptron(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, outputs))


def ragged_bags() -> list[tuple[Tensor, int]]:
    sizes = [1 + k % 4 for k in range(COUNT)]
    rows = noise(sum(sizes), 2)
    return [(bag, k % 3) for k, bag in enumerate(rows.split(sizes))]


def padded(samples: list[tuple[Tensor, int]]) -> tuple[dict[str, Tensor], Tensor]:
    bags = nn.utils.rnn.pad_sequence([bag for bag, _ in samples], batch_first=True)
    sizes = torch.tensor([len(bag) for bag, _ in samples])
    mask = torch.arange(bags.shape[1]) < sizes[:, None]
    return {"instances": bags, "mask": mask}, torch.tensor([label for _, label in samples])


def ignoring(targets: Tensor, value: int = -100) -> Tensor:
    """Some positions of every sample do not count, but never all."""
    flat = targets.flatten(1).clone()
    flat[:, 1] = value
    flat[::2, 2] = value
    return flat.view_as(targets)


def log_cosh(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).cosh().log().sum(1)


def bags_alone() -> DataLoader[Any]:
    return DataLoader(ragged_bags(), batch_size=1)  # type: ignore[arg-type]


def bags_listed() -> tuple[list[Tensor], Tensor]:
    bags, labels = zip(*ragged_bags(), strict=True)
    return list(bags), torch.tensor(labels)


def bags_padded() -> DataLoader[Any]:
    return DataLoader(ragged_bags(), batch_size=5, collate_fn=padded)  # type: ignore[arg-type]


Case = tuple[Callable[[], nn.Module], Callable[[], Any], dict[str, Any], str, str]

CASES: dict[str, Case] = {
    "one number": (lambda: perceptron(1), lambda: (noise(COUNT, 4), noise(COUNT)), {}, "mse", "r2"),
    "numbers": (lambda: perceptron(2), lambda: (noise(COUNT, 4), noise(COUNT, 2)), {}, "mse", "r2"),
    "huber": (
        lambda: perceptron(2), lambda: (noise(COUNT, 4), 2 * noise(COUNT, 2)), {"loss": "huber"},
        "huber", "r2",
    ),
    "answers": (
        lambda: perceptron(3), lambda: (noise(COUNT, 4), draws(2, COUNT, 3).double()), {},
        "bce", "label-accuracy",
    ),
    "answers, integers": (
        lambda: perceptron(3), lambda: (noise(COUNT, 4), draws(2, COUNT, 3)), {},
        "bce", "label-accuracy",
    ),
    "answers, bool": (
        lambda: perceptron(3), lambda: (noise(COUNT, 4), draws(2, COUNT, 3).bool()), {},
        "bce", "label-accuracy",
    ),
    "probabilities": (
        lambda: perceptron(3), lambda: (noise(COUNT, 4), noise(COUNT, 3).softmax(1)), {},
        "cross-entropy", "accuracy",
    ),
    "tokens": (
        lambda: Tokens(last=True),
        lambda: (draws(5, COUNT, 6), ignoring(draws(4, COUNT, 6))), {},
        "cross-entropy", "accuracy",
    ),
    "tokens, classes first": (
        lambda: Tokens(last=False),
        lambda: (draws(5, COUNT, 6), ignoring(draws(4, COUNT, 6), 255)), {"ignore_index": 255},
        "cross-entropy", "accuracy",
    ),
    "masks": (
        lambda: nn.Conv2d(1, 3, 3, padding=1),
        lambda: (noise(COUNT, 1, 3, 4), ignoring(draws(3, COUNT, 3, 4))), {"metric": "mean-iou"},
        "cross-entropy", "mean-iou",
    ),
    "bags, padded": (Bags, bags_padded, {}, "cross-entropy", "accuracy"),
    "bags, one by one": (Bags, bags_alone, {}, "cross-entropy", "accuracy"),
    "bags, in a list": (Bags, bags_listed, {}, "cross-entropy", "accuracy"),
    "bags, with their labels": (Bags, ragged_bags, {}, "cross-entropy", "accuracy"),
    "tuple": (
        lambda: Two("tuple"),
        lambda: ((noise(COUNT, 3), noise(COUNT, 4)), draws(2, COUNT)), {},
        "cross-entropy", "accuracy",
    ),
    "dict": (
        lambda: Two("dict"),
        lambda: ({"right": noise(COUNT, 4), "left": noise(COUNT, 3)}, draws(2, COUNT)), {},
        "cross-entropy", "accuracy",
    ),
    "logits": (
        lambda: Two("logits"),
        lambda: ((noise(COUNT, 3), noise(COUNT, 4)), noise(COUNT, 2)), {"loss": log_cosh},
        "log_cosh", "r2",
    ),
}  # fmt: skip

each_case = pytest.mark.parametrize("case", CASES)


def problem(case: str, **options: Any) -> Problem:
    make, data, given, _, _ = CASES[case]
    torch.manual_seed(1)
    network = make().double()
    chosen = {"dtype": "float64", "batch_size": 6, "embeddings": True, **given, **options}
    return problem_from_module(network, data(), data(), **chosen)


def samples(given: Problem) -> list[tuple[Tensor, Tensor]]:
    """Outputs and target of every sample by itself."""
    with torch.no_grad():
        return [(given.outputs(inputs), targets) for inputs, targets in given.train.batches(1)]


def plainly(case: str, outputs: Tensor, target: Tensor) -> float:
    """The loss of one sample, position by position."""
    name, ignored = CASES[case][3], CASES[case][2].get("ignore_index", -100)
    if name == "log_cosh":
        return float(log_cosh(outputs, target))
    if name != "cross-entropy":
        apart = outputs.flatten() - target.flatten()
        each = {
            "mse": lambda: apart**2,
            "huber": lambda: torch.where(apart.abs() < 1, apart**2 / 2, apart.abs() - 0.5),
            "bce": lambda: (
                -torch.where(
                    target.flatten() > 0,
                    outputs.flatten().sigmoid(),
                    1 - outputs.flatten().sigmoid(),
                ).log()
            ),
        }[name]()
        return float(each.mean())
    if target.is_floating_point():
        return float(-(target * outputs.log_softmax(1)).sum())
    rows = outputs
    if outputs.ndim > 2:
        rows = outputs[0] if case == "tokens" else outputs[0].flatten(1).T
    each = [
        -row.log_softmax(0)[label]
        for row, label in zip(rows, target.flatten(), strict=True)
        if int(label) != ignored
    ]
    return float(torch.stack(each).mean())


@each_case
def test_what_is_chosen_and_what_it_comes_to(case: str, caplog: pytest.LogCaptureFixture) -> None:
    given = problem(case)
    _, _, options, loss, metric = CASES[case]
    names = [getattr(each, "name", None) or each.__name__ for each in (given.loss, given.metric)]
    assert names == [loss, metric]
    labels = metric == "accuracy" and samples(given)[0][1].ndim == 1
    told = not {"loss", "metric"} <= set(options) and not (
        labels and not samples(given)[0][1].is_floating_point()
    )
    assert told == any(each.startswith("The targets are") for each in caplog.messages)
    found = evaluate(given, given.train)
    expected = [plainly(case, *each) for each in samples(given)]
    np.testing.assert_allclose(found.losses, expected, rtol=1e-9)


@each_case
@pytest.mark.parametrize("route", ["double-backward", "recorded"])
def test_hessian_and_ggn_are_the_dense_matrices(case: str, route: str) -> None:
    given = problem(case)
    whole = given
    if case.startswith("bags"):
        whole = problem("bags, padded")
    for kind, oracle in (("hessian", dense_hessian), ("ggn", dense_ggn)):
        product = CurvatureProduct(given, given.train, kind, route=route)
        unit = torch.eye(product.dimension, dtype=torch.float64)
        torch.testing.assert_close(product(unit), oracle(whole), rtol=1e-8, atol=1e-11)


@each_case
def test_what_a_sample_carries_is_the_trace_in_its_outputs(case: str) -> None:
    given = problem(case)
    found = evaluate(given, given.train, curvatures=True).curvatures
    expected = []
    for outputs, target in samples(given):

        def loss(flat: Tensor, y: Tensor = target, shape: torch.Size = outputs.shape) -> Tensor:
            return given.loss(flat.view(shape), y).sum()

        expected.append(float(torch.func.hessian(loss)(outputs.flatten()).trace()))
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@each_case
def test_the_ggns_diagonal_is_exact(case: str) -> None:
    given = problem(case)
    found = ggn_diagonal(given, given.train, 0)
    whole = problem("bags, padded") if case.startswith("bags") else given
    if case == "masks":  # 36 outputs: read from random signs
        torch.testing.assert_close(found.sum(), dense_ggn(whole).diagonal().sum(), rtol=0.3, atol=0)
        return
    torch.testing.assert_close(found, dense_ggn(whole).diagonal(), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("criterion", plugins.names("criterion"))
@pytest.mark.parametrize("case", ["bags, padded", "bags, one by one", "tuple", "dict", "tokens"])
def test_every_criterion_reads_such_inputs(case: str, criterion: str) -> None:
    given = problem(case, embeddings=False)
    kind: Criterion = plugins.find("criterion", criterion)
    if (case, criterion) == ("tokens", "synflow"):  # ones are no codes
        with pytest.raises(InputError, match="choose another"):
            kind.scores(given, given.train, 0)
        return
    found = kind.scores(given, given.train, 0)
    assert found.shape == (int(given.prunable_mask().sum()),)
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("survivors", ["layerwise", "compensated", "staged", "trained"])
@pytest.mark.parametrize("case", ["bags, padded", "bags, one by one", "tokens", "logits"])
def test_survivors_of_such_networks_move(case: str, survivors: str) -> None:
    make, data, options, _, _ = CASES[case]
    torch.manual_seed(1)
    given = pl.Problem(make().double(), data(), data(), dtype="float64", **options)
    found = pl.prune(given, amount=0.4, survivors=survivors, epsilon=0.05)
    prunable = found.result.model.prunable
    assert found.result.nonzero == prunable - round(0.4 * prunable)


@pytest.mark.parametrize("name", plugins.names("loss"))
@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4), (5, 4, 2, 3)])
def test_a_divergence_is_least_at_the_dense_outputs(name: str, shape: tuple[int, ...]) -> None:
    """Zero there, with the loss's own curvature; the distance is quadratic."""
    loss: Loss = dataclasses.replace(plugins.find("loss", name), form=Form(axis=1))
    dense, apart = noise(*shape), noise(*shape).roll(1, 0)
    assert torch.equal(loss.of_divergence(dense, dense), torch.zeros(5, dtype=torch.float64))
    assert bool((loss.of_divergence(dense + apart, dense) > 0).all())
    near = 1e-4
    targets = dense.argmax(1) if name == "cross-entropy" else dense
    root = loss.root(dense, targets, loss.form, torch.zeros_like(dense))
    assert root.shape == dense.shape
    twice = loss.of_distance(dense + 2 * apart, dense)
    torch.testing.assert_close(twice, 4 * loss.of_distance(dense + apart, dense))

    def rise(flat: Tensor) -> Tensor:
        return loss.of_divergence(flat.view(shape), dense).sum()

    def own(flat: Tensor) -> Tensor:
        return loss(flat.view(shape), targets).sum()

    flat = dense.flatten()
    bends = [torch.func.hessian(each)(flat) for each in (rise, own)]
    torch.testing.assert_close(*bends, rtol=1e-7, atol=near * near)


def test_metrics_are_scikit_learns() -> None:
    given = problem("numbers")
    outputs, targets = (torch.cat(each).numpy() for each in zip(*samples(given), strict=True))
    found = evaluate(given, given.train)
    assert found.accuracy == pytest.approx(r2_score(targets, outputs), rel=1e-9)
    assert found.points and found.correct.shape == (COUNT,)
    assert not evaluate(problem("numbers", metric="negative-mse"), given.train).points

    given = problem("answers")
    outputs, targets = (torch.cat(each).numpy() for each in zip(*samples(given), strict=True))
    expected = 1 - hamming_loss(targets, outputs > 0)
    assert evaluate(given, given.train).accuracy == pytest.approx(expected)

    for metric in ("mean-iou", "accuracy"):
        given = problem("masks", metric=metric)
        each = []
        for outputs, target in samples(given):
            counted = target.flatten() != -100
            pair = target.flatten()[counted], outputs.argmax(1).flatten()[counted]
            score = (
                accuracy_score(*pair)
                if metric == "accuracy"
                else jaccard_score(*pair, average="macro", labels=np.union1d(*pair))
            )
            each.append(score)
        np.testing.assert_allclose(evaluate(given, given.train).correct, each, rtol=1e-12)


def test_r2_of_targets_that_are_all_the_same_is_refused() -> None:
    data = noise(8, 4), torch.full((8,), 2.5)
    given = problem_from_module(perceptron(1), data, data)
    with pytest.raises(UsageError, match="give `metric` negative-mse"):
        evaluate(given, given.test)


def test_outputs_that_are_no_numbers_score_the_worst() -> None:
    given = problem("numbers")
    lost = torch.full((given.layout.size,), torch.nan, dtype=torch.float64)
    assert np.isfinite(evaluate(given, given.train, lost).correct).all()
    assert evaluate(given, given.train, lost).accuracy < -1e20


def test_a_score_of_ones_own_may_be_any_number() -> None:
    given = problem("numbers", metric=lambda outputs, targets: -(outputs - targets).abs().sum(1))
    found = evaluate(given, given.train)
    assert found.accuracy < 0 and not found.points
    inside = problem("numbers", metric=lambda outputs, targets: outputs[:, 0].sigmoid())
    assert evaluate(inside, inside.train).points


def test_random_signs_of_a_sample_do_not_depend_on_its_batch() -> None:
    """A loss of one's own with more outputs than are gone through one by one."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets[:, None]).cosh().log().sum(1) + outputs.sin().prod(1)

    outputs, targets = noise(6, 300), noise(6)
    whole = output_curvature(loss, outputs, targets)
    parts = [output_curvature(loss, outputs[k : k + 2], targets[k : k + 2]) for k in (0, 2, 4)]
    torch.testing.assert_close(whole, torch.cat(parts))


class Mean(nn.Module):
    """A bag's mean with what it is padded with."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(2, 3)

    def forward(self, instances: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.top(instances.mean(1))
        return found


REFUSED: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], dict[str, Any], str]] = {
    "padding that counts": (Mean, bags_padded, {}, "let it ignore padding"),
    "more bags than labels": (
        Bags, lambda: (bags_listed()[0], draws(3, COUNT - 1)), {}, "samples but",
    ),
    "bags or several inputs": (
        Bags, lambda: ([noise(5, 2) for _ in range(5)], draws(3, 5)), {}, "stack the samples",
    ),
    "a bag with nothing in it": (
        Bags, lambda: ([*bags_listed()[0], noise(0, 2)], draws(3, COUNT + 1)), {}, "nothing in",
    ),
    "a bag with a NaN": (
        Bags, lambda: ([*bags_listed()[0], noise(2, 2) * torch.nan], draws(3, COUNT + 1)), {},
        "NaN or infinity in sample",
    ),
    "labels as numbers": (
        lambda: perceptron(3), lambda: (noise(20, 4), draws(3, 20).double()), {},
        "class numbers of an integer type",
    ),
    "outputs of another size": (
        lambda: perceptron(3), lambda: (noise(20, 4), noise(20, 2)), {}, "do not go together",
    ),
    "classes of other positions": (
        lambda: Tokens(last=True), lambda: (draws(5, 20, 6), draws(4, 20, 5)), {},
        r"\(classes, ...\) or \(..., classes\)",
    ),
    "a loss that averages": (
        lambda: perceptron(2), lambda: (noise(20, 4), noise(20, 2)), {"loss": nn.MSELoss()},
        "one number per sample",
    ),
    "a loss that is none": (
        lambda: perceptron(2), lambda: (noise(20, 4), noise(20, 2)), {"loss": "msee"},
        "did you mean mse",
    ),
    "a metric that averages": (
        lambda: perceptron(2), lambda: (noise(20, 4), noise(20, 2)),
        {"metric": lambda outputs, targets: 1.0}, "one number per sample",
    ),
    "a metric that fails": (
        lambda: perceptron(2), lambda: (noise(20, 4), noise(20, 2)),
        {"metric": lambda outputs, targets: outputs @ targets}, "`metric` fails",
    ),
    "nothing that counts": (
        lambda: Tokens(last=True),
        lambda: (draws(5, 20, 6), torch.full((20, 6), -100)), {},
        "the ignored target -100 in sample 0",
    ),
    "a target that is no number": (
        lambda: perceptron(1), lambda: (noise(20, 4), torch.full((20,), torch.nan)), {},
        "target of sample 0",
    ),
    "a sigmoid at the end": (
        lambda: nn.Sequential(perceptron(3), nn.Sigmoid()),
        lambda: (noise(20, 4), draws(2, 20, 3).double()), {}, "leave out the sigmoid",
    ),
    "a softmax at the end": (
        lambda: nn.Sequential(Tokens(last=True), nn.Softmax(-1)),
        lambda: (draws(5, 20, 6), draws(4, 20, 6)), {}, "leave out the softmax",
    ),
    "sizes without padding": (
        Bags, lambda: DataLoader(ragged_bags(), batch_size=4), {},  # type: ignore[arg-type]
        "`collate_fn` pads",
    ),
    "an argument too many": (
        lambda: Two("tuple"),
        lambda: ({"left": noise(20, 3), "right": noise(20, 4), "other": noise(20)}, draws(2, 20)),
        {}, "hold other, and .* no such argument",
    ),
    "bytes beside others": (
        lambda: Two("tuple"),
        lambda: ((noise(20, 3), draws(9, 20, 4).byte()), draws(2, 20)), {}, "uint8 among several",
    ),
    "other rows": (
        lambda: Two("tuple"), lambda: ((noise(20, 3), noise(19, 4)), draws(2, 20)), {},
        "19 inputs but 20",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_in_a_sentence(case: str) -> None:
    make, data, options, words = REFUSED[case]
    torch.manual_seed(0)
    with pytest.raises((InputError, UsageError), match=words) as caught:
        problem = problem_from_module(make().double(), data(), data(), dtype="float64", **options)
        evaluate(problem, problem.test)
    assert "\n" not in str(caught.value)


LABELS = torch.arange(12) % 3
UNUSABLE: dict[str, tuple[Any, Any, str]] = {
    "argmax": (lambda outputs, targets: outputs.argmax(1).float(), None, "`loss` gives"),
    "targets": (lambda outputs, targets: targets, None, "`loss` gives"),
    "nothing": (lambda outputs, targets: None, None, "`loss` gives"),
    "metric of nothing": (None, lambda outputs, targets: None, "`metric`"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_differentiated_or_counted_is_refused(name: str) -> None:
    loss, metric, said = UNUSABLE[name]
    torch.manual_seed(0)
    data = torch.randn(12, 4), LABELS
    with pytest.raises(InputError, match=said):
        pl.Problem(nn.Sequential(nn.Linear(4, 3)), data, data, loss=loss, metric=metric)


def test_one_label_each_has_an_iou() -> None:
    torch.manual_seed(0)
    data = torch.randn(12, 4), LABELS
    network = nn.Sequential(nn.Linear(4, 3))
    few: dict[str, Any] = {"samples": 0, "steps": 3, "probes": 1, "epsilon": 0.1}
    found = [
        pl.predict(pl.Problem(network, data, data, metric=metric), **few).dense.accuracy
        for metric in ("mean-iou", "accuracy")
    ]
    assert found[0] == pytest.approx(found[1])


def impure(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that is no function of a sample's outputs and targets."""
    entropy = nn.functional.cross_entropy
    calls: list[int] = []

    def judge(outputs: Tensor, targets: Tensor) -> Tensor:
        if name == "writes":
            outputs -= outputs.amax(1, keepdim=True)
        plain = entropy(outputs, targets, reduction="none")
        calls.append(1)
        if name == "draws":
            return plain + 0.01 * torch.rand(len(plain))
        if name == "keeps":
            return plain * len(calls)
        if name == "centres":
            return plain - plain.mean() + 1
        if name == "broadcasts":
            return (plain[:, None] - plain + 1).mean(1)
        if name == "company":
            return plain[:2].sum() / plain[:2].sum() * plain if len(plain) > 1 else plain[0, 0]
        return plain

    return judge


IMPURE = {
    "writes": "writes to the outputs or targets",
    "draws": "other numbers when the same outputs are judged again",
    "keeps": "other numbers when the same outputs are judged again",
    "centres": r"one number alone and another one in a batch.*broadcast",
    "broadcasts": r"one number alone and another one in a batch.*broadcast",
    "company": "fails on a sample alone",
}


@pytest.mark.parametrize("name", IMPURE)
@pytest.mark.parametrize("which", ["loss", "metric"])
def test_a_judge_of_ones_own_is_one_of_each_sample(name: str, which: str) -> None:
    data = noise(40, 4), draws(3, 40)
    with pytest.raises(InputError, match=f"`{which}` .*{IMPURE[name]}"):
        problem_from_module(perceptron(3), data, data, **{which: impure(name)})
    problem_from_module(perceptron(3), data, data, **{which: impure("nothing")})


def test_a_metric_that_is_no_number_is_refused_for_the_network_as_it_is() -> None:
    def metric(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.where(targets == 2, torch.nan, outputs[:, 0])

    data = noise(40, 4), draws(3, 40)
    given = problem_from_module(perceptron(3), data, data, metric=metric)
    with pytest.raises(NumericalError, match=r"`metric` is not finite on sample \d+ \(of 40\)"):
        evaluate(given, given.train)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_with_weights_of_one_type_gives_the_same_curvature(dtype: torch.dtype) -> None:
    classes = torch.tensor([0.5, 1.0, 2.0], dtype=dtype)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, weight=classes, reduction="none")

    outputs, targets = noise(6, 3).to(dtype), draws(3, 6)
    found = output_curvature(loss, outputs, targets)
    p = torch.softmax(outputs.double(), 1)
    assert found.dtype == torch.float64
    wanted = classes.double()[targets] * (1 - p.square().sum(1))
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_loss_without_a_second_derivative_is_named() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.multi_margin_loss(outputs, targets, reduction="none")

    with pytest.raises(InputError, match="`loss` cannot be differentiated twice in the outputs"):
        output_curvature(loss, noise(6, 3), draws(3, 6))
