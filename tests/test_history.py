"""Prunability over checkpoints: order, what is made, what is read, what is left out."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import jsonschema
import pytest
import torch
from conftest import Outcome
from made import ONE_SHOT, both, history, predicted

import prunelimit as pl
from prunelimit.cli.main import group
from prunelimit.errors import InputError, OutputError
from prunelimit.results.schema import schema
from prunelimit.storage.checkpoints import in_order, numbered

Run = Callable[..., Outcome]
FEW = ("--samples", "100", "--steps", "8", "--probes", "1", "--directional-steps", "6")
FEW_HERE = {"samples": 100, "steps": 8, "probes": 1, "directional_steps": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of a training, the second twice, and a file that is no checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    problem = pl.Problem.new(model="lenet-300-100", data="digits")
    for epochs in (1, 10):
        pl.train(problem, epochs=epochs).save(folder / f"net-epoch={epochs}.safetensors")
    shutil.copy(folder / "net-epoch=10.safetensors", folder / "last.safetensors")
    (folder / "optimizer.pt").write_bytes(b"nothing")
    (folder / "notes.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("names", "order", "wanted"),
    [
        (
            ["epoch=10-step=50.ckpt", "epoch=9-step=45.ckpt"],
            "epoch",
            ["epoch=9-step=45.ckpt", "epoch=10-step=50.ckpt"],
        ),
        (["e1.pt", "e0.pt"], "number", ["e0.pt", "e1.pt"]),
        (
            ["epoch=1-step=10.ckpt", "epoch=1-step=9.ckpt"],
            "epoch",
            ["epoch=1-step=9.ckpt", "epoch=1-step=10.ckpt"],
        ),
        (
            ["checkpoint-1000.pt", "checkpoint-500.pt"],
            "step",
            ["checkpoint-500.pt", "checkpoint-1000.pt"],
        ),
        (
            ["global_step20.bin", "global_step3.bin"],
            "step",
            ["global_step3.bin", "global_step20.bin"],
        ),
        (["resnet20.pt", "resnet20-2.pt"], "number", ["resnet20-2.pt", "resnet20.pt"]),
        (["best.pt", "model_3.pt"], "time", ["best.pt", "model_3.pt"]),
    ],
)
def test_the_order_is_what_all_names_say(
    names: list[str], order: str, wanted: list[str], tmp_path: Path
) -> None:
    for place, name in enumerate(names):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 + place, 1000 + place))
    found, places = in_order([numbered(tmp_path / name) for name in names])
    assert found == order
    assert [each.path.name for each in places] == wanted


def test_each_point_is_what_predict_says(run: Path, prunelimit: Run, tmp_path: Path) -> None:
    outcome = prunelimit(
        *("history", run, *FEW, "--json", "--plot", "history.svg", "--csv", "history.csv"),
        *("-o", "history.json"),
    )
    assert outcome.code == 0, outcome.stderr
    document = outcome.document
    jsonschema.Draft202012Validator(schema("history")).validate(document)
    assert document["order"] == "epoch"
    assert [each["epoch"] for each in document["points"]] == [1, 10]
    for point in document["points"]:
        alone = pl.predict(pl.Problem.from_checkpoint(run / point["name"]), **FEW_HERE)
        assert alone.one_shot is not None
        assert (point["plain"], point["limit"]) == (alone.one_shot.sparsity, alone.limit.sparsity)
        assert point["accuracy"] == alone.dense.accuracy and not point["kept"]
    said = " ".join(document["left_out"])
    assert "last.safetensors: it has the same content as net-epoch=10" in said
    assert "optimizer.pt" in said
    assert "epoch 10" in outcome.stderr and "left out: optimizer.pt" in outcome.stderr
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
    assert "limit" in (tmp_path / "history.svg").read_text()
    assert not list(run.glob("*.predict.json"))  # nothing is left unasked


def test_what_is_kept_is_not_made_again(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    first = pl.history(folder, keep=True, **FEW_HERE)
    kept = sorted(path.name for path in folder.glob("*.predict.json"))
    assert kept == ["net-epoch=1.safetensors.predict.json", "net-epoch=10.safetensors.predict.json"]
    (folder / kept[0]).unlink()  # as if it had been interrupted
    again = pl.history(folder, keep=True, **FEW_HERE)
    assert [each.kept for each in again.points] == [False, True]
    assert [each.limit for each in again.points] == [each.limit for each in first.points]
    # By other options they are others, and what is there is not replaced unasked.
    with pytest.raises(OutputError, match="exists"):
        pl.history(folder, keep=True, **{**FEW_HERE, "samples": 120})
    other = pl.history(folder, **{**FEW_HERE, "samples": 120})
    assert not any(each.kept for each in other.points)


def test_predictions_alone_are_enough(tmp_path: Path, prunelimit: Run) -> None:
    for step, sparsity in ((20, 0.9), (3, 0.8)):
        predicted(sparsity, one_shot=ONE_SHOT).save(tmp_path / f"step{step}.json")
    outcome = prunelimit("history", tmp_path, "--json")
    assert outcome.code == 0, outcome.stderr
    points = outcome.document["points"]
    assert [(each["step"], each["limit"], each["kept"]) for each in points] == [
        (3, 0.8, True),
        (20, 0.9, True),
    ]


def test_a_prediction_that_cannot_be_read_is_named_and_other_files_are_not(tmp_path: Path) -> None:
    both().save(tmp_path / "step-1.json")
    (tmp_path / "step-2.pt.predict.json").write_text('{"schema": "prunelimit.pre')
    (tmp_path / "step-3.json").write_text('{"schema": "prunelimit.predict/1"}')
    (tmp_path / "config.json").write_text('{"hidden_size": 64}')
    (tmp_path / "notes.json").write_text("{")
    found = pl.history(tmp_path)
    assert [point.name for point in found.points] == ["step-1.json"]
    assert [name in said for said, name in zip(found.left_out, ("step-2", "step-3"), strict=True)]
    assert "predict/1" in found.left_out[1]


def test_different_networks_are_refused(tmp_path: Path) -> None:
    both().save(tmp_path / "epoch1.json")
    model, limit = both().model, both().limit
    model = dataclasses.replace(model, prunable=2 * model.prunable, sha256="b" * 64)
    limit = dataclasses.replace(limit, kept=2 * limit.kept)
    dataclasses.replace(both(), model=model, limit=limit).save(tmp_path / "epoch2.json")
    with pytest.raises(InputError, match="one network's checkpoints"):
        pl.history(tmp_path)


@pytest.mark.parametrize("inside", ["missing", "empty", "broken"])
def test_nothing_to_read_is_said(inside: str, tmp_path: Path, prunelimit: Run) -> None:
    folder = tmp_path / "run"
    if inside != "missing":
        folder.mkdir()
    if inside == "broken":
        (folder / "net.pt").write_bytes(b"nothing")
    outcome = prunelimit("history", folder)
    assert outcome.code == 3 and outcome.stderr.count("\n") == 1
    assert {"missing": "listed", "empty": "no checkpoint", "broken": "net.pt"}[
        inside
    ] in outcome.stderr


def test_a_network_that_is_not_named_is_asked_for(tmp_path: Path, prunelimit: Run) -> None:
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "epoch1.pt")
    outcome = prunelimit("history", tmp_path)
    assert outcome.code == 2 and "--model" in outcome.stderr


def test_frames_and_json_hold_every_point() -> None:
    found = history()
    frame = found.to_pandas()
    assert list(frame["limit"]) == [each.limit for each in found.points]
    assert {"plain_low", "limit_high"} <= set(frame.columns)
    assert json.loads(json.dumps(found.to_dict()))["points"][0]["epoch"] == 1
    assert "* not reliable" in found.summary()


def test_command_and_function_have_the_same_options() -> None:
    parent = click.Context(group, info_name="prunelimit")
    command = group.get_command(parent, "history")
    assert command is not None
    theirs = command.make_context("history", ["run"], parent=parent).params
    ours = inspect.signature(pl.history).parameters
    of_files = {*("output", "json", "plot", "figure", "csv_path", "quiet", "verbose")}
    assert set(theirs) - set(ours) <= of_files
    assert set(ours) - set(theirs) == {"progress"}
    for name in set(ours) & set(theirs) - {"directory"}:
        assert ours[name].default == theirs[name], name
