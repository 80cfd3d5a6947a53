"""Depth grows until the limit is known, the budget ends, or the user stops it."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome

from prunelimit.cli.main import main
from prunelimit.commands.predict import predict
from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.curvature import CurvatureProduct
from prunelimit.errors import OutputError, UsageError
from prunelimit.lanczos import BASES
from prunelimit.results.types import PredictResult

pytestmark = pytest.mark.slow

ALL = CurvatureConfig(samples=0)
HESSIAN = CurvatureConfig(samples=0, curvature="hessian")
PARTS = ("limit", "variants", "layers", "curve", "epsilon")


NETWORK = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 1,210 parameters, trained on the digits, beside the file that defines it."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "network.py").write_text(NETWORK)
    spec = f"{folder / 'network.py'}:make"
    options = ["--model", spec, "--data", "digits", "--epochs", "10", "--l1", "1e-4", "-q"]
    assert main(["train", *options, "-o", str(folder / "tiny.safetensors")]) == 0
    return folder / "tiny.safetensors"


def own(trained: Path) -> str:
    """The network's SPEC, which a checkpoint of a user's own code must be given again."""
    return f"{trained.with_name('network.py')}:make"


def run(
    trained: Path,
    curvature: CurvatureConfig = ALL,
    limit: LimitConfig | None = None,
    **more: Any,
) -> PredictResult:
    limit = limit or LimitConfig()
    model = ModelConfig(model=own(trained))
    return predict(trained, model, DataConfig(), RunConfig(), curvature, limit, **more)


def half_width(result: PredictResult) -> float:
    low, high = result.limit.interval
    return (high - low) / 2


def stopping_after(products: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A stop that is asked for during the product of this number."""
    multiply = CurvatureProduct.__call__
    taken = 0

    def counted(self: CurvatureProduct, vectors: torch.Tensor) -> torch.Tensor:
        nonlocal taken
        taken += 1
        return multiply(self, vectors)

    monkeypatch.setattr(CurvatureProduct, "__call__", counted)
    return lambda: taken >= products


def test_depth_grows_until_the_limit_is_known(trained: Path) -> None:
    coarse = run(trained, limit=LimitConfig(tolerance="3pp"))
    fine = run(trained, limit=LimitConfig(tolerance="0.5pp", max_products=5_000))
    assert coarse.curvature.ended == fine.curvature.ended == "tolerance"
    assert half_width(coarse) <= 0.03
    assert half_width(fine) <= 0.005
    assert fine.curvature.products > coarse.curvature.products
    assert fine.curvature.steps >= coarse.curvature.steps
    assert fine.curvature.probes > coarse.curvature.probes  # few parameters: probes differ
    assert set(fine.limit.errors) == {"probe", "depth", "direction"}
    assert abs(fine.limit.sparsity - coarse.limit.sparsity) <= half_width(coarse)


def test_what_is_given_is_taken(trained: Path) -> None:
    curvature = CurvatureConfig(steps=14, probes=2, samples=0)
    found = run(trained, curvature, LimitConfig(directional_steps=7, tolerance="0pp"))
    assert found.curvature.ended == "given"
    assert (found.curvature.steps, found.curvature.probes) == (14, 2)
    assert not any("allowed" in reason for reason in found.reliability.reasons)


def test_a_budget_of_products_is_kept_and_told(trained: Path) -> None:
    found = run(trained, limit=LimitConfig(tolerance="0.001pp", max_products=150))
    assert found.curvature.ended == "max-products"
    assert not found.reliability.ok
    (told,) = [reason for reason in found.reliability.reasons if "`max_products`" in reason]
    assert "0.001pp" in told and f"{100 * half_width(found):.2f}" in told
    assert found.curvature.products <= 150


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
@pytest.mark.parametrize("samples", [0, 200, None])
@pytest.mark.parametrize("budget", [26, 40, 100, 260])
def test_no_budget_of_products_is_overdrawn(
    trained: Path, curvature: str, samples: int | None, budget: int
) -> None:
    given = CurvatureConfig(curvature=curvature, samples=samples, with_ggn=budget == 260)
    found = run(trained, given, LimitConfig(tolerance="0pp", max_products=budget))
    assert found.curvature.products <= budget


def test_a_budget_below_the_least_is_refused_with_the_least(trained: Path) -> None:
    with pytest.raises(UsageError, match="at least 26 are needed"):
        run(trained, limit=LimitConfig(max_products=25))
    with pytest.raises(UsageError, match=r"`max_seconds` is 1e-09, .* give that or more"):
        run(trained, limit=LimitConfig(max_seconds=1e-9))


def test_a_budget_of_time_is_kept_and_told(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([1e9] * 40)
    monkeypatch.setattr(
        "prunelimit.estimation.budget.Budget.seconds_left", lambda _: next(left, 0.0)
    )
    found = run(trained, limit=LimitConfig(max_seconds=1e9, tolerance="0pp"))
    assert found.curvature.ended == "max-seconds"
    assert not found.reliability.ok


def test_samples_that_leave_more_open_end_the_work(trained: Path) -> None:
    given = CurvatureConfig(samples=40, curvature="hessian")
    found = run(trained, given, LimitConfig(max_products=5_000))
    assert found.curvature.ended == "samples"
    others = [error for source, error in found.limit.errors.items() if source != "samples"]
    assert found.limit.errors["samples"] > 2 * max(others)


def test_samples_are_as_many_as_the_tolerance_asks(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunelimit.estimation.sample_size.FIRST_SAMPLES", 60)
    chosen = CurvatureConfig(probes=8, curvature="hessian")
    limit = LimitConfig(tolerance="1pp", max_products=10_000)
    found = run(trained, chosen, limit)
    used = [(each.parts, each.samples) for each in found.curvature.nested]
    assert used[:2] == [(4, 15), (1, 60)] and used[-1] == (1, found.curvature.samples)
    if found.curvature.samples == 1437:
        assert "samples" not in found.limit.errors
    coarse = run(trained, chosen, dataclasses.replace(limit, tolerance="50pp"))
    assert coarse.curvature.samples == 60 < found.curvature.samples


def test_no_more_samples_than_there_is_time_for(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunelimit.estimation.sample_size.FIRST_SAMPLES", 60)
    monkeypatch.setattr("prunelimit.estimation.dense._refuse", lambda *_: None)
    monkeypatch.setattr("prunelimit.estimation.budget.Budget.seconds_left", lambda _: 1e-6)
    limit = LimitConfig(tolerance="0pp", max_seconds=1e9, max_products=1000)
    given = CurvatureConfig(curvature="hessian")
    assert run(trained, given, limit).curvature.samples == 60


def test_given_samples_are_taken_and_what_they_leave_open_is_told(trained: Path) -> None:
    given = CurvatureConfig(samples=300, steps=70, curvature="hessian")
    found = run(trained, given, LimitConfig(directional_steps=20))
    quarters, whole = found.curvature.nested
    assert (quarters.samples, quarters.parts, whole.samples) == (75, 4, 300)
    assert quarters.deviation is not None and quarters.deviation > 0
    rest, student = 1 - 300 / 1437, 3.182  # of three degrees of freedom, 97.5%
    random = student * quarters.deviation / 2 * rest**0.5
    systematic = (quarters.sparsity - whole.sparsity) * rest
    expected = (random**2 + systematic**2) ** 0.5
    assert found.limit.errors["samples"] == pytest.approx(expected, abs=1 / found.model.prunable)
    assert found.curvature.steps == 70
    given = dataclasses.replace(given, steps=20)
    silent = run(trained, given, LimitConfig(no_drift=True))
    assert silent.curvature.nested == () and "samples" not in silent.limit.errors


@pytest.mark.parametrize("basis", BASES)
def test_every_basis_gives_the_limit(trained: Path, basis: str) -> None:
    given = CurvatureConfig(steps=40, samples=0, probes=1, basis=basis)
    limit = LimitConfig(directional_steps=20)
    expected = run(trained, dataclasses.replace(given, basis="memory"), limit)
    found = run(trained, given, limit)
    assert found.limit.sparsity == pytest.approx(expected.limit.sparsity, abs=0.01)


def test_vectors_that_cannot_fit_are_refused_beforehand(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunelimit.estimation.curvature.available_bytes", lambda _: 10_000)
    with pytest.raises(UsageError, match="`basis`"):
        run(trained)


def test_growth_ends_where_memory_does(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunelimit.estimation.estimate.available_bytes", lambda _: 0)
    found = run(trained, limit=LimitConfig(tolerance="0pp"))
    assert found.curvature.ended == "memory"
    assert found.curvature.steps == 60
    assert any("`basis`" in reason for reason in found.reliability.reasons)


def test_pyhessian_is_asked_for_a_second_opinion(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = CurvatureConfig(steps=40, samples=200, cross_check=True, curvature="hessian")
    limit = LimitConfig(directional_steps=10, no_drift=True)
    found = run(trained, given, limit)
    checked = found.curvature.cross_check
    assert checked is not None and checked.agree
    assert checked.lambda_max == pytest.approx(found.curvature.lambda_max, rel=0.01)
    monkeypatch.setattr("prunelimit.curvature.PyHessianProduct.top", lambda *_: 1e3)
    other = run(trained, given, limit)
    assert any("PyHessian" in reason for reason in other.reliability.reasons)
    with pytest.raises(UsageError, match="`cross_check`"):
        run(trained, dataclasses.replace(given, curvature="ggn"), limit)


def test_the_ggn_stands_beside_the_hessian(trained: Path) -> None:
    given = CurvatureConfig(steps=20, samples=300, probes=1, with_ggn=True, curvature="hessian")
    limit = LimitConfig(directional_steps=10)
    both = run(trained, given, limit)
    assert {each.operator for each in both.variants} == {"absolute", "negatives-as-flat", "ggn"}
    assert both.limit.operator == "absolute"
    alone = run(trained, dataclasses.replace(given, curvature="ggn", with_ggn=False), limit)
    found = {v.formula: v.sparsity for v in both.variants if v.operator == "ggn"}
    assert found == {v.formula: v.sparsity for v in alone.variants}
    hessian = run(trained, dataclasses.replace(given, with_ggn=False), limit)
    assert hessian.limit == both.limit
    assert hessian.curvature.products < both.curvature.products


def test_spectrum_asks_pyhessian_too(trained: Path, prunelimit: Callable[..., Outcome]) -> None:
    command = ("spectrum", trained, "-m", own(trained), "--samples", "200", "--steps", "40")
    command = (*command, "--curvature", "hessian")
    outcome = prunelimit(*command, "--cross-check", "-o", "s.json")
    assert outcome.code == 0 and "PyHessian" in outcome.stderr
    assert json.loads(Path("s.json").read_text())["curvature"]["cross_check"]["agree"]
    assert prunelimit(*command, "--cross-check", "--dtype", "float64").code == 2


def test_a_small_memory_changes_no_number(trained: Path) -> None:
    given = CurvatureConfig(steps=12, samples=200)
    limit = LimitConfig(directional_steps=6)
    expected = run(trained, given, limit)
    assert run(trained, dataclasses.replace(given, memory=0.0), limit).limit == expected.limit
    with pytest.raises(UsageError, match="`memory`"):
        run(trained, dataclasses.replace(given, memory=-1.0), limit)


@pytest.fixture(scope="module")
def uninterrupted(trained: Path) -> PredictResult:
    return run(trained, limit=LimitConfig(tolerance="1pp", max_products=300))


@pytest.mark.parametrize("share", [0.02, 0.2, 0.35, 0.5])
def test_an_interrupted_prediction_goes_on_to_the_same_numbers(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    uninterrupted: PredictResult,
) -> None:
    limit = LimitConfig(tolerance="1pp", max_products=300)
    expected = uninterrupted
    state = tmp_path / "state"
    with monkeypatch.context() as patched:
        stop = stopping_after(round(share * expected.curvature.products), patched)
        early = run(trained, limit=limit, state=state, stop=stop)
    assert early.curvature.ended == "interrupted"
    assert not early.reliability.ok
    # Whoever interrupts is not kept waiting for the model's own threshold.
    assert early.one_shot is not None and early.one_shot.modelled is None
    assert state.exists()
    with pytest.raises(OutputError, match="`resume`"):
        run(trained, limit=limit, state=state)
    with pytest.raises(UsageError, match="another curvature"):
        run(trained, HESSIAN, limit, state=state, resume=True)
    found = run(trained, limit=limit, state=state, resume=True)
    for part in PARTS:
        assert getattr(found, part) == getattr(expected, part)
    assert found.curvature.products == expected.curvature.products
    assert state.exists()  # until the caller has written the result


def test_a_kill_without_warning_loses_no_finished_growth(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: PredictResult
) -> None:
    limit, state = LimitConfig(tolerance="1pp", max_products=300), tmp_path / "state"
    with monkeypatch.context() as patched:
        patched.setattr("prunelimit.estimation.budget.WORTH_SAVING", 0.0)
        multiply, taken = CurvatureProduct.__call__, 0

        def dying(self: CurvatureProduct, vectors: torch.Tensor) -> torch.Tensor:
            nonlocal taken
            taken += 1
            if taken == 80:
                raise MemoryError  # nothing is put away on the way out
            return multiply(self, vectors)

        patched.setattr(CurvatureProduct, "__call__", dying)
        with pytest.raises(MemoryError):
            run(trained, limit=limit, state=state)
    taken = 0

    def counted(self: CurvatureProduct, vectors: torch.Tensor) -> torch.Tensor:
        nonlocal taken
        taken += 1
        return multiply(self, vectors)

    monkeypatch.setattr(CurvatureProduct, "__call__", counted)
    found = run(trained, limit=limit, state=state, resume=True)
    assert found.limit == uninterrupted.limit
    # The probe's 60 steps and the one product were kept, and later steps of what has begun since as
    # time allowed.
    products = uninterrupted.curvature.products
    assert products - 80 < taken < products - 60


def test_ctrl_c_gives_the_estimate_so_far_and_resume_goes_on(
    trained: Path, prunelimit: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    multiply = CurvatureProduct.__call__
    taken = 0

    def interrupted(self: CurvatureProduct, vectors: torch.Tensor) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken == 80:
            signal.raise_signal(signal.SIGINT)
        return multiply(self, vectors)

    command = (
        "predict",
        trained,
        "-m",
        own(trained),
        "--samples",
        "0",
        "--tolerance",
        "1pp",
        "-o",
        "p.json",
    )
    whole = prunelimit(*command[:-1], "whole.json", "--json", "-q").document
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        patched.setattr(CurvatureProduct, "__call__", interrupted)
        outcome = prunelimit(*command, "-v")
    assert outcome.code == 130
    assert "--resume" in outcome.stderr and "interrupted" in outcome.stderr
    assert signal.getsignal(signal.SIGINT) is handler
    assert Path("p.json").exists() and Path("p.json.resume").is_dir()
    assert prunelimit(*command, "-q").code == 2
    resumed = prunelimit(*command, "--resume", "--json", "-q")
    assert resumed.code == 0
    assert resumed.document["limit"] == whole["limit"]
    assert not Path("p.json.resume").exists()


def test_ctrl_c_without_an_output_tells_that_nothing_is_left(
    trained: Path, prunelimit: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    multiply = CurvatureProduct.__call__

    def interrupted(self: CurvatureProduct, vectors: torch.Tensor) -> torch.Tensor:
        if self.products == 15:
            signal.raise_signal(signal.SIGINT)
        return multiply(self, vectors)

    monkeypatch.setattr(CurvatureProduct, "__call__", interrupted)
    outcome = prunelimit("predict", trained, "-m", own(trained), "--samples", "0")
    assert outcome.code == 130
    assert "this is the estimate so far." in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resume",),
        ("--max-products", "0"),
        ("--max-seconds", "0"),
        ("--tolerance", "1"),
        ("--probes", "0"),
        ("--steps", "0"),
        ("--directional-steps", "0"),
        ("--basis", "dsk"),
    ],
)
def test_senseless_budgets_are_refused(
    trained: Path, prunelimit: Callable[..., Outcome], arguments: tuple[str, ...]
) -> None:
    outcome = prunelimit(
        "predict", trained, "-m", own(trained), "--samples", "64", *arguments, "-q"
    )
    assert outcome.code == 2
    assert arguments[0] in outcome.stderr or "olerance" in outcome.stderr
    assert not list(Path().iterdir())
