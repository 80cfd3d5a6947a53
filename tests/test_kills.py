"""Kill -9 of every command that leaves a state: a few of the kills of benchmarks/kills.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the clocks of Linux's processes")
def test_after_a_kill_resume_gives_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--work", str(tmp_path), "--kills", "7", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert len({row["command"] for row in found["rows"]}) == 7
    for row in found["rows"]:
        assert row["same"] and not row["left"], row
        if row["state"] and not row["written"]:
            assert row["twice"] <= 1, row
