"""The README's session is one that runs: the same commands, the same words around other numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from conftest import Outcome

README = Path(__file__).parents[1] / "README.md"

CHEAPER = {
    "train": ("--epochs", "3"),
    "predict": ("--tolerance", "20pp"),
    "measure": ("--refit-passes", "2"),
}
"""What a test gives besides: later options win."""

VERDICTS = re.compile(r"^(PASSED|FAILED|Reliable: \w+|trained survivors .*|- .*)$")
"""Lines that depend on the numbers."""


def session() -> list[tuple[list[str], str]]:
    """Every command of the session and what it printed."""
    text = README.read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    found = []
    for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = piece.partition("\n")
        found.append((shlex.split(command), output))
    return found


def words(line: str) -> str:
    """What stands in a line before its first number."""
    return " ".join(re.split(r"[-+]?\d", line)[0].split()).rstrip("<(")


def lines(output: str) -> set[str]:
    kept = (line.strip() for line in output.splitlines())
    return {words(line) for line in kept if not VERDICTS.match(line)} - {""}


def test_the_session_is_what_the_commands_print(prunelimit: Callable[..., Outcome]) -> None:
    seen = []
    for (program, name, *arguments), printed in session():
        assert program == "prunelimit"
        seen.append(name)
        outcome = prunelimit(name, *arguments, *CHEAPER.get(name, ()))
        if printed.startswith("Error: "):
            assert outcome.stderr == printed.rstrip() + "\n"
            continue
        assert outcome.code in (0, 1), outcome.stderr
        missing = lines(printed) - lines(outcome.stdout + outcome.stderr)
        assert not missing, f"{name} no longer prints {sorted(missing)}"
    assert seen[:5] == ["train", "predict", "prune", "measure", "check"]
