"""Prediction against measurement: predict and measure every network, write the table.

    python benchmarks/prediction.py --work bench --mnist DIR --cifar10 DIR --checkpoints DIR

``--mnist`` holds torchvision's MNIST, ``--cifar10`` class folders train/ and test/, and
``--checkpoints`` the public ResNets (resnet20-12fca82f.th, resnet32-d509ac18.th). Networks that are
not public are trained first. Every step's JSON stays under ``--work`` and is not made again, so
the command can be interrupted; ``--only`` takes a regular expression of network names, ``--stages``
measure or predict does one half alone, and ``--table`` writes the table from what is there into
README.md between its markers.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prunelimit.config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from prunelimit.documents import from_json, to_json
from prunelimit.files import read_json, write_json
from prunelimit.pipeline.measure import measure
from prunelimit.pipeline.predict import predict
from prunelimit.pipeline.train import train
from prunelimit.results import MeasureResult, PredictResult

README = Path(__file__).parent.parent / "README.md"
MARKERS = ("<!-- benchmark:begin -->", "<!-- benchmark:end -->")


@dataclass(frozen=True)
class Case:
    """One network: how it is made, or where its public checkpoint lies."""

    name: str
    model: ModelConfig
    data: DataConfig
    seed: int = 0
    training: TrainConfig | None = None
    checkpoint: Path | None = None
    samples: int = 10_000
    steps: int = 120
    directional_steps: int = 40
    refit_epochs: int = 6
    resolution: float = 0.001


def cases(options: argparse.Namespace) -> list[Case]:
    """Every network of the table, seed by seed."""
    mnist = DataConfig(data="mnist", data_dir=str(options.mnist))
    cifar = DataConfig(data=f"folder:{options.cifar10}")
    recipes = {
        "plain": TrainConfig(l1=0.0),
        "l1 1e-5": TrainConfig(l1=1e-5),
        "l1 5e-5": TrainConfig(l1=5e-5),
        "l1 2e-4": TrainConfig(l1=2e-4),
        "wd 5e-4": TrainConfig(l1=0.0, weight_decay=5e-4),
    }
    found = []
    for seed in range(3):
        for name, recipe in recipes.items():
            found.append(
                Case(
                    f"LeNet-300-100 MNIST {name} seed {seed}",
                    ModelConfig(model="lenet-300-100"),
                    mnist,
                    seed,
                    recipe,
                )
            )
        if seed:
            continue
        found.append(
            Case(
                "LeNet-5 CIFAR-10 l1 5e-5 seed 0",
                ModelConfig(model="lenet5"),
                cifar,
                training=TrainConfig(l1=5e-5, lr=0.02, epochs=12),
                samples=1_000,
                steps=120,
            )
        )
        found.append(
            Case(
                "FC5 CIFAR-10 l1 5e-5 seed 0",
                ModelConfig(model="fc5"),
                cifar,
                training=TrainConfig(l1=5e-5, lr=0.02, epochs=12),
                samples=1_000,
                steps=120,
                refit_epochs=3,
                resolution=0.005,
            )
        )
        for depth, digest in ((20, "12fca82f"), (32, "d509ac18")):
            found.append(
                Case(
                    f"ResNet-{depth} CIFAR-10 public",
                    ModelConfig(model=f"resnet{depth}"),
                    dataclasses.replace(cifar, train_samples=5_000),
                    checkpoint=options.checkpoints / f"resnet{depth}-{digest}.th",
                    samples=1_000,
                    steps=50,
                    directional_steps=20,
                    refit_epochs=3,
                    resolution=0.005,
                )
            )
    return found


def show(stage: str, done: int, total: int, note: str = "") -> None:
    """One line per finished stage."""
    if done == total:
        print(f"    {stage} {note}", file=sys.stderr, flush=True)


def once(path: Path, make: Callable[[], object]) -> None:
    """Make the result in ``path`` unless it is there."""
    if not path.exists():
        write_json(path, to_json(make()))


def run(case: Case, work: Path, stages: str) -> None:
    """Train, then measure one-shot and refit, then predict by both matrices, as ``stages`` say."""
    print(case.name, file=sys.stderr, flush=True)
    stem = re.sub(r"[^\w.-]+", "_", case.name)
    where = RunConfig(seed=case.seed)
    checkpoint = case.checkpoint or work / f"{stem}.safetensors"
    if case.training is not None and not checkpoint.exists():
        train(case.model, case.data, where, case.training, checkpoint, resume=True, progress=show)
    if "measure" in stages:
        for method in ("one-shot", "refit"):
            config = MeasureConfig(
                method=method, refit_epochs=case.refit_epochs, resolution=case.resolution
            )
            once(
                work / f"{stem}.{method}.json",
                lambda config=config: measure(
                    checkpoint, case.model, case.data, where, config, progress=show
                ),
            )
    if "predict" not in stages:
        return
    for kind in ("hessian", "ggn"):
        # The drift with samples is wanted for the headline, which is the Hessian's.
        limit = LimitConfig(directional_steps=case.directional_steps, no_drift=kind == "ggn")
        curvature = CurvatureConfig(curvature=kind, samples=case.samples, steps=case.steps)
        once(
            work / f"{stem}.{kind}.json",
            lambda curvature=curvature, limit=limit: predict(
                checkpoint, case.model, case.data, where, curvature, limit, progress=show
            ),
        )


HEADER = (
    "| network | dense accuracy | limit: directional, abs(H) | isotropic, abs(H) | paper, abs(H) "
    "| directional / isotropic / paper, GGN | one-shot, loss | one-shot, 0.5 pp | refit feasible "
    "| limit - refit | limit - 0.5 pp | reliable |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)

COSTS = (
    "| network | parameters | samples | products | seconds to predict | "
    "seconds to measure one-shot | by refit |\n"
    "|---|---|---|---|---|---|---|"
)


def percent(value: float) -> str:
    """A fraction for people."""
    return f"{100 * value:.1f}"


def threshold(result: MeasureResult, rule: str, tolerance: float | None = None) -> float:
    """The measured threshold of ``rule``."""
    for each in result.thresholds:
        if each.rule == rule and (tolerance is None or abs(each.tolerance - tolerance) < 1e-9):
            return each.sparsity
    raise LookupError(rule)


@dataclass(frozen=True)
class Row:
    """What the table and its summary need of one network."""

    name: str
    line: str
    cost: str
    to_refit: float
    to_accuracy: float
    by_operator: dict[str, float]


def row(case: Case, work: Path) -> Row | None:
    """The finished row of one network; None while a step but the GGN is missing."""
    stem = re.sub(r"[^\w.-]+", "_", case.name)
    paths = {k: work / f"{stem}.{k}.json" for k in ("hessian", "ggn", "one-shot", "refit")}
    if not all(path.exists() for kind, path in paths.items() if kind != "ggn"):
        return None
    hessian = from_json(PredictResult, read_json(paths["hessian"]))
    both = list(hessian.variants)
    if paths["ggn"].exists():
        both += from_json(PredictResult, read_json(paths["ggn"])).variants
    shot = from_json(MeasureResult, read_json(paths["one-shot"]))
    refit = from_json(MeasureResult, read_json(paths["refit"]))
    by = {(each.formula, each.operator): percent(each.sparsity) for each in both}
    low, high = hessian.limit.interval
    feasible = threshold(refit, "feasibility")
    accurate = threshold(shot, "accuracy", 0.005)
    to_refit = 100 * (hessian.limit.sparsity - feasible)
    to_accuracy = 100 * (hessian.limit.sparsity - accurate)
    cells = [
        case.name,
        f"{100 * hessian.dense.accuracy:.2f}",
        f"{percent(hessian.limit.sparsity)} ({percent(low)}-{percent(high)})",
        by["isotropic", "absolute"],
        by["paper", "absolute"],
        " / ".join(by.get((f, "ggn"), "-") for f in ("directional", "isotropic", "paper")),
        percent(threshold(shot, "loss")),
        percent(accurate),
        percent(feasible),
        f"{to_refit:+.1f}",
        f"{to_accuracy:+.1f}",
        "yes" if hessian.reliability.ok else "no",
    ]
    curvature = hessian.curvature
    costs = [
        case.name,
        f"{hessian.model.parameters:,}",
        f"{curvature.samples:,}",
        f"{curvature.products}",
        f"{hessian.provenance.wall_seconds:.0f}",
        f"{shot.provenance.wall_seconds:.0f}",
        f"{refit.provenance.wall_seconds:.0f}",
    ]
    by_operator = {
        each.operator: 100 * (each.sparsity - feasible)
        for each in both
        if each.formula == "directional"
    }
    return Row(case.name, _line(cells), _line(costs), to_refit, to_accuracy, by_operator)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(options: argparse.Namespace) -> str:
    """All finished rows and their summary."""
    rows = [row(case, options.work) for case in cases(options)]
    done = [each for each in rows if each is not None]
    if not done:
        return "No network is finished."
    lines = [HEADER, *(each.line for each in done), ""]
    mean = sum(abs(each.to_refit) for each in done) / len(done)
    lines.append(
        f"{len(done)} of {len(rows)} networks. Mean distance of the directional limit from refit "
        f"feasibility: {mean:.2f} pp."
    )
    lines.append(
        f"With the sign: {sum(each.to_refit for each in done) / len(done):+.2f} pp; the largest is "
        f"{max((each.to_refit for each in done), key=abs):+.1f} pp."
    )
    for operator in ("absolute", "negatives-as-flat", "ggn"):
        apart = [each.by_operator[operator] for each in done if operator in each.by_operator]
        if apart:
            mean = sum(map(abs, apart)) / len(apart)
            lines.append(
                f"By {operator} eigenvalues: {mean:.2f} pp, with the sign "
                f"{sum(apart) / len(apart):+.2f} pp."
            )
    sparse = [each for each in done if " l1 " in each.name]
    if sparse:
        mean = sum(abs(each.to_accuracy) for each in sparse) / len(sparse)
        lines.append(
            f"On the {len(sparse)} l1-trained ones, from one-shot at 0.5 pp: {mean:.2f} pp."
        )
    lines += [
        "",
        "What it cost, several at a time on two cores:",
        "",
        COSTS,
        *(each.cost for each in done),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("work", "mnist", "cifar10", "checkpoints"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--stages", default="measure,predict")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.table:
        for case in cases(options):
            if re.search(options.only, case.name):
                run(case, options.work, options.stages)
    written = table(options)
    print(written)
    if options.table:
        text = README.read_text(encoding="utf-8")
        before, rest = text.split(MARKERS[0])
        after = rest.split(MARKERS[1])[1]
        README.write_text(f"{before}{MARKERS[0]}\n{written}\n{MARKERS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
