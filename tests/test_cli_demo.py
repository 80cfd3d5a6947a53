"""The demonstration: the whole story, or nothing left behind."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Outcome

from prunelimit.commands import demo as story
from prunelimit.inputs.checkpoint import read_checkpoint
from prunelimit.results.schema import SCHEMAS, schema

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same story with a coarser spectrum and less training."""
    for name, changes in {
        "TRAIN": {"epochs": 6},
        "CURVATURE": {"steps": 10, "samples": 256},
        "LIMIT": {"directional_steps": 8},
        "TRAINED": {"refit_passes": 2, "resolution": 0.02},
        "FIXED": {"resolution": 0.02},
    }.items():
        monkeypatch.setattr(story, name, dataclasses.replace(getattr(story, name), **changes))


@pytest.mark.usefixtures("short")
def test_leaves_everything_a_reader_needs(prunelimit: Run) -> None:
    outcome = prunelimit("demo", "-o", "there", "--json")
    assert outcome.code == 0, outcome.stderr
    assert [path.name for path in Path().iterdir()] == ["there"]
    document = outcome.document
    jsonschema.validate(document, schema("demo"))
    assert sorted(path.name for path in Path("there").iterdir()) == document["files"]
    suffixes = [Path(name).suffix for name in document["files"]]
    assert suffixes.count(".png") == 3
    assert suffixes.count(".safetensors") == 3
    assert "report.html" in document["files"]
    for path in Path("there").glob("*.json"):
        content = json.loads(path.read_text())
        name = content["schema"].removeprefix("prunelimit.").partition("/")[0]
        assert name in SCHEMAS
        jsonschema.validate(content, schema(name))
    assert "Predicted" in outcome.stderr and "Measured" in outcome.stderr
    assert "faster" in outcome.stderr


@pytest.mark.usefixtures("short")
def test_its_files_are_those_of_the_commands(prunelimit: Run) -> None:
    assert prunelimit("demo", "-q", "-o", "there").code == 0
    checkpoint = Path("there/lenet.safetensors")
    predicted = json.loads(Path("there/predict.json").read_text())
    cut = json.loads(Path("there/prune.json").read_text())
    assert predicted["model"]["sha256"] == read_checkpoint(checkpoint).sha256
    assert cut["artifact"]["path"] == "there/pruned.safetensors"
    assert cut["sparsity"] == predicted["one_shot"]["sparsity"]
    again = prunelimit("check", "there/predict.json", "there/measure-trained.json", "--json", "-q")
    verdict = json.loads(Path("there/check.json").read_text())
    assert again.document["agreement"]["difference_pp"] == verdict["agreement"]["difference_pp"]
    assert again.code == (0 if verdict["passed"] else 1)


def test_a_folder_in_use_is_left_alone(prunelimit: Run) -> None:
    Path("there").mkdir()
    Path("there/mine.txt").write_text("mine")
    outcome = prunelimit("demo", "-o", "there")
    assert outcome.code == 2
    assert outcome.stderr.count("\n") == 1 and "--force" in outcome.stderr
    assert [path.name for path in Path("there").iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("short")
def test_force_keeps_what_is_not_its_own(prunelimit: Run) -> None:
    Path("there").mkdir()
    Path("there/mine.txt").write_text("mine")
    Path("there/predict.json").write_text("old")
    assert prunelimit("demo", "-q", "-o", "there", "--force").code == 0
    assert Path("there/mine.txt").read_text() == "mine"
    assert json.loads(Path("there/predict.json").read_text())["command"] == "predict"


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("broken"), 3)]
)
@pytest.mark.usefixtures("short")
def test_nothing_half_done_is_left(
    prunelimit: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*arguments: Any, **settings: Any) -> Any:
        raise error

    monkeypatch.setattr(story, "spectrum", fail)
    assert prunelimit("demo", "-q", "-o", "there").code == code
    assert not list(Path().iterdir())


def test_a_file_or_a_missing_folder_is_refused(prunelimit: Run) -> None:
    Path("file").write_text("mine")
    for name in ("file", "nowhere/there"):
        outcome = prunelimit("demo", "-o", name)
        assert outcome.code == 2
        assert outcome.stderr.count("\n") == 1 and name in outcome.stderr
    assert [path.name for path in Path().iterdir()] == ["file"]
