"""States when the disk is full or the process is killed: told as what it is, and never in the way
of what comes after."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prunelimit.errors import OutputError
from prunelimit.lanczos.store import Store
from prunelimit.storage.resume import Resumable, claim_or_discard
from prunelimit.storage.steps import Steps

resource = pytest.importorskip("resource", reason="limits the sizes of files")

WEIGHTS = torch.zeros(100_000)

Save = Callable[[Path], None]


def _whole(path: Path) -> None:
    Resumable(path, "run", {"seed": 0}).save({"weights": WEIGHTS})


def _step(path: Path) -> None:
    Steps.open(path, "run", {"seed": 0}, resume=True, force=False).save("a", {"weights": WEIGHTS})


def _process(path: Path) -> None:
    store = Store.open(path, "memory", {"seed": 0}, resume=True, force=False)
    start = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    process = store.process("a", lambda vector: vector.roll(1) + vector.roll(-1), start)
    process.advance(3)
    store.save(process, now=True)


ENDED = os.WEXITED | os.WNOWAIT | os.WNOHANG if sys.platform == "linux" else 0

SAVES = [_whole, _step, _process]


@pytest.mark.parametrize("save", SAVES)
def test_a_full_disk_is_told_as_one(tmp_path: Path, save: Save) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot be written.*File too large"):
            save(tmp_path / "out.resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    left = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert [each.name for each in left] in ([], ["run.json"])
    save(tmp_path / "out.resume")  # once there is room


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("save", SAVES)
def test_what_a_kill_leaves_can_be_removed(tmp_path: Path, save: Save) -> None:
    """Also the files that the libraries that write have begun, under names of their own."""
    moments = random.Random(0)
    for _ in range(15):
        path = tmp_path / "out.resume"
        child = os.fork()
        if not child:
            try:
                torch.set_num_threads(1)  # the threads of the parent are not there
                while True:
                    save(path)
            finally:
                os._exit(1)
        while not path.exists() and not os.waitid(os.P_PID, child, ENDED):
            time.sleep(0.001)
        time.sleep(0.02 * moments.random())
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        claim_or_discard(path, "run", resume=False, force=True, folder=save is not _whole)
        assert not path.exists()
