"""Survivors moved by minibatches: what stays, what is invariant, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from conftest import Outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunelimit.compensation import stages
from prunelimit.compensation.calibration import Calibration
from prunelimit.compensation.descent import (
    BATCH,
    FLOOR,
    LEAST_PASSES,
    MOST_PASSES,
    STEPS,
    _Adam,
    descent,
    passes_of,
    typical_sizes,
)
from prunelimit.compensation.stages import DETERMINED, MOST_STEPS, SHALLOW, Compensator
from prunelimit.errors import UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem

Run = Callable[..., Outcome]


def network(scale: float = 1.0) -> nn.Sequential:
    """Two layers, the first one ``scale`` times as large and the second as much smaller."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        for name, factor in (("0.weight", scale), ("0.bias", scale), ("2.weight", 1 / scale)):
            layers.get_parameter(name).mul_(factor)
    return layers


def problem(layers: nn.Module) -> Problem:
    torch.manual_seed(1)
    data = torch.randn(200, 6), torch.randint(0, 3, (200,))
    return problem_from_module(layers, data, data, dtype="float64")


def cut(own: Problem, share: float = 0.5) -> tuple[Problem, Calibration, Tensor, Tensor]:
    """The problem of a network without its smallest weights: its inputs, weights and mask."""
    samples = Calibration.of(own, own.train, torch.arange(200))
    dense, prunable = own.vector(), own.prunable_mask()
    reference = problem(network()).vector()
    bound = reference[prunable].abs().quantile(share)
    kept = ~prunable | (reference.abs() > bound)
    weights = dense.masked_fill(~kept, 0)
    torch.nn.utils.vector_to_parameters(weights, own.model.parameters())
    return samples.fit_problem(own, own.model), samples, weights, kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_those_of_torchs_adam(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.ones(5, 4, dtype=dtype) for _ in range(2))
    adam = _Adam(ours)
    other = torch.optim.Adam([theirs], lr=1.0, eps=torch.finfo(dtype).tiny)
    for number in range(20):
        gradient = 10.0 ** (number % 7 - 3) * torch.randn(5, 4, dtype=dtype)
        gradient[0] = 0
        adam.step(gradient, 0.1 / (1 + number))
        theirs.grad, other.param_groups[0]["lr"] = gradient, 0.1 / (1 + number)
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=8 * torch.finfo(dtype).eps, atol=0)
    assert bool((ours[0] == 1).all())


def misfit(fitting: Problem, samples: Calibration, weights: Tensor) -> float:
    inputs, dense = next(iter(samples.batches(len(samples))))
    with torch.no_grad():
        outputs = fitting.outputs(inputs, fitting.tensors(weights))
        return float(fitting.loss(outputs, dense).mean())


class TestDescent:
    def test_outputs_come_nearer_and_what_is_removed_stays_so(self) -> None:
        fitting, samples, weights, kept = cut(problem(network()))
        before = fitting.vector().clone()
        found = descent(fitting, samples, weights, kept, rate=0.02)
        assert misfit(fitting, samples, found) < 0.5 * misfit(fitting, samples, weights)
        assert not found[~kept].any() and bool(found[kept].all())
        assert torch.equal(fitting.vector(), before)

    def test_of_linear_outputs_it_comes_to_the_least_squares(self) -> None:
        """One layer without a bias, every second weight gone: each output is a regression."""
        torch.manual_seed(0)
        own = problem(nn.Linear(6, 3, bias=False))
        samples = Calibration.of(own, own.train, torch.arange(200))
        kept = torch.arange(18) % 2 == 0
        start = own.vector().masked_fill(~kept, 0)
        fitting = samples.fit_problem(own, own.model)
        found = descent(fitting, samples, start, kept, rate=0.02)
        inputs, dense = next(iter(samples.batches(200)))
        solved = torch.zeros(3, 6, dtype=torch.float64)
        for row, places in enumerate(kept.view(3, 6)):
            solved[row, places] = torch.linalg.lstsq(inputs[:, places], dense[:, row]).solution
        begun, ended, least = (
            misfit(fitting, samples, each) for each in (start, found, solved.flatten())
        )
        assert least <= ended <= least + 0.05 * (begun - least)

    def test_outputs_of_convolutions_come_nearer(self) -> None:
        """Weights are in channels last, and gradients need not be."""
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(4, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 6, 3), nn.ReLU(), nn.Flatten()
        )
        layers.append(nn.Linear(6 * 16, 3))
        data = torch.randn(200, 4, 6, 6), torch.randint(0, 3, (200,))
        own = problem_from_module(layers, data, data)
        samples = Calibration.of(own, own.train, torch.arange(200))
        dense, prunable = own.vector(), own.prunable_mask()
        kept = ~prunable | (dense.abs() > dense[prunable].abs().quantile(0.5))
        start = dense.masked_fill(~kept, 0)
        fitting = samples.fit_problem(own, own.model)
        found = descent(fitting, samples, start, kept, rate=0.02)
        assert misfit(fitting, samples, found) < 0.3 * misfit(fitting, samples, start)

    def test_rescaling_layers_changes_nothing(self) -> None:
        """A power of two, so that rounding is the same. Biases are large enough to count."""
        both = network(), network(4.0)
        for layers, factor in zip(both, (1.0, 4.0), strict=True):
            with torch.no_grad():
                layers.get_parameter("0.bias").fill_(0.3 * factor)
                layers.get_parameter("2.bias").fill_(0.3)
        one, other = (cut(problem(layers)) for layers in both)
        moved = [descent(*each, rate=0.02) for each in (one, other)]
        values = [
            misfit(each[0], each[1], end) for each, end in zip((one, other), moved, strict=True)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
        shape = one[0].layout.unflatten(moved[0])
        scaled = other[0].layout.unflatten(moved[1])
        torch.testing.assert_close(4 * shape["0.weight"], scaled["0.weight"])
        torch.testing.assert_close(shape["2.weight"] / 4, scaled["2.weight"])

    @pytest.mark.parametrize("factor", [2.0**-60, 2.0**40])
    def test_the_unit_of_the_loss_changes_nothing(self, factor: float) -> None:
        fitting, samples, weights, kept = cut(problem(network()))
        own = fitting.loss

        def other(outputs: Tensor, targets: Tensor) -> Tensor:
            return factor * own(outputs, targets)

        found = descent(fitting, samples, weights, kept, rate=0.02)
        scaled = descent(
            dataclasses.replace(fitting, loss=other), samples, weights, kept, rate=0.02
        )
        torch.testing.assert_close(found, scaled)

    def test_it_is_drawn_by_seed_and_place(self) -> None:
        given_ = cut(problem(network()))
        first, again, other = (descent(*given_, rate=0.02, place=place) for place in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


class TestRates:
    @given(inputs=st.integers(1, 10**6))
    def test_inputs_are_passed_as_often_as_the_steps_take(self, inputs: int) -> None:
        passes = passes_of(inputs)
        steps = passes * inputs / BATCH
        assert LEAST_PASSES <= passes <= MOST_PASSES
        assert passes == LEAST_PASSES or steps <= 1.5 * STEPS
        assert passes == MOST_PASSES or steps >= 0.5 * STEPS

    @settings(deadline=None)
    @given(scale=st.floats(1e-6, 1e6), share=st.floats(0.1, 1))
    def test_sizes_are_those_of_what_is_kept(self, scale: float, share: float) -> None:
        kept = torch.arange(100) < max(1, round(100 * share))
        tensor = torch.where(kept, scale, 0.0).double()
        (size,) = typical_sizes([tensor], [kept])
        assert size == pytest.approx(scale)

    def test_a_tensor_of_zeros_moves_too(self) -> None:
        every = torch.ones(10, dtype=torch.bool)
        sizes = typical_sizes([torch.ones(10), torch.zeros(10)], [every, every])
        assert sizes[1] == pytest.approx(FLOOR * 0.5**0.5)

    def test_a_tensor_without_survivors_has_a_size(self) -> None:
        none = torch.zeros(10, dtype=torch.bool)
        assert typical_sizes([torch.zeros(10)], [none]) == [0.0]


class TestStages:
    SETTINGS: ClassVar[dict[str, Any]] = {"epsilon": 1e-3, "calibration": 0}

    def test_a_rate_that_is_too_high_costs_nothing_but_the_rate(self) -> None:
        own = problem(network())
        plain = Compensator(own, cg_steps=0, stages=2, **self.SETTINGS)
        wild = dataclasses.replace(plain.begin(), rate=1e30)
        found = plain.advance(wild, 60)
        assert found.rate < 1e30
        assert all(stage.rise <= stage.fitted for stage in found.stages)
        assert bool(torch.isfinite(found.weights).all())

    def test_without_solves_there_are_no_products(self) -> None:
        path = Compensator(problem(network()), cg_steps=0, stages=2, **self.SETTINGS)
        found = path.advance(path.begin(), 60)
        assert path.products == 0
        assert found.removed == 60
        assert {stage.outcome for stage in found.stages} <= {"free", "no solve"}
        assert any(stage.rise < stage.fitted for stage in found.stages)

    def test_a_stage_beyond_its_budget_is_undone(self) -> None:
        path = Compensator(problem(network()), cg_steps=0, **self.SETTINGS)
        begin = path.begin()
        assert path.advance(begin, 90, budget=1e-9).rise <= 1e-9
        once = Compensator(problem(network()), cg_steps=0, stages=1, **self.SETTINGS)
        assert once.advance(begin, 90, budget=1e-9).removed == 0

    def test_a_solve_is_made_where_few_inputs_determine_the_survivors(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = Compensator(problem(network()), **self.SETTINGS)
        seen = path.windows.size * 3
        assert path._most_steps(seen // DETERMINED) == MOST_STEPS
        assert path._most_steps(seen // DETERMINED + 1) == 0
        once = Compensator(problem(network()), stages=1, **self.SETTINGS)
        assert once._most_steps(seen) == MOST_STEPS
        told = Compensator(problem(network()), cg_steps=3, **self.SETTINGS)
        assert told._most_steps(seen) == 3
        monkeypatch.setattr(stages, "FEW_INPUTS", path.windows.size - 1)
        assert (path._most_steps(1), once._most_steps(1), told._most_steps(1)) == (0, MOST_STEPS, 3)

    def test_what_has_hardly_moved_is_left(self) -> None:
        """Outputs that stay within a share of the tolerance ask for no minibatches."""
        settings_ = {**self.SETTINGS, "epsilon": 10.0}
        path = Compensator(problem(network()), cg_steps=0, stages=1, **settings_)
        found = path.advance(path.begin(), 20)
        (stage,) = found.stages
        assert stage.fitted <= SHALLOW * 10.0
        assert stage.rise == stage.fitted


class TestCommand:
    @pytest.mark.parametrize("steps", ["auto", "0"])
    def test_prune(self, prunelimit: Run, trained: Path, tmp_path: Path, steps: str) -> None:
        done = prunelimit(
            "prune", trained, "--survivors", "staged", "--amount", "0.9", "--stages", "2",
            "--cg-steps", steps, "--json", "-o", tmp_path / "out.pt",
        )  # fmt: skip
        assert done.code == 0, done.stderr
        stages = done.document["compensation"]["stages"]
        assert len(stages) == 2
        assert steps == "auto" or all(stage["steps"] == 0 for stage in stages)
        assert done.document["config"]["prune"]["cg_steps"] == (None if steps == "auto" else 0)

    @pytest.mark.parametrize("steps", ["-1", "some", "1.5", ""])
    def test_other_steps_are_refused(self, prunelimit: Run, trained: Path, steps: str) -> None:
        done = prunelimit(
            "prune", trained, "--survivors", "staged", f"--cg-steps={steps}", "-o", "out.pt"
        )
        assert done.code == 2
        assert "--cg-steps" in done.stderr and "auto" in done.stderr

    def test_from_python(self) -> None:
        with pytest.raises(UsageError, match="`cg_steps`"):
            Compensator(problem(network()), cg_steps=-1, **TestStages.SETTINGS)


def test_documents_are_json() -> None:
    """A state with its rate goes to a file and comes back."""
    path = Compensator(problem(network()), cg_steps=0, stages=1, **TestStages.SETTINGS)
    found = path.advance(path.begin(), 40)
    document = found.document()
    assert json.dumps(document["rate"])
    assert type(found).of(document, path.problem.vector()).rate == found.rate
