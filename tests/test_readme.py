"""The README is short, and all of it works: its session, which is the tutorial's, its network and
data, its Python."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README, TUTORIAL = ROOT / "README.md", ROOT / "docs/tutorial.md"

CHEAPER = {
    "train": ("--epochs", "3"),
    "predict": ("--tolerance", "20pp"),
    "prune": ("--tolerance", "20pp"),
    "measure": ("--refit-passes", "2", "--sparsities", "0,0.5,0.9"),
    "compare": ("--sparsities", "0,0.5", "--calibration", "400", "--cg-steps", "2"),
}
"""What a test gives besides: later options win."""

DEPENDS = re.compile(
    r"^(PASSED|FAILED|reliable .*|- .*|NOT RELIABLE.*|expected .*|"
    r"The network has learnt .*|Warning: .*|"
    r"to the limit, .*|prunelimit prune \S+ --survivors staged .*|tests the limit, .*)$"
)
"""Lines that are printed or not, by the numbers."""


def text() -> str:
    return README.read_text(encoding="utf-8")


def blocks(language: str, page: Path = README) -> list[str]:
    whole = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", whole, flags=re.DOTALL)


def session(page: Path) -> list[tuple[list[str], str]]:
    """Every command of the consoles and what it printed."""
    found = []
    for block in blocks("console", page):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = piece.partition("\n")
            found.append((shlex.split(command), output))
    return found


def words(line: str) -> str:
    """What stands in a line before its first number."""
    return " ".join(re.split(r"[-+]?\d", line)[0].split()).rstrip("<(,")


def lines(output: str) -> set[str]:
    kept = (line.strip() for line in output.splitlines())
    return {words(line) for line in kept if not DEPENDS.match(line)} - {""}


def test_it_is_short() -> None:
    assert len(text().splitlines()) <= 200


def test_the_tutorial_is_what_the_commands_print(
    prunelimit: Callable[..., Outcome], tmp_path: Path
) -> None:
    seen = []
    for (program, name, *arguments), printed in session(TUTORIAL):
        assert program == "prunelimit"
        seen.append(name)
        wrong = printed.startswith("Error: ")
        outcome = prunelimit(name, *arguments, *(() if wrong else CHEAPER.get(name, ())))
        if wrong:
            assert outcome.code in (2, 3)
            assert outcome.stderr == printed.rstrip() + "\n"
            continue
        assert outcome.code == 0 or (name, outcome.code) == ("check", 1), outcome.stderr
        shown = (outcome.stdout + outcome.stderr).replace(" --tolerance 20pp", "")
        missing = lines(printed) - lines(shown)
        assert printed.strip() and not missing, f"{name} no longer prints {sorted(missing)}"
    most = ["train", "predict", "prune", "prune", "measure", "check", "compare"]
    assert seen == [*most, "predict", "predict"]
    for code in blocks("python", TUTORIAL):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_the_session_of_the_readme_is_the_tutorials() -> None:
    known = {" ".join(command): lines(printed) for command, printed in session(TUTORIAL)}
    found = session(README)
    assert [command[1] for command, _ in found] == ["train", "predict", "prune", "prune"]
    for command, printed in found:
        if command[-1] == "-q":
            assert not printed.strip() and " ".join(command[:-1]) in known
        else:
            assert printed.strip() and lines(printed) <= known[" ".join(command)]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's ``net.py`` and a network trained for a moment as ``mine.pt``."""
    (tmp_path / "net.py").write_text(blocks("python")[0])
    training = """
import torch
from net import data, network
torch.manual_seed(0)
model, (train, _) = network(), data()
inputs, targets = (torch.stack(each) for each in zip(*train))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(60):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
torch.save(model.state_dict(), "mine.pt")
"""
    subprocess.run([sys.executable, "-c", training], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_network_is_told_in_six_lines() -> None:
    code = [line for line in blocks("python")[0].splitlines() if line.strip()]
    told = [line for line in code if not re.match(r"#|import |from ", line)]
    assert len(told) <= 6


def test_a_network_of_ones_own_goes_to_a_file_that_torch_loads(
    own: Path, prunelimit: Callable[..., Outcome]
) -> None:
    import torch

    commands = re.findall(r"(?m)^    prunelimit (.* -m net\.py:network .*)$", text())
    assert [command.split()[0] for command in commands] == ["predict", "prune"]
    for command in commands:
        name, *arguments = shlex.split(command)
        outcome = prunelimit(name, *arguments, *CHEAPER[name])
        assert outcome.code == 0, outcome.stderr
    state = torch.load(own / "small.pt", weights_only=True)
    assert any(bool((each == 0).any()) for each in state.values())


def test_the_same_from_python_in_at_most_ten_lines(own: Path) -> None:
    code = blocks("python")[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    cheap = code.replace("pl.predict(problem)", "pl.predict(problem, tolerance='20pp')")
    assert cheap != code
    done = subprocess.run([sys.executable, "-c", cheap], cwd=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "plain" in done.stdout and (own / "small.pt").exists()


FORMS = {
    "data sets": "TensorDataset(*train), TensorDataset(*test)",
    "loaders": "DataLoader(TensorDataset(*train), 9, True), DataLoader(TensorDataset(*test))",
    "tensors": "train, test",
}
"""What ``data()`` may return."""


@pytest.mark.parametrize("form", FORMS)
def test_data_may_be_given_in_three_ways(
    form: str, own: Path, prunelimit: Callable[..., Outcome]
) -> None:
    source = f"""
import torch
from net import data as made
from torch.utils.data import DataLoader, TensorDataset

def data():
    train, test = (tuple(torch.stack(each) for each in zip(*split)) for split in made())
    return {FORMS[form]}
"""
    (own / "forms.py").write_text(source)
    outcome = prunelimit(
        "measure", "mine.pt", "-m", "net.py:network", "-d", "forms.py:data", "--sparsities", "0,0.5"
    )
    assert outcome.code == 0, outcome.stderr
