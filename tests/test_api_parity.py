"""Command line and Python: the same names, the same defaults, the same numbers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import prunelimit as pl
from prunelimit import config
from prunelimit.cli.main import group

PROBLEM = (config.ModelConfig, config.DataConfig, config.RunConfig)

OF_A_COMMAND = {
    *(
        "output",
        "plot",
        "json",
        "quiet",
        "verbose",
        "force",
        "strict",
        "resume",
        "npz",
        "csv_path",
    ),
    *("config", "help", "checkpoint", "checkpoints", "files"),
}
"""Options about files and terminals."""

OF_A_FUNCTION = {
    *("problem", "problems", "progress", "method", "limit", "measured", "results"),
    *("path", "source", "force"),
}
"""Arguments that are live objects, or names that stand for several options."""

ELSEWHERE = {
    "sparse": "an argument of save()",
    "predicted": "called `limit`, which takes a live result too",
    "junit": "a file for continuous integration",
    "code_quality": "a file for continuous integration",
    "no_agreement": "either result may be left out",
    "report": "a function of its own",
    "start": "the problem's own network is where it starts",
    "dry_run": "prints what it would take",
    "per_layer": "a function of its own, sensitivity",
}
"""Options of a command that its function does not have, and why."""

CONFIGS: dict[str, tuple[type[config.Config], ...]] = {
    "train": (config.TrainConfig,),
    "spectrum": (config.CurvatureConfig, config.SharpnessConfig),
    "regime": (config.RegimeConfig,),
    "predict": (config.LimitConfig, config.CurvatureConfig),
    "prune": (config.PruneConfig, config.LimitConfig, config.CurvatureConfig),
    "measure": (config.MeasureConfig,),
    "compare": (
        config.CompareConfig,
        config.MeasureConfig,
        config.LimitConfig,
        config.CurvatureConfig,
    ),
    "check": (config.CheckConfig,),
    "plot": (config.PlotConfig,),
    "report": (config.ReportConfig,),
    "export": (config.ExportConfig,),
}


def names_of(*kinds: Any) -> set[str]:
    return {name for kind in kinds for name in kind.__dataclass_fields__}


def options_of(command: str) -> dict[str, Any]:
    """Default of every option of a command that is not about the problem or about files."""
    parent = click.Context(group, info_name="prunelimit")
    found = group.get_command(parent, command)
    assert found is not None
    positional = [] if command == "train" else ["checkpoint.safetensors"]
    positional += ["-o", "other.pt"] if command == "export" else []
    given = found.make_context(command, positional, parent=parent).params
    left_out = names_of(*PROBLEM) | OF_A_COMMAND
    if command != "plot":
        left_out |= {"figure"}  # that which --plot draws
    if command == "check":  # which predicts and measures too; the function takes their results
        left_out |= names_of(*CONFIGS["predict"], config.MeasureConfig) - {"tolerance", "rule"}
    return {name: value for name, value in given.items() if name not in left_out}


def arguments_of(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: each.default for name, each in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("command", CONFIGS)
def test_the_same_names_and_defaults(command: str) -> None:
    theirs = options_of(command)
    ours = arguments_of(getattr(pl, command))
    assert set(theirs) - set(ours) <= set(ELSEWHERE)
    assert set(ours) - set(theirs) <= OF_A_FUNCTION | {"seed", "force"}
    for name in set(ours) & set(theirs) - {"seed"}:
        assert ours[name] == theirs[name], name
        (kind, *_) = [kind for kind in CONFIGS[command] if name in names_of(kind)]
        assert ours[name] == kind.__dataclass_fields__[name].default


@pytest.mark.parametrize("command", CONFIGS)
def test_every_field_is_reached(command: str) -> None:
    missing = names_of(*CONFIGS[command]) - set(arguments_of(getattr(pl, command)))
    in_names = names_of(config.MethodConfig) if command == "compare" else set()
    assert missing <= {*ELSEWHERE, *in_names}


@pytest.mark.parametrize("kind", PROBLEM)
def test_a_checkpoint_takes_every_field_of_the_problem(kind: Any) -> None:
    ours = arguments_of(pl.Problem.from_checkpoint)
    for name, field in kind.__dataclass_fields__.items():
        assert ours[name] == field.default


def test_a_live_problem_has_the_defaults_of_the_command_line() -> None:
    ours = arguments_of(pl.Problem)
    for name in ("device", "dtype", "batch_size", "workers", "seed", "exclude"):
        (kind,) = [kind for kind in PROBLEM if name in names_of(kind)]
        assert ours[name] == kind.__dataclass_fields__[name].default


CHANGING = {
    *("created", "wall_seconds", "peak_bytes", "seconds", "gradient_seconds", "product_seconds"),
    *("expected_seconds", "artifact"),
}


def lasting(value: Any) -> Any:
    """A document without times and files."""
    if isinstance(value, dict):
        return {key: lasting(each) for key, each in value.items() if key not in CHANGING}
    return [lasting(each) for each in value] if isinstance(value, list) else value


FEW = ("--samples", "100", "--steps", "10", "--probes", "1")
FEW_HERE: dict[str, Any] = {"samples": 100, "steps": 10, "probes": 1}

SAME: dict[str, tuple[tuple[str, ...], Callable[[pl.Problem], Any]]] = {
    "spectrum": (
        (*FEW, "--alpha", "1.5", "--alpha", "2", "--by-layer"),
        lambda problem: pl.spectrum(problem, alpha=(1.5, 2), by_layer=True, **FEW_HERE),
    ),
    "predict": (
        (*FEW, "--epsilon", "5%", "--confidence", "0.9"),
        lambda problem: pl.predict(problem, epsilon="5%", confidence=0.9, **FEW_HERE),
    ),
    "measure": (
        ("--survivors", "compensated", "--cg-steps", "3", "--sparsities", "0,0.5"),
        lambda problem: pl.measure(
            problem, "magnitude+compensated", cg_steps=3, sparsities=[0, 0.5]
        ),
    ),
    "compare": (
        (*FEW, "--methods", "magnitude,wanda", "--sparsities", "0:0.9:0.3", "--tolerance", "3pp"),
        lambda problem: pl.compare(
            problem,
            ["magnitude", "wanda"],
            sparsities="0:0.9:0.3",
            tolerance=0.03,
            **FEW_HERE,
        ),
    ),
}


@pytest.mark.parametrize("command", SAME)
def test_the_same_numbers(
    command: str, trained: Path, tmp_path: Path, prunelimit: Callable[..., Any]
) -> None:
    flags, call = SAME[command]
    path = tmp_path / "result.json"
    assert prunelimit(command, trained, *flags, "--seed", "3", "-q", "-o", path).code == 0
    here = call(pl.Problem.from_checkpoint(trained, seed=3)).to_dict()
    assert lasting(here) == lasting(json.loads(path.read_text()))


PRUNED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "an amount": (("--amount", "0.7"), {"amount": 0.7}),
    "predicted": (FEW, FEW_HERE),
    "within": (("--within", "1pp", "--min-keep", "1%"), {"within": "1pp", "min_keep": "1%"}),
    "2:4, compensated": (
        ("--pattern", "2:4", "--survivors", "compensated", "--cg-steps", "3"),
        {"pattern": "2:4", "survivors": "compensated", "cg_steps": 3},
    ),
}


@pytest.mark.parametrize("case", PRUNED)
def test_the_same_pruned_network(
    case: str, trained: Path, tmp_path: Path, prunelimit: Callable[..., Any]
) -> None:
    flags, arguments = PRUNED[case]
    theirs, ours = tmp_path / "cli.safetensors", tmp_path / "api.safetensors"
    outcome = prunelimit("prune", trained, *flags, "-q", "--json", "-o", theirs)
    assert outcome.code == 0
    pruned = pl.prune(pl.Problem.from_checkpoint(trained), **arguments)
    assert lasting(pruned.result.to_dict()) == lasting(outcome.document)
    pruned.save(ours)
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_same_trained_network(tmp_path: Path, prunelimit: Callable[..., Any]) -> None:
    theirs, ours = tmp_path / "cli.safetensors", tmp_path / "api.safetensors"
    options = ("-m", "lenet-300-100", "-d", "digits", "--epochs", "2", "--seed", "5")
    outcome = prunelimit("train", *options, "-q", "--json", "-o", theirs)
    assert outcome.code == 0
    fresh = pl.Problem.new(model="lenet-300-100", data="digits", seed=5)
    trained = pl.train(fresh, epochs=2)
    trained.save(ours)
    assert ours.read_bytes() == theirs.read_bytes()
    here, there = lasting(trained.result.to_dict()), lasting(outcome.document)
    assert there["model"].pop("sha256") and here["model"].pop("sha256") is None
    assert here == there


def test_the_same_verdict(trained: Path, tmp_path: Path, prunelimit: Callable[..., Any]) -> None:
    problem = pl.Problem.from_checkpoint(trained)
    limit, measured = pl.predict(problem, **FEW_HERE), pl.measure(problem)
    files = tmp_path / "limit.json", tmp_path / "measured.json"
    limit.save(files[0])
    measured.save(files[1])
    outcome = prunelimit("check", *files, "--tolerance", "3pp", "--json", "-q")
    for given in ((limit, measured), files):
        here = pl.check(*given, tolerance="3pp")
        assert lasting(here.to_dict()) == lasting(outcome.document)
    assert outcome.code == (0 if here.passed else 1)
