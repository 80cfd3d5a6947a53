"""The action, the workflow and the template: held to their schemas, their steps run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "action.yml"
GITLAB = ROOT / "examples" / "ci-gate" / "gitlab.yml"
WORKFLOW = ROOT / "examples" / "ci-gate" / "prune-gate.yml"

SCHEMAS = {
    ACTION: "vendor.github-actions",
    WORKFLOW: "vendor.github-workflows",
    GITLAB: "vendor.gitlab-ci",
}


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_it_is_what_its_schema_asks_for(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[path]]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(folder: Path, **given: str) -> dict[str, str]:
    """This environment's programs, and what a runner sets; pip writes into ``folder`` alone and
    asks no registry."""
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_TARGET": str(folder / "pip")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **offline, **given}


def shell(script: str, folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """A step as runners run it."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(folder, **given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def act(place: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The check of the action, with its inputs put where they stand."""
    action = yaml.safe_load(ACTION.read_text())
    (step,) = (each for each in action["runs"]["steps"] if each.get("id") == "check")
    values = {name: each.get("default", "") for name, each in action["inputs"].items()} | inputs
    given = {
        name: values[text.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, text in step["env"].items()
    }
    output = str(place / "output")
    return shell(step["run"], place, GITHUB_OUTPUT=output, GITHUB_ACTIONS="true", **given)


def test_the_action_is_red_and_green(results: tuple[Path, Path], tmp_path: Path) -> None:
    spaced = tmp_path / "my results"
    spaced.mkdir()
    (spaced / "m.json").write_bytes(results[1].read_bytes())
    for floor, code, said in (("0.01", 0, "true"), ("0.9999", 1, "false")):
        done = act(
            tmp_path, files="'my results/m.json'", arguments=f"--min-sparsity {floor}", folder=floor
        )
        assert done.returncode == code, done.stderr
        assert (tmp_path / "output").read_text().splitlines()[-1] == f"passed={said}"
        assert ("::error title=" in done.stderr) is (code == 1)
        assert json.loads((tmp_path / floor / "check.json").read_text())["passed"] is (code == 0)
        root = ET.parse(tmp_path / floor / "junit.xml").getroot()
        assert root.get("failures") == str(code)
        assert (tmp_path / floor / "report.html").stat().st_size > 1_000


def test_inputs_of_the_action_are_never_run(results: tuple[Path, Path], tmp_path: Path) -> None:
    done = act(
        tmp_path, files=f"{results[1]} $(touch a)", arguments="; touch b `touch c` && touch d"
    )
    assert done.returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "prunelimit-gate"]


def test_the_action_installs_itself(tmp_path: Path) -> None:
    steps = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("the sources are no checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    done = shell(steps[0]["run"], tmp_path, PACKAGE="", GITHUB_ACTION_PATH=str(source))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pip" / "prunelimit" / "gate").is_dir()


def test_the_job_of_gitlab_is_red_and_green(results: tuple[Path, Path], tmp_path: Path) -> None:
    job: dict[str, Any] = yaml.safe_load(GITLAB.read_text())[".prunelimit"]
    script = "\n".join(line for line in job["script"] if "pip install" not in line)
    for gates, code in (("--min-sparsity 0.01", 0), ("--min-sparsity 0.9999", 1)):
        done = shell(script, tmp_path, FILES=str(results[1]), GATES=gates)
        assert done.returncode == code, done.stderr
        reports = job["artifacts"]["reports"]
        assert len(json.loads((tmp_path / reports["codequality"]).read_text())) == code
        assert ET.parse(tmp_path / reports["junit"]).getroot().get("failures") == str(code)
