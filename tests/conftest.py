"""One tiny trained network for every test of the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import Started

os.environ.setdefault("MPLBACKEND", "agg")
# Small tensors gain nothing from threads, and on a busy machine lose most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Commands that tests run say nothing to the job that runs the tests.
for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out what is marked slow, and of a test's cases all but the first and the last",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("quick"):
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow") is None:
            cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    chosen = {id(each) for found in cases.values() for each in (found[0], found[-1])}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
    items[:] = [item for item in items if id(item) in chosen]


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code and both streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """stdout, which must be one JSON document and nothing else."""
        return json.loads(self.stdout)


def torchrun(processes: int, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A script or ``-m module`` in ``processes`` processes of this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*launcher, "--nproc-per-node", str(processes), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def unattended(processes: int, *arguments: object, **env: str) -> list[Outcome]:
    """As torchrun starts them and in the order of their ranks, but nobody is there to end the
    others when one dies. Each has the time to say what it has to say."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    running = []
    for rank in range(processes):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        running.append(Started(arguments, **{**meeting, **ranks, **env}))
    return [Outcome(*each.finish()) for each in running]


def together(processes: int, *arguments: object, **env: str) -> Outcome:
    """:func:`unattended`, of which all that is said is one, and the first failure."""
    found = unattended(processes, *arguments, **env)
    code = next((each.code for each in found if each.code), 0)
    streams = ("".join(getattr(each, name) for each in found) for name in ("stdout", "stderr"))
    return Outcome(code, *streams)


@pytest.fixture
def prunelimit(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Runs a command line in this process, in an empty folder, as a user would."""
    from prunelimit.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(each) for each in arguments])
        streams = capfd.readouterr()
        return Outcome(code, streams.out, streams.err)

    return run


def death(*arguments: object, **env: str) -> list[Outcome]:
    """Two processes of which one dies. Gloo itself may abort the other one before Python sees that
    an exchange has failed; such a run is begun again, twice at most."""
    found = unattended(2, *arguments, **env)
    for _ in range(2):
        if found[0].code != -signal.SIGABRT:
            break
        found = unattended(2, *arguments, "--force", **env)
    return found


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small network on the digits, trained for a few epochs."""
    from prunelimit.cli.main import main

    path = tmp_path_factory.mktemp("trained") / "lenet.safetensors"
    options = ["--model", "lenet-300-100", "--data", "digits", "--epochs", "4", "--l1", "1e-4"]
    assert main(["train", *options, "--quiet", "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def results(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of one prediction and one measurement."""
    from prunelimit.cli.main import main

    folder = tmp_path_factory.mktemp("results")
    quick = ("--steps", "12", "--directional-steps", "8", "--samples", "256")
    predicted, measured = folder / "predict.json", folder / "measure.json"
    assert main(["predict", str(trained), *quick, "-q", "-o", str(predicted)]) == 0
    assert main(["measure", str(trained), "-q", "-o", str(measured)]) == 0
    return predicted, measured
