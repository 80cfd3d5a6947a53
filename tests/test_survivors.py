"""Every criterion goes with every setting of the survivors, in prune and in measure."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from prunelimit import plugins
from prunelimit.commands.prune import prune, prune_problem
from prunelimit.config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
)
from prunelimit.inputs.checkpoint import read_checkpoint
from prunelimit.inputs.load import live, problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.measurement import measure
from prunelimit.values import SURVIVORS

CRITERIA = plugins.names("criterion")
NETWORK = """
import torch

def network():
    return torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.Tanh(), torch.nn.Linear(12, 4))

def data():
    inputs = torch.randn(160, 8, generator=torch.Generator().manual_seed(0))
    labels = inputs[:, :4].argmax(1)
    return inputs[:120], labels[:120], inputs[120:], labels[120:]
"""
FEW = {"calibration": 40, "cg_steps": 3, "refit_passes": 2, "epsilon": "0.05"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network that knows its data, beside the file that describes both."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.py").write_text(NETWORK)
    scope: dict[str, object] = {}
    exec(NETWORK, scope)
    torch.manual_seed(0)
    model: nn.Module = scope["network"]()  # type: ignore[operator]
    inputs, labels, _, _ = scope["data"]()  # type: ignore[operator]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    torch.save(model.state_dict(), folder / "dense.pt")
    return folder


def tiny(place: Path) -> Problem:
    scope: dict[str, object] = {}
    exec(NETWORK, scope)
    model: nn.Module = scope["network"]()  # type: ignore[operator]
    model.load_state_dict(torch.load(place / "dense.pt", weights_only=True))
    inputs, labels, test, test_labels = scope["data"]()  # type: ignore[operator]
    return problem_from_module(model, (inputs, labels), (test, test_labels))


@pytest.mark.parametrize("pattern", [None, "2:4"])
@pytest.mark.parametrize("survivors", SURVIVORS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_prune(
    criterion: str, survivors: str, pattern: str | None, place: Path, tmp_path: Path
) -> None:
    few = {key: value for key, value in FEW.items() if key != "epsilon"}
    config = PruneConfig(
        criterion=criterion,
        survivors=survivors,
        pattern=pattern,
        amount="auto" if pattern else 0.6,
        **few,
    )
    spec = str(place / "tiny.py")
    result = prune(
        place / "dense.pt",
        ModelConfig(model=f"{spec}:network"),
        DataConfig(data=f"{spec}:data"),
        RunConfig(),
        CurvatureConfig(),
        LimitConfig(epsilon="0.05"),
        config,
        tmp_path / "pruned.pt",
    )
    removed = 72 if pattern else round(0.6 * 144)
    assert result.method == config.method.name
    assert result.sparsity == removed / 144 and result.nonzero <= 144 - removed
    before, after = (
        read_checkpoint(p).tensors for p in (place / "dense.pt", tmp_path / "pruned.pt")
    )
    weights = [name for name in before if name.endswith("weight")]
    assert sum(int((after[name] == 0).sum()) for name in weights) >= removed
    if survivors == "fixed":
        for name in before:
            kept = after[name] != 0
            assert torch.equal(before[name][kept], after[name][kept])
    if pattern:
        for name in weights:
            assert bool(((after[name] != 0).view(-1, 4).sum(1) <= 2).all())
    assert (result.compensation is not None) is (survivors in ("compensated", "staged"))
    assert result.drop == pytest.approx(result.accuracy_before - result.accuracy_after)


@pytest.mark.parametrize("pattern", [None, "2:4"])
@pytest.mark.parametrize("survivors", SURVIVORS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_measure(criterion: str, survivors: str, pattern: str | None, place: Path) -> None:
    config = MeasureConfig(
        criterion=criterion,
        survivors=survivors,
        pattern=pattern,
        sparsities="0,0.25,0.5",
        **FEW,
    )
    found = measure(tiny(place), config)
    assert [point.sparsity for point in found.curve] == [0, 0.25, 0.5]
    assert all(point.nonzero <= round((1 - point.sparsity) * 144) for point in found.curve)
    assert found.curve[0].accuracy == found.dense.accuracy
    wanted = {"accuracy", "feasibility" if survivors == "trained" else "loss"}
    assert wanted <= {each.rule for each in found.thresholds}
    assert (found.witness is not None) is (survivors == "trained")
    assert (found.cost.products > 0) >= (survivors in ("compensated", "staged"))


@pytest.mark.parametrize("survivors", SURVIVORS)
def test_tiles_go_whole_to_any_amount(survivors: str, place: Path) -> None:
    """90 of 144 weights are five tiles of 4 by 4 and ten weights of another."""
    few = {key: value for key, value in FEW.items() if key != "epsilon"}
    config = PruneConfig(pattern="block:4x4", survivors=survivors, amount=0.625, **few)
    loaded = live(tiny(place), "tiny")
    pruned = prune_problem(loaded, config, 0.625, LimitConfig(epsilon="0.05"))
    assert int((~pruned.mask).sum()) == 90
    partial = 0
    for name, mask in loaded.problem.layout.unflatten(pruned.mask).items():
        if name.endswith("weight"):
            tiles = mask.unfold(0, 4, 4).unfold(1, 4, 4).double().mean((2, 3))
            partial += int(((tiles > 0) & (tiles < 1)).sum())
    assert partial == 1
