"""The tasks of Zhang et al. 2024: their formula as published, ours, and what was measured.

    python benchmarks/paper.py --work bench --cifar10 DIR [--cifar100 DIR --tiny-imagenet DIR]

Data are class folders train/ and test/; what is not named leaves its tasks out. The settings are
those of the paper: SGD with momentum 0.9, no weight decay, batches of 128, and 200 epochs. The rate
is 0.01 on CIFAR-10 and 0.1 else, and every task has its own l1 penalty. One thing differs: here
every rate falls along a cosine, while they keep that of CIFAR-10. No data are augmented.

Each task has stages, whose JSON stays under ``--work`` and is not made again, so it can be
interrupted: training; "published", their formula; "predict", our headline; "one-shot", magnitude
pruning with nothing else changed; "converged", survivors trained; and "tickets", the baselines from
the initialised network, which are left out unless asked for. ``--tasks`` takes a regular expression
of names, ``--epochs``, ``--train-samples``, ``--loss-samples``, ``--passes`` and
``--resolution`` scale it to the machine. Rows of stages that were not run are not there.

"Published" is m = D - sum_i |l_i| / (|l_i| + 2 epsilon / R^2) over the eigenvalues l of the
Hessian. Directions whose row of the Hessian has an l1 norm below 1e-7 are counted as null, and one
probe of Lanczos quadrature sees the rest. The paper does not say how it finds the norms of all
rows. Here they are medians of |(H v)_i| over vectors v of Cauchy draws, whose spread is the l1 norm
(Indyk 2006). "Actual" is theirs: the highest sparsity whose test accuracy is at least dense.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunelimit.commands.predict import predict_problem
from prunelimit.commands.train import train
from prunelimit.config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from prunelimit.curvature import CurvatureProduct
from prunelimit.estimation.epsilon import tolerance_of
from prunelimit.inputs.load import load, new
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.lanczos.slq import estimate_spectrum
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.formulas.paper import paper_transition
from prunelimit.limit.geometry import Geometry
from prunelimit.measurement import measure
from prunelimit.pruning.descent import descend
from prunelimit.pruning.layers import prunable_part
from prunelimit.pruning.magnitude import removal_count
from prunelimit.pruning.selection import Selection
from prunelimit.randomness import numpy_generator
from prunelimit.results.serialization import to_json
from prunelimit.storage.files import read_json, write_json
from prunelimit.values import EpsilonRule, Method

NULL = 1e-7
"""l1 norm of a row of the Hessian below which its direction is counted as null."""

PROJECTIONS = 15
"""Cauchy vectors that the norms are estimated from."""

STEPS = 96
"""Lanczos steps; the paper has 96 to 128."""

TICKETS = ("imp", "random/smart-ratio", "rare-gems")
"""The paper's baselines, as methods."""

STAGES = ("train", "published", "predict", "one-shot", "converged")
"""What is run unless told otherwise."""


@dataclass(frozen=True)
class Task:
    """A row of the paper: a built-in network on data, ``source`` the option that has them."""

    name: str
    model: str
    source: str
    l1: float
    lr: float

    @property
    def stem(self) -> str:
        """What its files are called."""
        return re.sub(r"[^\w.-]+", "_", self.name)


TASKS = (
    Task("FC5 CIFAR-10", "fc5", "cifar10", 5e-5, 0.01),
    Task("FC12 CIFAR-10", "fc12", "cifar10", 5e-5, 0.01),
    Task("AlexNet CIFAR-10", "alexnet", "cifar10", 3e-5, 0.01),
    Task("VGG16 CIFAR-10", "vgg16", "cifar10", 1e-4, 0.01),
    Task("ResNet18 CIFAR-100", "resnet18", "cifar100", 5e-5, 0.1),
    Task("ResNet50 CIFAR-100", "resnet50", "cifar100", 2e-5, 0.1),
    Task("ResNet18 TinyImageNet", "resnet18", "tiny_imagenet", 5e-5, 0.1),
    Task("ResNet50 TinyImageNet", "resnet50", "tiny_imagenet", 2e-5, 0.1),
)


def row_norms(product: CurvatureProduct, dimension: int, like: Tensor, seed: int) -> Tensor:
    """Estimates of the l1 norms of all rows of a symmetric matrix, (D,): exactly zero for zero
    rows, with a standard error of about 40% for others."""
    draws = numpy_generator(seed, "Cauchy projections")
    found = []
    for _ in range(PROJECTIONS):
        vector = torch.as_tensor(draws.standard_cauchy(dimension)).to(like)
        found.append(product(vector).abs())
    return torch.stack(found).median(dim=0).values


def published(problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """The paper's formula with its count of null directions."""
    begin = time.perf_counter()
    rule = EpsilonRule.parse("batch-std")
    epsilon = tolerance_of(problem, rule, evaluate(problem, problem.train)).value
    product = CurvatureProduct(problem, problem.train, "hessian")
    weights = problem.vector()
    dimension = len(weights)
    seen = row_norms(product, dimension, weights, problem.seed) >= NULL
    rest = int(seen.sum())

    def restricted(vector: Tensor) -> Tensor:
        whole = torch.zeros_like(weights)
        whole[seen] = vector
        return product(whole)[seen]

    like = weights[seen]
    spectrum = estimate_spectrum(
        restricted, like, num_probes=1, num_steps=options.steps, seed=problem.seed
    )
    geometry = Geometry.of(dimension, prunable_part(problem, weights).cpu().numpy(), epsilon)
    found = paper_transition(geometry, EffectiveDimension(spectrum, np.abs, 0.95))
    return {
        "epsilon": epsilon,
        "null": (dimension - rest) / dimension,
        "sparsity": found.removed / geometry.prunable,
        "products": product.products,
        "seconds": time.perf_counter() - begin,
    }


def predicted(problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """Our headline, within the seconds that are given."""
    limit = LimitConfig(max_seconds=options.seconds)
    return to_json(predict_problem(problem, CurvatureConfig(), limit))


def measured(problem: Problem, options: argparse.Namespace, survivors: str) -> dict[str, Any]:
    """Thresholds of magnitude pruning."""
    config = MeasureConfig(
        survivors=survivors,
        resolution=options.resolution,
        refit_passes=options.passes,
        tolerance=("0.5pp",),
    )
    found = measure(problem, config)
    return {
        "dense": dataclasses.asdict(found.dense),
        "thresholds": [dataclasses.asdict(each) for each in found.thresholds],
        "curve": [dataclasses.asdict(each) for each in found.curve],
        "seconds": found.cost.seconds,
    }


def tickets(problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """The baselines of the paper: masks of the network as initialised, then trained for as many
    epochs as the dense one (Adam); accuracies on the test split, by method and sparsity.

    Raises:
        SystemExit: the network has batch normalisation, whose statistics this training holds.
    """
    if any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in problem.model.modules()):
        raise SystemExit("Tickets are for networks without batch normalisation.")
    prunable = int(problem.prunable_mask().sum())
    found: dict[str, Any] = {}
    for name in TICKETS:
        selection = Selection(problem, Method.parse(name), progress=show)
        for sparsity in options.sparsities:
            mask = selection.mask(removal_count(sparsity, prunable))
            trained = descend(
                problem,
                problem.train,
                selection.weights(mask),
                lambda values: values,
                passes=options.epochs,
                lr=1.2e-3,
                batch_size=128,
                moving=mask,
            )
            accuracy = evaluate(problem, problem.test, trained).accuracy
            found.setdefault(name, {})[str(sparsity)] = accuracy
    return found


RUN: dict[str, Callable[[Problem, argparse.Namespace], dict[str, Any]]] = {
    "published": published,
    "predict": predicted,
    "one-shot": lambda problem, options: measured(problem, options, "fixed"),
    "converged": lambda problem, options: measured(problem, options, "trained"),
}


def show(stage: str, done: int, total: int, note: str = "") -> None:
    """One line per step that is done."""
    print(f"    {stage} {done}/{total} {note}", file=sys.stderr, flush=True)


def run(task: Task, options: argparse.Namespace) -> None:
    """Do what is missing of a task."""
    folder = DataConfig(data=f"folder:{getattr(options, task.source)}")
    whole = dataclasses.replace(folder, train_samples=options.train_samples)
    model, where = ModelConfig(model=task.model), RunConfig(seed=options.seed)
    checkpoint = options.work / f"{task.stem}.safetensors"
    if not checkpoint.exists():
        if "train" not in options.stages:
            return
        recipe = TrainConfig(l1=task.l1, lr=task.lr, epochs=options.epochs)
        train(model, whole, where, recipe, checkpoint, resume=True, progress=show)
    missing = [
        (stage, path)
        for stage in (*RUN, "tickets")
        for path in [options.work / f"{task.stem}.{stage}.json"]
        if stage in options.stages and not path.exists()
    ]
    for stage, path in missing:
        begin = time.perf_counter()
        if stage == "tickets":
            found = tickets(new(model, whole, where).problem, options)
        else:
            few = dataclasses.replace(folder, train_samples=options.loss_samples)
            problem = load(checkpoint, model, few, where).problem
            found = RUN[stage](problem, options)
        write_json(path, found)
        taken = time.perf_counter() - begin
        print(f"{task.name}: {stage}, {taken:.0f} s", file=sys.stderr, flush=True)


HEADER = (
    "| task | dense accuracy | null rows | published | headline | one-shot: loss / 0.5 pp / actual "
    "| converged: loss / 0.5 pp | baselines |\n"
    "|---|---|---|---|---|---|---|---|"
)


def line(task: Task, work: Path) -> str | None:
    """A task's row; cells of stages that were not run are empty, and None where none was."""
    paths = {stage: work / f"{task.stem}.{stage}.json" for stage in (*RUN, "tickets")}
    found = {stage: read_json(path) for stage, path in paths.items() if path.exists()}
    if not found:
        return None

    def thresholds(stage: str, *rules: str) -> str:
        if stage not in found:
            return ""
        cells = {}
        for each in found[stage]["thresholds"]:
            low, high = 100 * each["sparsity"], 100 * each["interval"][1]
            # Trained survivors are searched by their loss: what holds and what does not.
            between = f"{low:.1f}-{high:.1f}"
            cells[each["rule"]] = between if stage == "converged" else f"{low:.1f}"
        return " / ".join(cells.get(rule, "-") for rule in rules)

    dense = [each["dense"]["accuracy"] for each in found.values() if "dense" in each]
    formula = found.get("published")
    headline = ""
    if "predict" in found:
        limit = found["predict"]["limit"]
        low, high = (100 * bound for bound in limit["interval"])
        headline = f"{100 * limit['sparsity']:.1f} ({low:.1f}-{high:.1f})"
        headline += "" if found["predict"]["reliability"]["ok"] else ", not reliable"
    baselines = "; ".join(
        f"{name} " + ", ".join(f"{100 * a:.1f} at {100 * float(s):g}" for s, a in each.items())
        for name, each in found.get("tickets", {}).items()
    )
    cells = [
        task.name,
        f"{100 * dense[0]:.1f}" if dense else "",
        f"{100 * formula['null']:.1f}" if formula else "",
        f"{100 * formula['sparsity']:.1f}" if formula else "",
        headline,
        thresholds("one-shot", "loss", "accuracy", "dense-accuracy"),
        thresholds("converged", "feasibility", "accuracy"),
        baselines,
    ]
    return "| " + " | ".join(cells) + " |"


def table(options: argparse.Namespace) -> str:
    """One row per task of which something is there."""
    rows = [row for task in TASKS if (row := line(task, options.work)) is not None]
    return "\n".join([HEADER, *rows]) if rows else "No task has been run."


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where files are kept")
    for name in ("cifar10", "cifar100", "tiny-imagenet"):
        parser.add_argument(f"--{name}", type=Path, help="class folders train/ and test/")
    parser.add_argument("--tasks", default="", help="regular expression of names")
    parser.add_argument("--stages", type=lambda text: text.split(","), default=list(STAGES))
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--train-samples", type=int, help="train on so many (default: all)")
    parser.add_argument("--loss-samples", type=int, help="predict and measure the loss on so many")
    parser.add_argument("--seconds", type=float, help="most seconds of a prediction")
    parser.add_argument("--steps", type=int, default=STEPS, help="Lanczos steps of the published")
    parser.add_argument("--passes", type=int, default=50, help="of survivors that are trained")
    parser.add_argument("--resolution", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sparsities",
        type=lambda text: [float(part) for part in text.split(",")],
        default=[0.9, 0.95, 0.98],
        help="of the baselines",
    )
    options = parser.parse_args()
    unknown = set(options.stages) - {*STAGES, "tickets"}
    if unknown:
        parser.error(f"there is no stage {min(unknown)}; give some of {', '.join(STAGES)}, tickets")
    return options


def main() -> None:
    """Run what is asked for, then print the table of all that is there."""
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        if re.search(options.tasks, task.name) and getattr(options, task.source) is not None:
            run(task, options)
    print(table(options))


if __name__ == "__main__":
    main()
