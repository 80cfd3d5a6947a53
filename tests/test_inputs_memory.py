"""Peak memory of loading, in a process of its own: no more than 2.2 times what is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "loading.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_takes_no_more_than_twice_what_is_loaded(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--work", str(tmp_path), "--mib", "64"]
    formats = "zip|gzip|bit masks"
    done = subprocess.run(
        [*command, "--only", formats], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    _, _, *rows = done.stdout.splitlines()
    assert len(rows) == len(formats.split("|"))
    for row in rows:
        _, name, file, dense, read, over_dense, into, _ = (each.strip() for each in row.split("|"))
        larger = min(float(read), float(over_dense)) if float(file) <= float(dense) else float(read)
        assert larger <= 2.2 and float(into) <= 2.3, (name, read, over_dense, into)
