"""Methods side by side: how near to the limit each comes, on networks trained in several ways.

    python benchmarks/methods.py --work bench --mnist DIR [--cifar10 DIR --checkpoints DIR]

``--mnist`` holds torchvision's MNIST, ``--cifar10`` class folders train/ and test/, and
``--checkpoints`` the public resnet20-12fca82f.th, which is left out where these are not given.
LeNet-300-100 is trained first, plainly, with weight decay and with l1; seeds and recipes are those
of ``prediction.py``, whose checkpoints and predictions in the same ``--work`` are used. Every
comparison's JSON stays under ``--work`` and is not made again; ``--only`` takes a regular
expression of network names, ``--methods`` other methods.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from prunelimit.config import (
    CompareConfig,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from prunelimit.files import read_json, write_json
from prunelimit.pipeline.compare import compare
from prunelimit.pipeline.train import train
from prunelimit.results import CompareResult, MethodResult, from_json, to_json


@dataclass(frozen=True)
class Case:
    """One network: how it is trained, or where its public checkpoint lies."""

    name: str
    model: ModelConfig
    data: DataConfig
    measurement: MeasureConfig
    training: TrainConfig | None = None
    checkpoint: Path | None = None
    curvature: CurvatureConfig | None = None
    limit: LimitConfig | None = None


def cases(options: argparse.Namespace) -> list[Case]:
    """Every network of the table."""
    mnist = DataConfig(data="mnist", data_dir=str(options.mnist))
    recipes = {
        "plain": TrainConfig(l1=0.0),
        "wd 5e-4": TrainConfig(l1=0.0, weight_decay=5e-4),
        "l1 5e-5": TrainConfig(l1=5e-5),
    }
    found = [
        Case(
            f"LeNet-300-100 MNIST {name} seed 0",
            ModelConfig(model="lenet-300-100"),
            mnist,
            MeasureConfig(tolerance=("0.5pp",), resolution=0.002),
            training=recipe,
        )
        for name, recipe in recipes.items()
    ]
    if options.cifar10 is not None and options.checkpoints is not None:
        found.append(
            Case(
                "ResNet-20 CIFAR-10 public",
                ModelConfig(model="resnet20"),
                DataConfig(data=f"folder:{options.cifar10}", train_samples=5_000),
                # A product over 10,000 inputs takes minutes here: fewer of both.
                MeasureConfig(
                    tolerance=("0.5pp",), resolution=0.01, refit_epochs=3, calibration=1_000
                ),
                checkpoint=options.checkpoints / "resnet20-12fca82f.th",
                curvature=CurvatureConfig(samples=1_000, steps=50),
                limit=LimitConfig(directional_steps=20, no_drift=True),
            )
        )
    return found


def show(stage: str, done: int, total: int, note: str = "") -> None:
    """One line per finished stage."""
    if done == total:
        print(f"    {stage} {note}", file=sys.stderr, flush=True)


def file(case: Case, work: Path, ending: str) -> Path:
    """Where a file of the network lies, as in ``prediction.py``."""
    name = re.sub(r"[^\w.-]+", "_", case.name)
    return work / f"{name}.{ending}"


def run(case: Case, options: argparse.Namespace) -> None:
    """Train where that is wanted, then compare, unless the result is there."""
    print(case.name, file=sys.stderr, flush=True)
    path, where = file(case, options.work, "compare.json"), RunConfig()
    if path.exists():
        return
    checkpoint = case.checkpoint or file(case, options.work, "safetensors")
    if case.training is not None and not checkpoint.exists():
        train(case.model, case.data, where, case.training, checkpoint, resume=True, progress=show)
    predicted = file(case, options.work, "hessian.json")
    result = compare(
        checkpoint,
        case.model,
        case.data,
        where,
        case.curvature or CurvatureConfig(),
        case.limit or LimitConfig(),
        case.measurement,
        CompareConfig(
            methods=options.methods, predicted=str(predicted) if predicted.exists() else None
        ),
        progress=show,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    write_json(path, to_json(result))


def cell(method: MethodResult, *rules: str) -> str:
    """The method's threshold by the first of ``rules`` that it has, and what is left to the
    limit."""
    for rule in rules:
        for each in method.thresholds:
            if each.rule == rule:
                return f"{100 * each.sparsity:.1f} ({each.distance_pp:+.1f})"
    return "-"


def table(options: argparse.Namespace) -> str:
    """One row per network and method that is finished."""
    lines = [
        "| network | limit | method | accuracy within 0.5 pp (left) | loss within epsilon (left) | "
        "products | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in cases(options):
        path = file(case, options.work, "compare.json")
        if not path.exists():
            continue
        result = from_json(CompareResult, read_json(path))
        low, high = (100 * bound for bound in result.limit.interval)
        limit = f"{100 * result.limit.sparsity:.1f} ({low:.1f}-{high:.1f})"
        for method in result.methods:
            cells = [
                case.name,
                limit,
                method.method,
                cell(method, "accuracy"),
                cell(method, "loss", "feasibility"),
                f"{method.cost.products:,}",
                f"{method.cost.seconds:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for, then print the table of all that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("work", "mnist"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("cifar10", "checkpoints"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--methods", default=CompareConfig.methods)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for case in cases(options):
        if re.search(options.only, case.name):
            run(case, options)
    print(table(options))


if __name__ == "__main__":
    main()
