"""Benchmarks are too long to run here; each loads and says what it takes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_loads_and_has_help(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    scope = runpy.run_path(str(script))
    if "argparse" not in script.read_text() or "main" not in scope:
        return
    with pytest.raises(SystemExit) as ended:
        scope["main"]()
    assert ended.value.code == 0 and "usage:" in capsys.readouterr().out
