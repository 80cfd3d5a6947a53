"""Losses and metrics from the command line, on a table of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Outcome

import prunelimit as pl

Run = Callable[..., Outcome]

SOURCE = """
import torch
from torch import nn


def network():
    return nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 2))


def data():
    x = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], 1)
    y = y + 0.1 * torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    return (x[:400], y[:400]), (x[400:], y[400:])


def halved(outputs, targets):
    return 0.5 * (outputs - targets).square().sum(1)


def near(outputs, targets):
    return ((outputs - targets).abs() < 0.5).all(1)
"""

MINE = ("-m", "net.py:network", "-d", "net.py:data", "-q")


@pytest.fixture
def run(prunelimit: Run, tmp_path: Path) -> Run:
    """Runs a command on the table, beside a network that was trained on it."""
    (tmp_path / "net.py").write_text(SOURCE)
    space: dict[str, Any] = {}
    exec(SOURCE, space)
    torch.manual_seed(0)
    network, ((x, y), _) = space["network"](), space["data"]()
    step = torch.optim.Adam(network.parameters(), 2e-2)
    for _ in range(300):
        step.zero_grad()
        (network(x) - y).square().mean().backward()
        step.step()
    torch.save(network.state_dict(), tmp_path / "n.pt")
    return prunelimit


@pytest.mark.parametrize(
    ("options", "loss", "metric"),
    [
        ((), "mse", "r2"),
        (("--loss", "huber", "--metric", "negative-mse"), "huber", "negative-mse"),
        (("--loss", "net.py:halved"), "net.py:halved", "r2"),
        (("--metric", "net.py:near"), "mse", "net.py:near"),
    ],
)
def test_every_command_names_what_it_judges_by(
    run: Run, options: tuple[str, ...], loss: str, metric: str
) -> None:
    quick = ("--json", "--probes", 1, "--steps", 20)
    found = {
        "predict": run("predict", "n.pt", *MINE, *options, *quick),
        "prune": run("prune", "n.pt", *MINE, *options, "--amount", 0.3, "-o", "p.pt", "--json"),
        "measure": run("measure", "n.pt", *MINE, *options, "--json", "--sparsities", "0.2,0.5"),
    }
    if not options:
        methods = ("--methods", "magnitude,obd,wanda", "--sparsities", "0.3")
        found["compare"] = run("compare", "n.pt", *MINE, *methods, *quick)
    for command, each in found.items():
        assert each.code == 0, (command, each.stderr)
        data = each.document["data"]
        assert (data["loss"], data["metric"], data["classes"]) == (loss, metric, 0)
        assert data["points"] == (metric != "negative-mse")
    if loss == "net.py:halved":  # the same up to a factor, since there are two outputs
        plain = run("predict", "n.pt", *MINE, *quick).document
        assert found["predict"].document["dense"]["loss"] == pytest.approx(plain["dense"]["loss"])
        for name in ("limit", "one_shot"):
            sparsity = found["predict"].document[name]["sparsity"]
            assert sparsity == pytest.approx(plain[name]["sparsity"], abs=0.01)


@pytest.mark.slow
def test_what_has_no_points_has_no_rules_in_points(run: Run) -> None:
    plain = (*MINE, "--metric", "negative-mse")
    for command in (
        ("prune", "n.pt", "--within", "0.5pp", "-o", "p.pt"),
        ("predict", "n.pt", "--epsilon", "0.5pp"),
    ):
        done = run(*command, *plain)
        assert done.code == 2 and "the metric negative-mse has no points" in done.stderr
        assert done.stderr.count("\n") == done.stderr.strip().count("\n") + 1
    assert not Path("p.pt").exists()
    measured = run("measure", "n.pt", *plain, "--json", "--sparsities", "0.1,0.9").document
    rules = [each["rule"] for each in measured["thresholds"]]
    assert rules == ["dense-accuracy", "loss"]
    Path("m.json").write_text(json.dumps(measured))
    assert run("predict", "n.pt", *plain, "-o", "l.json").code == 0
    verdict = run("check", "l.json", "m.json", "--rule", "accuracy")
    assert verdict.code != 0 and "is not from 0 to 1" in verdict.stderr


@pytest.mark.slow
def test_r2_falls_by_points(run: Run) -> None:
    done = run("prune", "n.pt", *MINE, "--within", "1pp", "-o", "p.pt", "--json")
    assert done.code == 0 and done.document["within"]["drop"] <= 0.01
    assert done.document["sparsity"] > 0
    found = run("predict", "n.pt", *MINE, "--epsilon", "1pp", "--json").document
    assert found["epsilon"]["value"] > 0


def test_people_read_the_metric_by_its_name(run: Run) -> None:
    told = " ".join(run("measure", "n.pt", *MINE[:4], "--sparsities", "0.3").stderr.split())
    assert "test r2 0.9" in told and "r2 within 0.5 pp" in told
    assert "accuracy" not in told and "nats" not in told
    assert "numbers, 2 per sample; the loss is mse (--loss) and the metric is r2 (--metric)" in told
    worst = ("--metric", "negative-mse", "--amount", "0.9", "-o", "p.pt")
    told = " ".join(run("prune", "n.pt", *MINE[:4], *worst).stderr.split())
    assert "The negative-mse fell by" in told and "negative mse -0." in told


@pytest.mark.parametrize("survivors", ["compensated", "staged", "layerwise", "trained"])
def test_survivors_move_towards_numbers_too(run: Run, survivors: str) -> None:
    given = ("prune", "n.pt", *MINE, "--amount", 0.6, "-o", "p.pt", "--force", "--json")
    fixed, moved = (run(*given, "--survivors", each) for each in ("fixed", survivors))
    assert moved.code == 0, moved.stderr
    assert moved.document["accuracy_after"] > fixed.document["accuracy_after"]


def test_a_file_carries_names_and_does_not_choose_code(run: Run, tmp_path: Path) -> None:
    given = ("prune", "n.pt", *MINE, "--amount", 0.3, "--force", "-o", "p.safetensors")
    assert run(*given, "--loss", "huber", "--metric", "negative-mse").code == 0
    found = run("measure", "p.safetensors", *MINE, "--sparsities", "0.5", "--json").document["data"]
    assert (found["loss"], found["metric"]) == ("huber", "negative-mse")
    assert run(*given, "--loss", "net.py:halved").code == 0
    refused = run("measure", "p.safetensors", *MINE, "--sparsities", "0.5")
    assert refused.code == 2 and "--loss net.py:halved" in " ".join(refused.stderr.split())
    again = run("measure", "p.safetensors", *MINE, "--loss", "net.py:halved", "--sparsities", "0.5")
    assert again.code == 0


def test_a_built_in_network_learns_numbers(run: Run) -> None:
    done = run(
        "train", "-m", "lenet-300-100", "-d", "net.py:data", "--epochs", 20, "-o", "t.safetensors",
        "-q", "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.document["dense"]["accuracy"] > 0.5 and done.document["data"]["metric"] == "r2"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--loss", "mes"), "did you mean mse"),
        (("--metric", "net.py:nothing"), "no attribute 'nothing'"),
        (("--loss", "net.py:network"), "--loss fails on outputs"),
        (("--metric", "accuracy"), "--metric accuracy is for classes"),
        (("--loss", "cross-entropy"), "--loss cross-entropy is for classes"),
        (("--loss", "bce"), "--loss bce is for numbers from 0 to 1"),
        (("--metric", "label-accuracy"), "--metric label-accuracy is for numbers from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(run: Run, options: tuple[str, ...], words: str) -> None:
    done = run("measure", "n.pt", *MINE, *options, "--sparsities", "0.5")
    assert done.code in (2, 3)
    assert words in " ".join(done.stderr.split())


def test_from_python_it_is_the_same(run: Run) -> None:
    space: dict[str, Any] = {}
    exec(SOURCE, space)
    network = space["network"]()
    network.load_state_dict(torch.load("n.pt"))
    problem = pl.Problem(network, *space["data"](), loss="huber", metric=space["near"])
    found = pl.measure(problem, sparsities="0.5")
    given = ("--loss", "huber", "--metric", "net.py:near", "--sparsities", "0.5", "--json")
    theirs = run("measure", "n.pt", *MINE, *given).document
    assert found.dense.accuracy == theirs["dense"]["accuracy"]
    assert [p.loss for p in found.curve] == [p["loss"] for p in theirs["curve"]]
    assert (found.data.loss, found.data.metric) == ("huber", "near")
