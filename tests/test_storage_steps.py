"""Steps of long work that are kept: after an end without warning none of them is done again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome
from torch import nn

from prunelimit.curvature.products import CurvatureProduct
from prunelimit.errors import InputError, OutputError, UsageError
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.pruning.magnitude import keep_mask, magnitude_order
from prunelimit.storage.steps import Steps
from prunelimit.training import refit as training
from prunelimit.training.refit import refit

Run = Callable[..., Outcome]

OWNER = {"seed": 0}


def opened(folder: Path, *, resume: bool = False, force: bool = False) -> Steps:
    return Steps.open(folder, "run", OWNER, resume=resume, force=force)


class TestSteps:
    def test_are_there_again(self, tmp_path: Path) -> None:
        folder = tmp_path / "s.resume"
        steps = opened(folder)
        assert steps.restored("a", dict) is None and not folder.exists()
        steps.save("a", {"x": torch.arange(3), "n": 1.5})
        steps.under("b").save("a", {"n": 2})
        again = opened(folder, resume=True)
        found = again.restored("a", dict)
        assert found is not None and found["n"] == 1.5
        assert torch.equal(found["x"], torch.arange(3))
        assert again.under("b").restored("a", lambda state: state["n"]) == 2
        again.forget("b")
        assert again.under("b").restored("a", dict) is None
        assert again.restored("a", dict) is not None
        again.discard()
        assert not folder.exists()

    def test_without_a_folder_are_not_kept(self) -> None:
        steps = Steps()
        steps.save("a", {"n": 1})
        steps.forget("a")
        steps.discard()
        assert steps.restored("a", dict) is None

    def test_of_others_are_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "s.resume"
        opened(folder).save("a", {})
        with pytest.raises(OutputError, match="`resume` to go on"):
            opened(folder)
        with pytest.raises(UsageError, match=r"another seed \(0, now 1\)"):
            Steps.open(folder, "run", {"seed": 1}, resume=True, force=False)
        (folder / "thesis.tex").write_text("years of work")
        with pytest.raises(OutputError, match="not the state of a run"):
            opened(folder, force=True)
        opened(folder, resume=True).discard()
        assert (folder / "thesis.tex").exists()

    def test_in_the_place_of_a_file_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "s.resume").write_text("something")
        with pytest.raises(InputError, match="cannot be read as the state of a run"):
            opened(tmp_path / "s.resume", resume=True)

    @pytest.mark.parametrize("how", ["cut", "bit", "empty", "other"])
    def test_that_are_damaged_are_refused(self, tmp_path: Path, how: str) -> None:
        folder = tmp_path / "s.resume"
        steps = opened(folder)
        steps.save("a", {"x": torch.arange(200.0)})
        (path,) = folder.rglob("state.pt")
        content = bytearray(path.read_bytes())
        if how == "bit":
            content[content.index(torch.arange(200.0).numpy().tobytes()) + 90] ^= 4
        path.write_bytes({"cut": content[:-100], "empty": b"", "other": b"text"}.get(how, content))
        with pytest.raises(InputError, match="cannot be read as the state of a run; give `force`"):
            opened(folder, resume=True).restored("a", dict)
        opened(folder, force=True)
        assert not folder.exists()


def problem() -> Problem:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    inputs = torch.randn(800, 6)
    data = inputs, inputs[:, :3].argmax(1)
    return problem_from_module(network, data, data)


@pytest.mark.parametrize("ended", [0, 1, 2, 3, 7])
def test_a_training_of_survivors_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: int
) -> None:
    """Passes of minibatches first, then of the solver; it ends after some of either."""
    given = problem()
    mask = keep_mask(given, magnitude_order(given), 60)
    options: dict[str, Any] = {
        "target_loss": 0.0, "passes": 9, "first": 2, "lr": 1e-2, "batch_size": 8
    }  # fmt: skip
    whole = refit(given, mask, **options)
    assert whole.passes > 8
    looked, passes, saved = [], [], 0

    class Killed(BaseException):
        pass

    save = Steps.save

    def until(self: Steps, name: str, state: Any) -> None:
        nonlocal saved
        if saved == ended:
            raise Killed
        save(self, name, state)
        saved += 1

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Steps, "save", until)
        refit(given, mask, steps=opened(tmp_path / "s"), **options)
    steps = opened(tmp_path / "s", resume=True)
    full, look = training._Survivors._pass, training._Survivors.look

    def counted(self: Any, weights: Any) -> Any:
        passes.append(1)
        return full(self, weights)

    def watched(self: Any, weights: Any) -> None:
        looked.append(1)
        look(self, weights)

    monkeypatch.setattr(training._Survivors, "_pass", counted)
    monkeypatch.setattr(training._Survivors, "look", watched)
    found = refit(given, mask, steps=steps, **options)
    assert torch.equal(found.weights, whole.weights)
    assert dataclasses.replace(found, weights=whole.weights) == whole
    assert len(looked) == 2
    assert len(passes) == len(list((tmp_path / "s").rglob("state.pt"))) - max(2, ended)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pass 1", {"slope": torch.zeros(3, dtype=torch.float64)}),
        ("pass 1", {"slope": torch.zeros(54)}),
        ("pass 1", {"loss": "much"}),
        ("minibatches 1", {"weights": torch.zeros(3)}),
        ("minibatches 1", {"moments": {"exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}}),
        ("minibatches 1", {"lr": float("nan")}),
        ("minibatches 1", {"lr": 1e9}),
    ],
)
def test_passes_of_another_training_are_refused(
    tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    given = problem()
    mask = keep_mask(given, magnitude_order(given), 60)
    steps = opened(tmp_path / "s")
    first = 2 if name.startswith("minibatches") else 0
    options: dict[str, Any] = {"target_loss": 0.0, "passes": 4, "first": first, "batch_size": 8}
    refit(given, mask, steps=steps, **options)
    kept = steps.restored(name, dict)
    assert kept is not None
    steps.save(name, kept | change)
    with pytest.raises(InputError, match="cannot be read as the state of a run"):
        refit(given, mask, steps=steps, **options)


class Ended(BaseException):
    """Stands for an end that gives no chance to write anything."""


FEW = ("--samples", "200", "--probes", "1", "--steps", "12", "--directional-steps", "12",
       "--epsilon", "0.02", "--no-drift")  # fmt: skip
COMMANDS: dict[str, tuple[str, ...]] = {
    "predict": ("predict", *FEW),
    "its own prediction": ("prune", *FEW),
    "trained": ("prune", "--amount", "0.99", "--survivors", "trained", "--refit-passes", "3"),
    "within": ("prune", "--within", "0.1pp", "--survivors", "trained", "--refit-passes", "2"),
    "within, staged": ("prune", "--within", "0.1pp", "--survivors", "staged", "--cg-steps", "4"),
    "comparison": ("compare", *FEW, "--methods", "magnitude+trained,snip+staged",
                   "--sparsities", "0.5,0.9,0.95", "--refit-passes", "2", "--cg-steps", "4"),
}  # fmt: skip


def counts(monkeypatch: pytest.MonkeyPatch, end: int | None) -> list[str]:
    """What long steps are taken; the work ends when so many were."""
    taken: list[str] = []

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*given: Any, **options: Any) -> Any:
            if len(taken) == end:
                raise Ended
            found = real(*given, **options)
            taken.append(name)
            return found

        monkeypatch.setattr(owner, name, watched)

    watch(CurvatureProduct, "__call__")
    watch(training._Survivors, "_pass")
    return taken


@pytest.mark.slow
@pytest.mark.parametrize("case", COMMANDS)
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_no_step_of_a_command_is_taken_twice(
    prunelimit: Run,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    share: float,
) -> None:
    monkeypatch.setattr("prunelimit.lanczos.store.SECONDS_BETWEEN_SAVES", 0.0)
    command, *options = COMMANDS[case]
    suffix = "pt" if command == "prune" else "json"

    def run(output: str, end: int | None, *more: str) -> list[str]:
        with monkeypatch.context() as patched:
            taken = counts(patched, end)
            try:
                found = prunelimit(command, trained, *options, "-q", "-o", output, *more)
                assert end is None and found.code == 0, found.stderr
            except Ended:
                assert end is not None
        return taken

    whole = run(f"whole.{suffix}", None)
    end = int(share * len(whole))
    run(f"part.{suffix}", end)
    again = run(f"part.{suffix}", None, "--resume")
    # The solve of a stage begins again: stages are kept, their products are not.
    slack = 4 * ("staged" in " ".join(options)) * 2
    assert len(again) <= len(whole) - end + slack
    assert _outcome(Path(f"part.{suffix}")) == _outcome(Path(f"whole.{suffix}"))
    assert sorted(each.name for each in Path().iterdir()) == [f"part.{suffix}", f"whole.{suffix}"]


def _outcome(path: Path) -> Any:
    if path.suffix == ".pt":
        return {n: t.tolist() for n, t in torch.load(path, weights_only=True).items()}
    return _timeless(json.loads(path.read_text()))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _timeless(each)
            for name, each in value.items()
            if name not in ("created", "peak_bytes") and not name.endswith("seconds")
        }
    return [_timeless(each) for each in value] if isinstance(value, list) else value
