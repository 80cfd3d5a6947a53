"""``measure --resume``: what an end has left is used again, to the same numbers, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome

from prunelimit.measurement import networks
from prunelimit.storage import resume, steps
from prunelimit.storage.files import resume_path

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]

SETTINGS = (
    "--resolution", "0.05", "--calibration", "200", "--cg-steps", "3", "--refit-passes", "2",
    "--epsilon", "0.02", "-q",
)  # fmt: skip

NET = """
import torch
from sklearn.datasets import load_digits

def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))

def data():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16).float(), torch.tensor(y)
    return (x[:600], y[:600]), (x[600:800], y[600:800])

def loss(outputs, targets):
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
"""


class Ended(Exception):
    """Stands for an end that gives no chance to write anything."""


def ending(patched: pytest.MonkeyPatch, after: int, how: type[BaseException] = Ended) -> list[int]:
    """Lets the work end when that many networks are made. The list gets those that are made."""
    refit, path, made = networks.refit, networks.Path.at, []

    def count(removed: int) -> None:
        if len(made) == after:
            raise how
        made.append(removed)

    def trained(problem: Any, mask: Any, **given: Any) -> Any:
        count(int((~mask).sum()))
        return refit(problem, mask, **given)

    def moved(self: Any, removed: int, *rest: Any) -> Any:
        count(removed)
        return path(self, removed, *rest)

    patched.setattr(networks, "refit", trained)
    patched.setattr(networks.Path, "at", moved)
    return made


def numbers(path: str) -> dict[str, Any]:
    """What a measurement says, but for when and how fast."""
    found = json.loads(Path(path).read_text())
    own = ("model", "data", "method", "dense", "epsilon", "curve", "thresholds", "witness")
    cost = {**found["cost"], "seconds": None}
    return {**{key: found[key] for key in own}, "cost": cost, "config": found["config"]}


@pytest.mark.parametrize("how", [KeyboardInterrupt, Ended])
@pytest.mark.parametrize("survivors", ["trained", "compensated", "staged"])
def test_it_goes_on_with_the_networks_that_are_not_made(
    prunelimit: Run,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    survivors: str,
    how: type[BaseException],
) -> None:
    command = ("measure", trained, "--survivors", survivors, *SETTINGS, "-o")
    with monkeypatch.context() as patched:
        every = ending(patched, 1_000)
        assert prunelimit(*command, "whole.json").code == 0
    for _ in range(2):
        with monkeypatch.context() as patched:
            ending(patched, 2, how)
            outcome = prunelimit(*command, "m.json", "--resume")
        assert outcome.code == (130 if how is KeyboardInterrupt else 3)
        told = "what is done is kept; run the same command with --resume" in outcome.stderr
        assert told is (how is KeyboardInterrupt)
        again = "what is done is kept; run again with --resume -v" in outcome.stderr
        assert again is (how is Ended)
        assert not Path("m.json").exists() and resume_path(Path("m.json")).is_dir()
    with monkeypatch.context() as patched:
        made = ending(patched, 1_000)
        outcome = prunelimit(*command, "m.json", "--resume")
    assert outcome.code == 0, outcome.stderr
    assert made == every[4:]
    assert numbers("m.json") == numbers("whole.json")
    assert sorted(each.name for each in Path().iterdir()) == ["m.json", "whole.json"]


def test_other_files_beside_the_state_stay_and_are_told(
    prunelimit: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("measure", trained, "--survivors", "compensated", *SETTINGS[:-1], "-o", "m.json")
    with monkeypatch.context() as patched:
        ending(patched, 2)
        assert prunelimit(*command).code == 3
    notes = resume_path(Path("m.json")) / "notes.txt"
    notes.write_text("mine")
    outcome = prunelimit(*command, "--resume")
    assert outcome.code == 0 and Path("m.json").exists()
    assert f"is done, but {notes.parent} stays" in outcome.stderr and notes.read_text() == "mine"


def test_fixed_survivors_leave_nothing_behind(
    prunelimit: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("measure", trained, *SETTINGS, "-o", "m.json")
    with monkeypatch.context() as patched:

        def ends(*arguments: Any) -> None:
            raise KeyboardInterrupt

        patched.setattr("prunelimit.measurement.points.paired_drop", ends)
        outcome = prunelimit(*command)
    assert outcome.code == 130 and "nothing was written" in outcome.stderr
    assert not list(Path().iterdir())
    assert prunelimit(*command, "--resume").code == 0


def test_what_is_left_is_neither_mixed_with_another_nor_lost(
    prunelimit: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("measure", trained, "--survivors", "trained", *SETTINGS, "-o", "m.json")
    with monkeypatch.context() as patched:
        ending(patched, 2)
        assert prunelimit(*command).code == 3
    state = resume_path(Path("m.json"))
    kept = sorted(state.rglob("*"))
    outcome = prunelimit(*command)
    assert outcome.code == 2 and "--resume" in outcome.stderr and "--force" in outcome.stderr
    for other, told in (
        (("--seed", "1"), "another seed (0, now 1)"),
        (("--refit-passes", "3"), "another refit_passes ("),
        (("--survivors", "fixed"), "another survivors ("),
        (("--sparsities", "0.5"), "another sparsities"),
    ):
        outcome = prunelimit(*command, "--resume", *other)
        assert outcome.code == 2 and told in " ".join(outcome.stderr.split())
    assert sorted(state.rglob("*")) == kept and not Path("m.json").exists()
    made = ending(monkeypatch, 1_000)
    assert prunelimit(*command, "--force").code == 0
    assert len(made) > 2 and not state.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"loss": float("nan")},
        {"loss": "low"},
        {"loss": None},
        {"passes": -5.0},
        {"passes": float("inf")},
        {"outcome": "on target\nand well"},
        {"outcome": 1},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_not_gone_on_with(
    prunelimit: Run, trained: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    command = ("measure", trained, "--survivors", "trained", *SETTINGS, "-o", "m.json")
    with monkeypatch.context() as patched:
        ending(patched, 2)
        assert prunelimit(*command).code == 3
    kept = min(resume_path(Path("m.json")).glob("* removed/part-0/state.pt"))
    torch.save({**torch.load(kept, weights_only=True), **change}, kept)
    outcome = prunelimit(*command, "--resume")
    assert outcome.code == 3 and not Path("m.json").exists()
    assert "cannot be read as the state of a measurement" in " ".join(outcome.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        ("measure", "--survivors", "trained"),
        ("compare", "--methods", "magnitude+trained", "--steps", "8", "--samples", "100"),
        ("prune", "--amount", "0.5", "--survivors", "staged", "--stages", "4"),
        ("train", "--epochs", "3"),
    ],
    ids=lambda command: command[0],
)
def test_code_of_the_user_that_has_changed_is_another_work(
    prunelimit: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A loss that is edited after the end is another problem with the same checkpoint."""
    Path("net.py").write_text(NET)
    user = ("-m", "net.py:network", "-d", "net.py:data", "--loss", "net.py:loss", "-q")
    assert prunelimit("train", *user, "--epochs", "1", "-o", "n.safetensors").code == 0
    name, *options = command
    given = () if name == "train" else ("n.safetensors",)
    output = "out.safetensors" if name in ("train", "prune") else "out.json"
    whole = (name, *given, *user, *options, "-o", output)
    with monkeypatch.context() as patched:
        saves = {"train": 1, "prune": 2}.get(name, 3)
        for kind in (resume.Resumable, steps.Steps):
            save, done = kind.save, []

            def kept(self: Any, *a: Any, save: Any = save, done: list[int] = done) -> None:
                save(self, *a)
                done.append(1)
                if len(done) == saves:
                    raise Ended

            patched.setattr(kind, "save", kept)
        assert prunelimit(*whole).code == 3
    assert any("resume" in each.name for each in Path().iterdir())
    Path("net.py").write_text(
        NET.replace('reduction="none"', 'reduction="none", label_smoothing=0.1')
    )
    outcome = prunelimit(*whole, "--resume")
    assert outcome.code == 2, outcome.stderr
    assert "another code of network, loss or metric" in " ".join(outcome.stderr.split())
