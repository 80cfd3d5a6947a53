"""A dry run promises what a prediction does, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome

from prunelimit.cli.main import main

Run = Callable[..., Outcome]

NETWORK = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))

def samples(count, seed):
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs[:, :3].argmax(1)

data = samples(400, 0), samples(100, 1)
numbers = tuple((inputs, 5 * inputs[:, :3]) for inputs, _ in data)
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORK)
    path = tmp_path / "net.safetensors"
    words = ("-m", f"{tmp_path}/net.py:make", "-d", f"{tmp_path}/net.py:data", "-q")
    assert main(["train", *words, "--epochs", "2", "-o", str(path)]) == 0
    return path


def words_for(checkpoint: Path, data: str = "data") -> list[str]:
    where = checkpoint.parent / "net.py"
    return [str(checkpoint), "-m", f"{where}:make", "-d", f"{where}:{data}"]


REFUSED = {
    "too few products": ("data", "--max-products", "3"),
    "too few for two matrices": (
        "data", "--max-products", "40", "--curvature", "hessian", "--with-ggn",
    ),
    "too few samples for the tolerance": ("data", "--train-samples", "100"),
    "too little time": ("data", "--max-seconds", "1e-6"),
    "points of a metric that has none": (
        "numbers", "--loss", "mse", "--metric", "negative-mse", "--epsilon", "0.5pp",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_a_prediction_refuses_a_dry_run_refuses(
    why: str, checkpoint: Path, prunelimit: Run
) -> None:
    data, *options = REFUSED[why]
    words = ["predict", *words_for(checkpoint, data), *options]
    real, dry = prunelimit(*words), prunelimit(*words, "--dry-run")
    assert real.code == dry.code == 2, (real.stderr, dry.stderr)
    first, second = (each.stderr.strip().splitlines()[-1] for each in (real, dry))
    assert first.split(", and")[0] == second.split(", and")[0]


def test_what_a_prediction_takes_a_dry_run_promises(checkpoint: Path, prunelimit: Run) -> None:
    words = ["predict", *words_for(checkpoint), "-o", "out.json", "--dry-run"]
    found = prunelimit(*words, "--max-products", "40")
    assert found.code == 0, found.stderr
    assert "40" in found.stderr and not Path("out.json").exists()
