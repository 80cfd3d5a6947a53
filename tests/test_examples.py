"""Every example runs, by the commands that it gives itself."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from prunelimit.cli.main import main
from prunelimit.inputs.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "examples").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)
SCRIPTS = [path for path in EXAMPLES if path.suffix == ".py"]
GATE = Path("examples/ci-gate")

Said = dict[str, list[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the examples and nothing else of the repository."""
    folder = tmp_path_factory.mktemp("place")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=ignore)
    return folder


def run(command: list[str], folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """A command as a user of this interpreter's environment would give it."""
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": scripts, "OMP_NUM_THREADS": "1", **extra}
    if "GITHUB_STEP_SUMMARY" not in extra:
        environment.pop("GITHUB_STEP_SUMMARY", None)
    if command[0] == "python":
        command = [sys.executable, *command[1:]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def commands(script: Path) -> list[list[str]]:
    """The indented lines of a script's docstring, those that end in a backslash joined."""
    text = ast.get_docstring(ast.parse((ROOT / script).read_text())) or ""
    text = re.sub(r"\\\n\s*", "", text)
    return [shlex.split(line) for line in re.findall(r"(?m)^    (\S.*)$", text)]


def test_there_is_nothing_that_no_test_runs() -> None:
    others = {path for path in EXAMPLES if path not in SCRIPTS}
    run_elsewhere = {GATE / "gitlab.yml"}  # by test_ci
    names = ("gate.sh", "lenet.safetensors", "prune-gate.yml")
    assert others - run_elsewhere == {GATE / name for name in names}
    assert SCRIPTS


def here(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command in this process, which has loaded torch already; those of prunelimit with JSON."""
    out, err, before, given = io.StringIO(), io.StringIO(), Path.cwd(), sys.argv
    os.chdir(folder)
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if command[0] == "prunelimit":
                code = main([*command[1:], "--json"])
            else:
                sys.argv = command[1:]
                runpy.run_path(command[1], run_name="__main__")
    finally:
        os.chdir(before)
        sys.argv = given
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def said(place: Path) -> Said:
    """What the commands of every script left; each is run once."""
    found: Said = {}
    for script in SCRIPTS:
        own = script.stem in ("own_network", "live_module")
        found[script.stem] = [
            (run if own and command[0] == "python" else here)(command, place)
            for command in commands(script)
        ]
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_script_does_what_it_says(script: Path, said: Said) -> None:
    assert ["python", str(script)] in [command[:2] for command in commands(script)]
    for done in said[script.stem]:
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_a_network_of_ones_own_is_predicted_with_its_own_data(said: Said) -> None:
    document = json.loads(said["own_network"][-1].stdout)
    layers = [30 * 64, 64 * 32, 32 * 2]
    assert document["model"]["prunable"] == sum(layers)
    assert document["model"]["parameters"] == sum(layers) + 64 + 32 + 2
    assert (document["data"]["samples"], document["data"]["classes"]) == (450, 2)


@pytest.mark.parametrize(
    ("script", "prunable", "loss", "metric", "least"),
    [
        ("multiple_instances", 5_696, "cross-entropy", "accuracy", 0.8),
        ("segmentation", 1_512, "cross-entropy", "mean-iou", 0.5),
        ("tabular_regression", 848, "examples/tabular_regression.py:loss", "r2", 0.3),
        ("text_transformer", 5_304, "cross-entropy", "accuracy", 0.3),
    ],
)
def test_data_of_another_kind_are_predicted_pruned_and_measured(
    said: Said, place: Path, script: str, prunable: int, loss: str, metric: str, least: float
) -> None:
    _, *documents = said[script]
    predicted, pruned, measured = (json.loads(each.stdout) for each in documents)
    for each in (predicted, pruned, measured):
        assert each["model"]["prunable"] == prunable
        assert (each["data"]["loss"], each["data"]["metric"]) == (loss, metric)
    dense = predicted["dense"]["accuracy"]
    assert dense == pruned["accuracy_before"] == measured["dense"]["accuracy"]
    assert dense > least
    plain, limit = (predicted[name]["sparsity"] for name in ("one_shot", "limit"))
    assert 0 < plain < limit <= 1
    first, second = measured["curve"][-2:]
    assert first["accuracy"] == pytest.approx(pruned["accuracy_after"])
    assert first["nonzero"] == pruned["nonzero"] and second["loss"] > measured["dense"]["loss"]
    written = read_checkpoint(place / pruned["artifact"]["path"])
    zeros = sum(int((tensor == 0).sum()) for tensor in written.tensors.values())
    assert zeros >= prunable - pruned["nonzero"]


def test_the_papers_story_is_told_and_comes_true(said: Said) -> None:
    printed = said["paper_on_digits"][0].stdout
    (plain, limit) = map(float, re.findall(r"plain ([\d.]+)%, limit ([\d.]+)%", printed)[0])
    (holds,) = map(float, re.findall(r"nothing moved: the loss holds to ([\d.]+)%", printed))
    assert abs(holds - plain) <= 2
    ((low, high),) = re.findall(
        r"trained: the loss holds to ([\d.]+)% and not to ([\d.]+)%", printed
    )
    assert plain < float(low) < float(high)
    assert abs(float(low) - limit) <= 2 and "within 2 points: True" in printed


def test_layers_alone_say_which_breaks_first(said: Said) -> None:
    printed = said["which_layer_breaks"][0].stdout
    right = dict(re.findall(r"(\w+) at 90%: ([\d.]+)% right", printed))
    assert set(right) == {"uniform", "global", "targets"}
    assert float(right["targets"]) >= float(right["uniform"])


def test_prunability_is_followed_over_training(said: Said) -> None:
    printed = said["over_training"][0].stdout
    assert re.findall(r"(?m)^epoch (\d+): plain", printed) == ["5", "10", "15", "20"]
    assert re.findall(r"(?m)^  epoch (\d+) ", printed) == ["2", "6", "12"]


def test_a_live_module_ends_with_the_zeros_it_was_promised(said: Said) -> None:
    printed = said["live_module"][0].stdout
    (limit,) = re.findall(r"limit: ([\d.]+)%", printed)
    (promised,) = re.findall(r"Pruned to ([\d.]+)%", printed)
    assert float(limit) - 2 <= float(promised) <= float(limit)
    ((zeros, prunable),) = re.findall(r"(\d+) of (\d+) prunable", printed)
    assert int(prunable) == 64 * 100 + 100 * 10
    assert abs(100 * int(zeros) / int(prunable) - float(promised)) <= 0.06
    ((loss, allowed),) = re.findall(r"loss ([\d.]+), allowed ([\d.]+)\.", printed)
    assert float(loss) <= float(allowed)


def test_the_gate_passes_and_leaves_the_checkpoint_as_it_is(place: Path) -> None:
    job = (ROOT / GATE / "prune-gate.yml").read_text()
    (line,) = re.findall(r"- run: (\S*gate\.sh.*)", job)
    summary = place / "summary.md"
    before = (place / GATE / "lenet.safetensors").read_bytes()
    done = run(shlex.split(line), place, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0, done.stderr
    assert (place / GATE / "lenet.safetensors").read_bytes() == before
    kept = place / re.search(r"(?m)^\s+path: (\S+)", job)[1]
    assert {path.name for path in kept.iterdir()} == {
        *("predict.json", "limit.png", "measure.json", "measure.png", "check.json", "check.xml")
    }
    verdict = json.loads((kept / "check.json").read_text())
    agreement = verdict["agreement"]
    assert agreement["rule"] == "feasibility" and agreement["number"] == "limit"
    assert verdict["passed"] and abs(agreement["difference_pp"]) <= agreement["tolerance_pp"]
    assert ET.parse(kept / "check.xml").getroot().get("failures") == "0"
    assert "passed" in summary.read_text()


def test_the_gate_does_not_pass_what_it_cannot_read(place: Path) -> None:
    done = run([str(GATE / "gate.sh"), "nothing.safetensors", "empty"], place)
    assert done.returncode == 3
    assert "nothing.safetensors" in done.stderr
    assert not list((place / "empty").iterdir())


def test_the_gate_needs_nothing_but_its_checkpoint() -> None:
    path = ROOT / GATE / "lenet.safetensors"
    assert path.stat().st_size < 300_000
    description = read_checkpoint(path).description
    assert description is not None
    job = (ROOT / GATE / "prune-gate.yml").read_text()
    (lines,) = re.findall(r"#\s+(prunelimit train .*\\\n#.*)", job)
    command = shlex.split(lines.replace("\\\n#", " "))
    assert command[command.index("-m") + 1] == description["model"]["model"]
    assert command[command.index("-d") + 1] == description["data"]["data"]
    for name in ("l1", "epochs", "train_batch_size"):
        flag = f"--{name.replace('_', '-')}"
        assert float(command[command.index(flag) + 1]) == description["training"][name]
