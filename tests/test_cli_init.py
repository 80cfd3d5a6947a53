"""init: the template runs as it is, and replaces nothing unasked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome
from test_cases_faults import refused

Run = Callable[..., Outcome]


@pytest.mark.parametrize("name", ["net.py", "my net's.py", 'a"b\\c.py'])
def test_the_commands_that_it_names_run(prunelimit: Run, name: str) -> None:
    done = prunelimit("init", "-o", name)
    assert done.code == 0, done.stderr
    lines = [each.strip() for each in done.stderr.splitlines()]
    commands = [shlex.split(each)[1:] for each in lines if each.startswith("prunelimit ")]
    predict, train = commands
    assert (predict[0], train[0]) == ("predict", "train")
    done = prunelimit(*train, "-q", "--epochs", "5")
    assert done.code == 0, done.stderr
    done = prunelimit(*predict, "-q", "--json", "--steps", "10", "--probes", "1")
    assert done.code == 0, done.stderr
    assert done.document["model"]["parameters"] == 8 * 32 + 32 + 32 * 3 + 3
    text = Path(name).read_text()
    assert all(f"def {each}(" in text for each in ("network", "data", "loss", "metric"))


def test_its_loss_and_metric_are_the_usual_ones(prunelimit: Run) -> None:
    import prunelimit as pl

    assert prunelimit("init", "-q").code == 0
    names: dict[str, object] = {"__name__": "net"}
    text = Path("net.py").read_text()
    plain, _, optional = text.partition("# Optional:")
    marked = optional.split("\n")[1:]
    shown = "\n".join(line.removeprefix("# ").removeprefix("#") for line in marked)
    exec(compile(plain + shown, "net.py", "exec"), names)
    network, data = names["network"](), names["data"]()  # type: ignore[operator]
    own = pl.Problem(network, *data, loss=names["loss"], metric=names["metric"])  # type: ignore[arg-type]
    usual = pl.Problem(network, *data)
    few = {"samples": 100, "steps": 5, "probes": 1}
    here, there = (pl.predict(each, **few).dense for each in (own, usual))
    assert here.loss == pytest.approx(there.loss, rel=1e-6)
    assert here.accuracy == there.accuracy


def test_nothing_is_replaced_unasked(prunelimit: Run) -> None:
    Path("net.py").write_text("mine")
    refused(prunelimit("init"), "net.py exists; give --force", code=2)
    assert Path("net.py").read_text() == "mine"
    assert prunelimit("init", "--force", "-q").code == 0
    assert "def network(" in Path("net.py").read_text()


@pytest.mark.parametrize(
    ("name", "said"), [("net.txt", "end its name with .py"), ("no/net.py", "make the folder first")]
)
def test_other_names_are_refused(prunelimit: Run, name: str, said: str) -> None:
    refused(prunelimit("init", "-o", name), said, code=2)
    assert not list(Path().iterdir())
