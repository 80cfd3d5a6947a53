"""The command line before any command runs: help, names, errors, exit codes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome

import prunelimit.cli.main
from prunelimit import __version__
from prunelimit.cli.command import keep_on_interrupt
from prunelimit.cli.main import COMMANDS
from prunelimit.cli.options import cli_command, general_options
from prunelimit.errors import InputError, NumericalError, OutputError, UnreliableError, UsageError
from prunelimit.storage.files import writing

Run = Callable[..., Outcome]

HEAVY = ("torch", "numpy", "matplotlib", "scipy", "sklearn", "jinja2", "rich")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["schema", "predict"], *([c, "--help"] for c in COMMANDS)],
)
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from prunelimit.cli.main import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_running_the_package_is_running_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prunelimit", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert __version__ in done.stdout
    command = [sys.executable, "-m", "prunelimit", "predikt"]
    assert subprocess.run(command, capture_output=True, cwd=tmp_path).returncode == 2


def test_help_lists_every_command_with_its_summary(prunelimit: Run) -> None:
    text = prunelimit("--help").stdout
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", text, re.MULTILINE), name


def test_summaries_are_whole_in_80_columns(
    prunelimit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = prunelimit("--help").stdout
    assert "..." not in text.split("Commands:")[1]
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_all_its_options(prunelimit: Run, name: str) -> None:
    everyday, whole = prunelimit(name, "--help"), prunelimit(name, "--help-all")
    assert whole.code == 0
    listed = [
        set(re.findall(r"^  .*?(--[a-z-]+)", e.stdout, re.MULTILINE)) for e in (everyday, whole)
    ]
    assert listed[0] <= listed[1]


def test_nothing_at_all_says_what_to_type(prunelimit: Run) -> None:
    outcome = prunelimit()
    assert (outcome.code, outcome.stderr) == (2, "")
    lines = re.findall(r"^  prunelimit (\S+)", outcome.stdout, re.MULTILINE)
    assert lines[0] == "demo" and lines[-1] == "--help"
    assert set(lines[:-1]) <= set(COMMANDS)
    assert all(len(line) <= 80 for line in outcome.stdout.splitlines())


def test_every_module_of_a_command_is_listed() -> None:
    folder = Path(prunelimit.cli.main.__file__).parent
    with_command = {
        path.stem
        for path in folder.glob("*.py")
        if re.search(r"^@cli_command\(", path.read_text(), re.MULTILINE)
    }
    assert with_command == set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predikt"], "did you mean predict?"),
        (["xyzzy"], "no command xyzzy; see prunelimit --help"),
        (["predict"], "CKPT"),
        (["predict", "x.pt", "--sampels", "3"], "did you mean --samples?"),
        (["predict", "x.pt", "--steps", "many"], "--steps"),
        (["predict", "x.pt", "--curvature", "fisher"], "ggn"),
        (["predict", "x.pt", "--formula", "directed"], "did you mean directional?"),
        (
            ["measure", "x.pt", "--criterion", "xyzzy"],
            "FILE.py:ATTR; see prunelimit measure --help.",
        ),
        (["measure", "x.pt", "--criterion", "snipp"], "did you mean snip?"),
        (["prune", "x.pt", "--criterion", "magnitud"], "did you mean magnitude?"),
        (["prune", "x.pt", "--criterion", "mine.py"], "FILE.py:ATTR"),
        (["prune", "x.pt", "--allocation", "unifrom"], "did you mean uniform?"),
        (["prune", "x.pt", "--pattern", "4:2"], "N:M"),
        (["prune", "x.pt", "--pattern", "2:4", "--amount", "0.5"], "leave out --amount"),
        (["prune", "x.pt", "--pattern", "2:4", "--allocation", "erk"], "leave out --allocation"),
        (["prune", "x.pt", "--pattern", "2:4", "--min-keep", "1"], "leave out --min-keep"),
        (["prune", "x.pt", "--calibration", "-1"], "--calibration is -1"),
        (["predict", "x.pt", "y.pt"], "y.pt"),
        (["check"], "check takes"),
        (["check", "a", "b", "c"], "3 files"),
        (["schema", "prediction"], "predict"),
        (["predict", "x.pt", "--plot", "plot.xyz"], "png"),
        (["predict", "x.pt", "--output", "a.png", "--plot", "a.png"], "a.png"),
        (["predict", "x.pt", "--output", "x.pt"], "x.pt"),
        (["predict", "x.pt", "--output", "nowhere/a.json"], "nowhere"),
    ],
)
def test_usage_errors_are_one_sentence_with_code_2(
    prunelimit: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    outcome = prunelimit(*arguments)
    assert outcome.code == 2
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("Error: ")
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.rstrip().endswith((".", "?"))
    assert said in outcome.stderr
    assert not list(tmp_path.iterdir())


class TestFailures:
    """A command that fails in every way there is."""

    @pytest.fixture
    def failing(self, prunelimit: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
        def run(error: BaseException, *arguments: str, kept: Path | None = None) -> Outcome:
            def body(**given: object) -> None:
                if kept is not None:
                    keep_on_interrupt((kept,), "half of it is kept")
                raise error

            command = cli_command("fail", general_options())(body)
            monkeypatch.setattr(
                prunelimit_group, "get_command", lambda context, name: command, raising=True
            )
            return prunelimit("predict", *arguments)

        prunelimit_group = sys.modules["prunelimit.cli.main"].group
        return run

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (UsageError("This is wrong."), 2),
            (OutputError("This is wrong."), 2),
            (InputError("This is wrong."), 3),
            (NumericalError("This is wrong."), 3),
            (UnreliableError("This is wrong."), 4),
        ],
    )
    def test_named_failures_have_their_codes(
        self, failing: Callable[..., Outcome], error: Exception, code: int
    ) -> None:
        outcome = failing(error)
        assert (outcome.code, outcome.stderr) == (code, "Error: This is wrong.\n")

    def test_an_unforeseen_failure_is_one_line_and_v_shows_more(
        self, failing: Callable[..., Outcome]
    ) -> None:
        outcome = failing(RuntimeError("two\nlines"))
        assert outcome.code == 3
        assert outcome.stderr.count("\n") == 1
        assert "RuntimeError: two lines" in outcome.stderr and "-v" in outcome.stderr
        assert "Traceback" in failing(RuntimeError("two\nlines"), "-v").stderr

    @pytest.mark.parametrize(
        "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")]
    )
    def test_memory_has_its_own_advice(
        self, failing: Callable[..., Outcome], error: Exception
    ) -> None:
        outcome = failing(error)
        assert outcome.code == 3
        assert "--batch-size" in outcome.stderr

    def test_a_job_that_is_ended_cleans_up_like_an_interrupted_one(
        self, prunelimit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def body(**given: object) -> None:
            with writing(tmp_path / "out.json"):
                signal.raise_signal(signal.SIGTERM)

        command = cli_command("fail", general_options())(body)
        group = sys.modules["prunelimit.cli.main"].group
        monkeypatch.setattr(group, "get_command", lambda context, name: command)
        before = signal.getsignal(signal.SIGTERM)
        outcome = prunelimit("predict")
        assert outcome.code == 130
        assert outcome.stderr == "Error: Interrupted; nothing was written.\n"
        assert not list(tmp_path.iterdir())
        assert signal.getsignal(signal.SIGTERM) == before

    def test_interruption_says_what_is_left(self, failing: Callable[..., Outcome]) -> None:
        outcome = failing(KeyboardInterrupt())
        assert outcome.code == 130
        assert outcome.stderr == "Error: Interrupted; nothing was written.\n"
        state = Path("state")
        outcome = failing(KeyboardInterrupt(), kept=state)
        assert outcome.stderr == "Error: Interrupted; nothing was written.\n"
        state.write_text("half")
        outcome = failing(KeyboardInterrupt(), kept=state)
        assert outcome.stderr == "Error: Interrupted; half of it is kept.\n"
