"""The preconditioner: against dense curvature where its assumption is exact, and for all else what
a preconditioner has to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import dense_ggn
from torch import Tensor, nn

from prunelimit.compensation import preconditioner
from prunelimit.compensation.calibration import Calibration
from prunelimit.compensation.conjugate_gradients import Iterate, solve
from prunelimit.compensation.layerwise import layerwise
from prunelimit.compensation.line_search import Watch
from prunelimit.compensation.preconditioner import RowBlocks, block_size
from prunelimit.compensation.student import Point, Student
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem

SAMPLES = 80
DAMPING = 1e-2


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().flatten(1).sum(1)


def problem(model: nn.Module, shape: tuple[int, ...], dtype: str = "float64") -> Problem:
    torch.manual_seed(0)
    # Correlated inputs, of many sizes: what conjugate gradients alone find hard.
    inputs = torch.randn(SAMPLES, *shape, dtype=torch.float64).cumsum(-1)
    inputs = inputs * torch.logspace(0, -1.5, shape[-1], dtype=torch.float64)
    with torch.no_grad():
        outputs = model.double()(inputs)
    data = inputs, outputs
    return problem_from_module(model, data, data, dtype=dtype, loss=squares)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return make()


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (
        lambda: nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3)),
        (12,),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(4, 4, 3, groups=2),
            nn.BatchNorm2d(4),
            nn.Flatten(),
            nn.Linear(16, 3),
        ),
        (2, 4, 4),
    ),
    "attention": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True)),
        (5, 8),
    ),
}


def prepared(given: Problem, share: float = 0.4) -> tuple[Student, Calibration, Tensor, RowBlocks]:
    """A student, its inputs, a random mask and the blocks of what it keeps, at the dense weights
    under that mask."""
    every = Calibration.of(given, given.train, torch.arange(SAMPLES))
    student = Student(given, every, every, 0)
    draws = torch.Generator().manual_seed(2)
    gone = torch.rand(given.layout.size, generator=draws) < share
    mask = ~(gone & given.prunable_mask())
    rows = RowBlocks(given, mask)
    layerwise(given, given.vector().masked_fill(~mask, 0), mask, every, on_gram=rows.read)
    return student, every, mask, rows


@pytest.fixture(params=KINDS)
def given(request: pytest.FixtureRequest) -> Problem:
    make, shape = KINDS[request.param]
    return problem(seeded(make), shape)


def matrix_of(inverse: Callable[[Tensor], Tensor], size: int) -> Tensor:
    return torch.stack([inverse(each) for each in torch.eye(size, dtype=torch.float64)], 1)


def test_of_one_linear_layer_it_is_the_curvature_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GGN is the inputs' second moment, once for every output: M is exact, and a single step
    solves."""
    monkeypatch.setattr(preconditioner, "RIDGE", 0.0)
    given = problem(seeded(lambda: nn.Linear(12, 3, bias=False)), (12,))
    _, _, mask, rows = prepared(given)
    curvature = dense_ggn(given).detach()
    inverse = rows.inverse(curvature.diagonal().clone(), DAMPING)
    found = matrix_of(inverse, len(mask))
    block = curvature[mask][:, mask] + DAMPING * torch.eye(int(mask.sum()), dtype=torch.float64)
    assert torch.allclose(found[mask][:, mask], torch.linalg.inv(block), rtol=1e-8)
    side = torch.linspace(-1, 1, len(mask), dtype=torch.float64)
    steps = [
        solve(
            lambda v: curvature @ v,
            side,
            mask,
            damping=DAMPING,
            max_steps=200,
            tolerance=1e-8,
            precondition=each,
        ).steps
        for each in (inverse, None)
    ]
    assert steps[0] == 1 < 10 < steps[1]


@pytest.mark.slow
def test_a_row_has_the_trace_of_its_curvature(given: Problem, monkeypatch: Any) -> None:
    """Whatever positions and samples have to do with each other."""
    monkeypatch.setattr(preconditioner, "RIDGE", 0.0)
    monkeypatch.setattr(preconditioner, "FLOOR", 0.0)
    _, _, mask, rows = prepared(given)
    read = {name: set(range(len(blocks))) for name, (_, _, blocks) in rows._blocks.items()}
    assert read
    curvature = dense_ggn(given).detach()
    inverse = rows.inverse(curvature.diagonal().clone(), DAMPING)
    found = matrix_of(inverse, len(mask))
    wanted = given.layout.unflatten(curvature.diagonal().masked_fill(~mask, 0))
    places = given.layout.unflatten(torch.arange(len(mask)))
    for name in read:
        for row, indices in enumerate(places[name].flatten(1)):
            left = indices[mask[indices]]
            if len(left):
                block = torch.linalg.inv(found[left][:, left])
                trace = float(block.trace()) - DAMPING * len(left)
                assert trace == pytest.approx(float(wanted[name].flatten(1)[row].sum()), rel=1e-6)


@pytest.mark.parametrize("largest", [1, 3, 64])
def test_it_is_positive_and_keeps_zeros(given: Problem, largest: int, monkeypatch: Any) -> None:
    """For pieces of every size, without any damping, and where a whole layer is dead."""
    monkeypatch.setattr(preconditioner, "LARGEST", largest)
    monkeypatch.setattr(preconditioner, "SMALLEST", largest)
    for share in (0.4, 1.0):
        _, _, mask, rows = prepared(given, share)
        diagonal = torch.rand(len(mask), dtype=torch.float64)
        diagonal[: len(mask) // 2] = 0
        found = matrix_of(rows.inverse(diagonal, 0.0), len(mask))
        assert torch.allclose(found, found.T, rtol=1e-6, atol=1e-12)
        assert not bool(found[~mask].any()) and not bool(found[:, ~mask].any())
        assert float(torch.linalg.eigvalsh(found[mask][:, mask]).min()) > 0


@pytest.mark.slow
def test_the_diagonal_is_the_curvatures(given: Problem) -> None:
    """By random directions at the outputs: unbiased, so that the mean over many draws has it."""
    _, every, _, _ = prepared(given)
    expected = dense_ggn(every.fit_problem(given, given.model)).detach().diagonal()
    found = torch.stack(
        [
            Student(dataclasses.replace(given, seed=seed, batch_size=4), every, every, 0).diagonal(
                given.vector(), {}, every, SAMPLES
            )
            for seed in range(30)
        ]
    )
    error = found.std(0) / 30**0.5
    assert ((found.mean(0) - expected).abs() <= 5 * error + 1e-12).all()
    total = float(found.mean(0).sum())
    assert total == pytest.approx(float(expected.sum()), rel=0.1)


@pytest.mark.parametrize(
    ("kind", "share"),
    # Attention's own projections are no layers that are fitted: they have the diagonal alone.
    [("linear", 0.5), ("convolutions", 0.75), ("attention", 1.0)],
)
def test_it_saves_steps(kind: str, share: float) -> None:
    """To the same fall of the quadratic."""
    make, shape = KINDS[kind]
    given = problem(seeded(make), shape)
    student, every, mask, rows = prepared(given)
    cut = given.vector().masked_fill(~mask, 0)
    product = student.product(cut, {}, every)
    inverse = rows.inverse(student.diagonal(cut, {}, every, SAMPLES), 1e-4)
    falls = [
        {
            each.steps: each.decrease_at(1.0)
            for each in solve(
                product,
                -product.gradient(),
                mask,
                damping=1e-4,
                max_steps=24,
                precondition=one,
            ).iterates
        }
        for one in (inverse, None)
    ]
    wanted = falls[1][max(falls[1])]
    needed = min(steps for steps, fall in falls[0].items() if fall >= 0.99 * wanted)
    assert needed <= share * max(falls[1])


def test_pieces_are_bounded_by_memory() -> None:
    assert block_size(1_000, 4) == preconditioner.LARGEST
    assert block_size(2**22, 4) == 16 == preconditioner.SMALLEST
    assert block_size(2**21, 4) == 32
    assert block_size(2**40, 8) == preconditioner.SMALLEST


class _Told:
    """A student whose divergence is told by the first weight."""

    def __init__(self, rises: list[float]) -> None:
        self.rises = rises

    def rise(self, weights: Tensor, buffers: dict[str, Tensor]) -> float:
        return self.rises[int(weights[0])]


class _Worse:
    """A student that is farther from the dense network every time."""

    def __init__(self) -> None:
        self.found = 1.0

    def rise(self, weights: Tensor, buffers: dict[str, Tensor]) -> float:
        self.found += 1
        return self.found


@pytest.mark.parametrize(
    ("rises", "ends"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], None),  # every step gains alike
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.499, 0.498, 0.3], 7),  # two in a row bring nothing
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.499, 0.3, 0.299, 0.1], None),  # one does not end it
        ([1.0, 1.1, 1.2, 1.3, 1.2, 1.0, 0.5, 0.4], None),  # the first steps say nothing yet
        ([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], 6),  # away from the dense network
    ],
)
def test_a_solve_ends_when_inputs_held_out_gain_no_more(
    rises: list[float], ends: int | None
) -> None:
    """Iterate i of a system whose solution grows by one a step stands for ``rises[i]``."""
    watch = Watch(_Told(rises), Point(torch.zeros(1), {}, rises[0]), 100)  # type: ignore[arg-type]
    said = [
        watch(Iterate(steps, torch.tensor([float(steps)]), 0.0, 0.0))
        for steps in range(1, len(rises))
    ]
    first = next((place + 1 for place, each in enumerate(said) if each), None)
    assert first == ends
    # the first two are followed by others that say nothing yet
    assert watch.rises == dict(enumerate(rises[3:], 3))


@pytest.mark.parametrize("most", range(1, 15))
def test_iterates_are_judged_only_where_that_can_end_the_solve(most: int) -> None:
    """Away from the dense network at once: no solve ends earlier than this one."""
    matrix = torch.diag(torch.linspace(1, 1000, 60, dtype=torch.float64))
    ends = {}
    for judged in (True, False):
        watch = Watch(_Worse(), Point(torch.zeros(60), {}, 1.0), most)  # type: ignore[arg-type]
        found = solve(
            lambda v: matrix @ v,
            torch.ones(60, dtype=torch.float64),
            torch.ones(60, dtype=torch.bool),
            damping=0.0,
            max_steps=most,
            stop=watch if judged else None,
        )
        ends[judged] = found.steps
        assert (not watch.rises) == (not judged or most <= 7)
    assert (ends[True] < ends[False]) == (most > 7)


def test_a_stopped_solve_says_so() -> None:
    diagonal = torch.linspace(1, 2, 20, dtype=torch.float64)
    mask = torch.ones(20, dtype=torch.bool)
    found = solve(
        lambda v: diagonal * v,
        torch.ones(20, dtype=torch.float64),
        mask,
        damping=0.0,
        max_steps=20,
        stop=lambda iterate: iterate.steps >= 3,
    )
    assert found.outcome == "stopped" and found.steps == 3 == found.iterates[-1].steps
