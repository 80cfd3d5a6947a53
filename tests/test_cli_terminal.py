"""Terminals: of any width, without colours, and shells that complete what is typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome
from made import TRAINING, both, measured

from prunelimit.cli.main import main

pty = pytest.importorskip("pty")
ROOT = Path(__file__).parents[1]
COLOUR = re.compile(r"\x1b\[[\d;]*?(?:3[0-7]|9[0-7]|4[0-7]|38|48)[\d;]*m")


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a terminal of so many columns shows of a command."""

    def show(*arguments: object, columns: int, **env: str) -> str:
        main_end, side = pty.openpty()
        seen: list[bytes] = []

        def read() -> None:
            while True:
                try:
                    piece = os.read(main_end, 65536)
                except OSError:  # the other end is closed
                    return
                if not piece:
                    return
                seen.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        with monkeypatch.context() as patched, os.fdopen(side, "w") as terminal:
            patched.delenv("NO_COLOR", raising=False)
            for name, value in {"COLUMNS": str(columns), "TERM": "xterm-256color", **env}.items():
                patched.setenv(name, value)
            patched.setattr(sys, "stderr", terminal)
            main([str(each) for each in arguments])
        reader.join()
        os.close(main_end)
        return b"".join(seen).decode().replace("\r\n", "\n")

    return show


def without_escapes(text: str) -> list[str]:
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    return [line.rpartition("\r")[2] for line in plain.splitlines()]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A prediction and a measurement."""
    both().save(tmp_path / "predict.json")
    measured(TRAINING).save(tmp_path / "measure.json")
    return tmp_path / "predict.json", tmp_path / "measure.json"


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}], ids=["coloured", "plain"])
@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_tables_fit_the_terminal(
    columns: int,
    env: dict[str, str],
    trained: Path,
    files: tuple[Path, Path],
    on_terminal: Callable[..., str],
) -> None:
    for command in (
        ("measure", trained, "--sparsities", "0,0.5,0.9,0.99"),
        ("check", *files, "--tolerance", "0pp"),
        ("inspect", trained),
    ):
        text = on_terminal(*command, columns=columns, **env)
        lines = without_escapes(text)
        assert len(lines) > 4
        assert all(len(line.rstrip()) <= columns for line in lines), max(lines, key=len)
        if env:
            assert not COLOUR.search(text)
    coloured = COLOUR.search(on_terminal("check", *files, columns=columns, **env))
    assert bool(coloured) is not bool(env)


def test_a_narrow_terminal_cuts_no_name_short(
    tmp_path: Path, on_terminal: Callable[..., str]
) -> None:
    for end in "ab":
        both().save(tmp_path / f"a-network-with-a-long-name-{end}.predict.json")
    text = on_terminal("history", tmp_path, columns=60)
    assert "\u2026" not in text and text.count("93.6%") == 2


def test_what_is_piped_is_neither_wrapped_nor_coloured(
    files: tuple[Path, Path], prunelimit: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    outcome = prunelimit("check", *files)
    assert "\x1b" not in outcome.stderr
    assert max(map(len, outcome.stderr.splitlines())) > 60


def run(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prunelimit"],
        capture_output=True, text=True, env={**os.environ, **env}, check=False,
    )  # fmt: skip


SHELLS = ("bash", "zsh", "fish")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_is_one(shell: str) -> None:
    done = run(_PRUNELIMIT_COMPLETE=f"{shell}_source")
    if shell == "bash" and "version is not supported" in done.stderr:
        pytest.skip("completion needs a newer bash")
    assert done.returncode == 0 and "_PRUNELIMIT_COMPLETE" in done.stdout
    if shutil.which(shell):
        options = ["--no-execute"] if shell == "fish" else ["-n"]
        checked = subprocess.run(
            [shell, *options], input=done.stdout, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


COMPLETED = [
    ("pre", ("predict",)),
    ("r", ("report",)),
    ("plot predict.json --fig", ("--figure",)),
    ("plot predict.json --figure la", ("layers",)),
    ("predict net.pt --formula p", ("paper",)),
    ("measure net.pt --criterion wan", ("wanda",)),
    ("report --format ", ("html", "md")),
    ("schema co", ("compare",)),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("typed", "wanted"), COMPLETED)
def test_words_are_completed(shell: str, typed: str, wanted: tuple[str, ...]) -> None:
    words = ["prunelimit", *typed.split(" ")]
    given = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        given = {"COMP_WORDS": " ".join(words), "COMP_CWORD": words[-1]}
    done = run(_PRUNELIMIT_COMPLETE=f"{shell}_complete", **given)
    assert done.returncode == 0
    shown = re.split(r"[\n,\t]", done.stdout)
    for each in wanted:
        assert each in shown, done.stdout


def test_the_pages_say_how() -> None:
    text = (ROOT / "docs/how-to/terminal.md").read_text(encoding="utf-8")
    for shell in SHELLS:
        assert f"_PRUNELIMIT_COMPLETE={shell}_source prunelimit" in text
