"""Recording and replaying: the same numbers for other batches and vectors, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from prunelimit.curvature import CurvatureProduct
from prunelimit.curvature.recording import Unrecordable, record
from prunelimit.inputs.build import build_network
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem

Tensors = Sequence[Tensor]


def columns(seed: int, count: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 4, generator=generator, dtype=torch.float64) for _ in range(count)]


def plain(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    hidden = torch.tanh(fixed[0] @ batch[0])
    return [hidden * (fixed[0] + vectors[0]), hidden.sum() * vectors[0].sum(0)]


def in_place(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    hidden = (batch[0] + 1).relu_()
    hidden[0] = 0.5
    product = (2 * vectors[0]).mul_(hidden)
    product.T.add_(fixed[0])
    return [product]


def accumulated(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    total = torch.zeros(4, 4, dtype=torch.float64)
    total += batch[0]
    total += vectors[0]
    return [total, total[1:]]


def several(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    largest, where = batch[0].max(dim=1)
    first, second = vectors[0].chunk(2)
    return [first.sum() * largest, torch.gather(vectors[0], 1, where[:, None]), second]


def unmoved(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    return [vectors[0], batch[0], fixed[0] * 2]


@pytest.mark.parametrize("function", [plain, in_place, accumulated, several, unmoved])
def test_a_replay_equals_the_function(
    function: Callable[[Tensors, Tensors, Tensors], Tensors],
) -> None:
    fixed = columns(0)
    recording = record(function, fixed, columns(1), columns(2))
    for seed in (1, 5, 6):
        batch, vectors = columns(seed), columns(10 + seed)
        prepared = recording.prepare(*batch)
        for _ in range(2):  # a replay must not spoil what it was given
            found = recording.combine(*prepared, *recording.transform(*vectors))
            for one, other in zip(found, function(fixed, batch, vectors), strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_work_is_done_where_it_belongs() -> None:
    calls: list[object] = []

    def function(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
        return [torch.tanh(batch[0]) * torch.exp(vectors[0]) + torch.sin(fixed[0])]

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            calls.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    recording = record(function, columns(0), columns(1), columns(2))
    batch, vectors = columns(3), columns(4)
    with Count():
        prepared = recording.prepare(*batch)
        assert calls == [torch.ops.aten.tanh]
        transformed = recording.transform(*vectors)
        assert calls[1:] == [torch.ops.aten.exp]
        recording.combine(*prepared, *transformed)
    # The product of the two is read by the sum alone, which is written over it.
    assert calls[2:] == [torch.ops.aten.mul, torch.ops.aten.add_]


def sums(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    """What fusion looks for, each beside what it must leave alone."""
    nothing = torch.zeros_like(vectors[0])
    product = vectors[0] @ batch[0]
    kept = vectors[0] @ fixed[0]
    changed = vectors[0] + batch[0]
    late = changed @ batch[0]
    changed.mul_(2)
    return [
        nothing + product.T,  # a zero that is only a zero
        (batch[0] @ vectors[0]) + (vectors[0] @ batch[0]),
        kept + kept,  # read twice
        kept * batch[0],  # and again
        batch[0][0] + vectors[0] @ batch[0],  # one row to all
        torch.relu(vectors[0] - batch[0]) - vectors[0],
        late + changed,  # the product must be taken before what it reads is overwritten
        torch.where(batch[0] > 0, product, nothing),
    ]


def halves(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    whole = vectors[0] * batch[0]
    top, bottom = whole[:2], whole[2:]
    return [top + 1, bottom + top, whole, torch.zeros(2, 4, dtype=torch.float64) + top]


@pytest.mark.parametrize("function", [sums, halves])
def test_a_tightened_program_gives_the_same(
    function: Callable[[Tensors, Tensors, Tensors], Tensors],
) -> None:
    fixed = columns(0)
    recording = record(function, fixed, columns(1), columns(2))
    prepared, batch = recording.prepare(*columns(3)), columns(3)
    for seed in (4, 5):
        vectors = columns(seed)
        found = recording.combine(*prepared, *recording.transform(*vectors))
        for one, other in zip(found, function(fixed, batch, vectors), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-14, atol=1e-14)


def test_sums_cost_fewer_kernels() -> None:
    def function(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
        hidden = vectors[0] @ batch[0] + batch[0] @ vectors[0]
        return [torch.zeros_like(hidden) + hidden]

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            calls.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    calls: list[object] = []
    recording = record(function, columns(0), columns(1), columns(2))
    prepared, transformed = recording.prepare(*columns(3)), recording.transform(*columns(4))
    with Count():
        recording.combine(*prepared, *transformed)
    assert calls == [torch.ops.aten.mm, torch.ops.aten.addmm_]


def drawn(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    return [vectors[0] * torch.bernoulli(batch[0].sigmoid())]


def branching(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    return [vectors[0] if batch[0].sum() > 0 else -vectors[0]]


def selecting(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    return [vectors[0][batch[0] > 0].sum()]


def overwriting(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    return [batch[0].mul_(2) * vectors[0]]


def running(fixed: Tensors, batch: Tensors, vectors: Tensors) -> Tensors:
    return [fixed[0].add_(batch[0].mean()) * vectors[0]]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (drawn, "random"),
        (branching, "values of the data"),
        (selecting, "values of the data"),
        (overwriting, "was given"),
        (running, "was given"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    function: Callable[[Tensors, Tensors, Tensors], Tensors], why: str
) -> None:
    with pytest.raises(Unrecordable, match=why):
        record(function, columns(0), columns(1), columns(2))


class Branching(nn.Module):
    """It looks at a value of the batch, though its outputs do not depend on it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.linear(inputs)
        return outputs.tanh() if inputs.square().sum() > 0 else outputs.exp()


def branching_problem(network: nn.Module) -> Problem:
    both = (torch.randn(12, 6, dtype=torch.float64), torch.arange(12) % 3)
    return problem_from_module(network, both, both, dtype="float64", batch_size=5)


def test_a_network_that_cannot_be_recorded_takes_the_other_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prunelimit.curvature.products.WORTH_RECORDING", 0)
    given = branching_problem(Branching())
    assert CurvatureProduct(given, given.train).route == "double-backward"
    with pytest.raises(Unrecordable, match="values of the data"):
        CurvatureProduct(given, given.train, route="recorded")


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_a_tape_that_gives_other_products_is_not_used(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_wrongly(function, *given):  # type: ignore[no-untyped-def]
        return record(lambda *args: [1.001 * each for each in function(*args)], *given)

    monkeypatch.setattr("prunelimit.curvature.products.WORTH_RECORDING", 0)
    monkeypatch.setattr("prunelimit.curvature.recorded.record", record_wrongly)
    given = branching_problem(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)))
    assert CurvatureProduct(given, given.train, kind).route == "double-backward"
    with pytest.raises(Unrecordable, match="differs"):
        CurvatureProduct(given, given.train, kind, route="recorded")


def test_a_loss_that_reads_labels_into_python_takes_the_other_route() -> None:
    def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - nn.functional.one_hot(targets, 3)) ** 2).sum(dim=1)

    both = (torch.randn(12, 6, dtype=torch.float64), torch.arange(12) % 3)
    given = problem_from_module(nn.Linear(6, 3), both, both, dtype="float64", loss=squared_error)
    with pytest.raises(Unrecordable, match="values of the data"):
        CurvatureProduct(given, given.train, route="recorded")


@pytest.mark.slow
def test_the_work_chooses_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    both = (torch.randn(64, 3, 32, 32), torch.arange(64) % 10)
    network = build_network("resnet20", input_shape=(3, 32, 32), classes=10)
    given = problem_from_module(network, both, both, batch_size=32)
    product = CurvatureProduct(given, given.train)
    assert product.route == "recorded"
    slow = CurvatureProduct(given, given.train, route="double-backward")
    vector = torch.randn(given.layout.size)
    found, expected = product(vector), slow(vector)
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    few = given.train.subset(2, 0)
    assert CurvatureProduct(given, few).route == "double-backward"
