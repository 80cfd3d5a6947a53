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


def test_the_one_for_gpus_refuses_a_cpu_and_runs_small_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = (each for each in SCRIPTS if each.stem == "gpu")
    scope = runpy.run_path(str(script))
    monkeypatch.setattr(sys, "argv", [script.name, "--device", "cpu"])
    with pytest.raises(SystemExit, match="no accelerator"):
        scope["main"]()
    options = ("--samples", "40", "--repeats", "1", "--products", "30", "--steps", "2")
    monkeypatch.setattr(sys, "argv", [script.name, "--device", "cpu", "--small", *options])
    known = scope["networks"]
    monkeypatch.setitem(
        scope["main"].__globals__, "networks", lambda small: {"vit": known(small)["vit"]}
    )
    scope["main"]()
    said = capsys.readouterr().out
    assert all(f"vit, {work}: " in said for work in ("products", "limit", "stages"))
