"""Methods side by side: how near to the limit each comes, on networks trained in several ways.

    python benchmarks/methods.py --work bench --mnist DIR [--cifar10 DIR --checkpoints DIR]

``--mnist`` holds torchvision's MNIST, ``--cifar10`` class folders train/ and test/, and
``--checkpoints`` the public resnet20-12fca82f.th and resnet32-d509ac18.th; what is not given is
left out. Networks that are not public are trained first, by as many ``--seeds`` as are asked for;
those of MNIST plainly, with weight decay and with l1. Checkpoints and predictions of
``prediction.py`` in the same ``--work`` are used. Every comparison's JSON stays under ``--work``,
and only the methods that it lacks are measured; an interrupted one goes on. ``--only`` takes a
regular expression of network names, ``--methods`` other methods.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from prunelimit.commands.compare import compare, compared
from prunelimit.commands.train import train
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
from prunelimit.inputs.load import load
from prunelimit.results.serialization import from_json, to_json
from prunelimit.results.types import CompareResult, MethodResult
from prunelimit.storage.files import read_json, write_json
from prunelimit.values import methods


@dataclass(frozen=True)
class Case:
    """One network: how it is trained, or where its public checkpoint lies."""

    name: str
    model: ModelConfig
    data: DataConfig
    measurement: MeasureConfig
    seed: int = 0
    training: TrainConfig | None = None
    checkpoint: Path | None = None
    curvature: CurvatureConfig | None = None
    limit: LimitConfig | None = None


RECIPES = {
    "plain": TrainConfig(l1=0.0),
    "wd 5e-4": TrainConfig(l1=0.0, weight_decay=5e-4),
    "l1 5e-5": TrainConfig(l1=5e-5),
}


def digits(options: argparse.Namespace) -> list[Case]:
    """Networks of MNIST."""
    data = DataConfig(data="mnist", data_dir=str(options.mnist))
    perceptron = MeasureConfig(resolution=0.002)
    # Products over images cost more: fewer inputs.
    convolutions = MeasureConfig(resolution=0.005, refit_passes=30, calibration=2_000)
    return [
        Case(
            f"{title} MNIST {recipe} seed {seed}",
            ModelConfig(model=model),
            data,
            measurement,
            seed,
            training,
            curvature=CurvatureConfig(samples=samples),
            limit=LimitConfig(no_drift=True, tolerance="0.5pp", max_seconds=240),
        )
        for title, model, measurement, samples in (
            ("LeNet-300-100", "lenet-300-100", perceptron, 4_000),
            ("LeNet-5", "lenet5", convolutions, 2_000),
        )
        for seed in range(options.seeds)
        for recipe, training in RECIPES.items()
    ]


def pictures(options: argparse.Namespace) -> list[Case]:
    """Networks of CIFAR-10."""
    data = DataConfig(data=f"folder:{options.cifar10}", train_samples=5_000)
    few = CurvatureConfig(samples=1_000, steps=50)
    found = [
        Case(
            f"FC5 CIFAR-10 l1 5e-5 seed {seed}",
            ModelConfig(model="fc5"),
            DataConfig(data=f"folder:{options.cifar10}"),
            # What compensation lacks is steps more than inputs (benchmarks/README.md, the ladder).
            MeasureConfig(resolution=0.005, refit_passes=30, cg_steps=60),
            seed,
            TrainConfig(l1=5e-5, lr=0.02, epochs=12),
            curvature=few,
            limit=LimitConfig(directional_steps=20, no_drift=True),
        )
        for seed in range(options.seeds)
    ]
    if options.checkpoints is not None:
        found += [
            Case(
                f"ResNet-{depth} CIFAR-10 public",
                ModelConfig(model=f"resnet{depth}"),
                data,
                MeasureConfig(resolution=resolution, refit_passes=30, calibration=1_000),
                checkpoint=options.checkpoints / f"resnet{depth}-{digest}.th",
                curvature=few,
                limit=LimitConfig(directional_steps=20, no_drift=True),
            )
            for depth, digest, resolution in ((20, "12fca82f", 0.01), (32, "d509ac18", 0.02))
        ]
    return found


def cases(options: argparse.Namespace) -> list[Case]:
    """Every network of the table."""
    found = digits(options)
    return found if options.cifar10 is None else found + pictures(options)


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
    path, where = file(case, options.work, "compare.json"), RunConfig(seed=case.seed)
    checkpoint = case.checkpoint or file(case, options.work, "safetensors")
    if path.exists():
        add(case, options, path, checkpoint)
        return
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
        state=path.with_suffix(".resume"),
        resume=True,
        progress=show,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    write_json(path, to_json(result))
    path.with_suffix(".resume").unlink(missing_ok=True)


def add(case: Case, options: argparse.Namespace, path: Path, checkpoint: Path) -> None:
    """Measure the methods that the comparison at ``path`` lacks."""
    result = from_json(CompareResult, read_json(path))
    known = {each.method for each in result.methods}
    missing = [each for each in methods(options.methods) if each.name not in known]
    if not missing:
        return
    problem = load(checkpoint, case.model, case.data, RunConfig(seed=case.seed)).problem
    for each in missing:
        settings = replace(
            case.measurement,
            criterion=each.criterion,
            allocation=each.allocation,
            pattern=each.pattern,
            survivors=each.survivors,
        )
        method = compared(problem, settings, result.limit, progress=show)
        result = replace(result, methods=(*result.methods, method))
        write_json(path, to_json(result), force=True)


def cell(method: MethodResult, rule: str, tolerance: float | None = None) -> str:
    """The method's threshold by ``rule``, and what is left to the limit."""
    for each in method.thresholds:
        if each.rule == rule and tolerance in (None, each.tolerance):
            return f"{100 * each.sparsity:.1f} ({each.distance_pp:+.1f})"
    return "-"


def place(method: MethodResult) -> int:
    """Where the method's row stands: those that compare measures by default come first."""
    usual = [each.name for each in CompareConfig().methods]
    return usual.index(method.method) if method.method in usual else len(usual)


def table(options: argparse.Namespace) -> str:
    """One row per network and method that is finished."""
    lines = [
        "| network | limit | method | accuracy within 0.5 pp (left) | within 1 pp (left) | "
        "loss within epsilon (left) | products | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in cases(options):
        path = file(case, options.work, "compare.json")
        if not path.exists():
            continue
        result = from_json(CompareResult, read_json(path))
        low, high = (100 * bound for bound in result.limit.interval)
        limit = f"{100 * result.limit.sparsity:.1f} ({low:.1f}-{high:.1f})"
        for method in sorted(result.methods, key=place):
            event = "feasibility" if method.method.endswith("+trained") else "loss"
            cells = [
                case.name,
                limit,
                method.method,
                cell(method, "accuracy", 0.005),
                cell(method, "accuracy", 0.01),
                cell(method, event),
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
    parser.add_argument(
        "--methods", default=",".join(each.name for each in CompareConfig().methods)
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for case in cases(options):
        if re.search(options.only, case.name):
            run(case, options)
    print(table(options))


if __name__ == "__main__":
    main()
