"""Prediction against a converged witness: the evidence table.

    python benchmarks/prediction.py --work bench [--mnist DIR] [--cifar10 DIR] [--checkpoints DIR]

The networks are those of networks.py; data that are not named leave their networks out. Each is
trained where need be, and predicted by the GGN and by the Hessian. It is measured with survivors
trained: the threshold at one, two and four times the passes. Every step's JSON stays under
``--work`` and is not made again, so the command can be interrupted. ``--only`` takes a regular
expression of names, ``--stages`` does some of predict, hessian and witness alone, and ``--table``
prints the table from what is there.

What is expected is made from the networks of the table, each time without the one that it is for.
One logarithm is predicted by another. The first is that of survivors held over those predicted with
the prunable weights alone free. The second is that of the norm of all weights over that of the
survivors. The ends of its interval are the 2.5% and 97.5% quantiles of a t distribution.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import Case, arguments, cases
from scipy.stats import t as student

from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, LimitConfig, MeasureConfig
from prunelimit.inputs.problem import Problem
from prunelimit.measurement import measure
from prunelimit.results.serialization import to_json
from prunelimit.storage.files import read_json, write_json

HESSIAN_SAMPLES = {"digits": 0, "MNIST": 10_000, "CIFAR-10": 1_000}
"""Samples of the Hessian: all where that is cheap."""


def witness(case: Case, problem: Problem) -> dict[str, Any]:
    """What trained survivors hold, by their budgets."""
    begin = time.perf_counter()
    config = MeasureConfig(
        survivors="trained",
        refit_passes=case.passes,
        resolution=case.resolution,
        tolerance=("0.5pp",),
    )
    found = measure(problem, config)
    assert found.witness is not None
    return {
        "name": case.name,
        "passes": case.passes,
        "dense": dataclasses.asdict(found.dense),
        "epsilon": found.epsilon.value,
        "budgets": [dataclasses.asdict(each) for each in found.witness.budgets],
        "converged_pp": found.witness.converged_pp,
        "curve": [dataclasses.asdict(each) for each in found.curve],
        "seconds": time.perf_counter() - begin,
        "spent": found.cost.epochs,
        "samples": len(problem.train),
    }


def predicted(case: Case, problem: Problem) -> dict[str, Any]:
    """The headline: all defaults."""
    return to_json(predict_problem(problem, name=case.name))


def by_hessian(case: Case, problem: Problem) -> dict[str, Any]:
    """The variants, within 300 products."""
    curvature = CurvatureConfig(curvature="hessian", samples=HESSIAN_SAMPLES[case.size])
    limit = LimitConfig(max_products=300, no_drift=True)
    return to_json(predict_problem(problem, curvature, limit, name=case.name))


STAGES: dict[str, Callable[[Case, Problem], dict[str, Any]]] = {
    "predict": predicted,
    "hessian": by_hessian,
    "witness": witness,
}


def run(case: Case, work: Path, stages: str) -> None:
    """Make what is missing of one network."""
    missing = [
        (stage, path)
        for stage in STAGES
        for path in [work / f"{case.stem}.{stage}.json"]
        if stage in stages and not path.exists()
    ]
    if not missing:
        return
    problem = case.problem(work)
    for stage, path in missing:
        begin = time.perf_counter()
        write_json(path, STAGES[stage](case, problem))
        taken = time.perf_counter() - begin
        print(f"{case.name}: {stage}, {taken:.0f} s", file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Row:
    """A finished network, sparsities in percent of prunable weights."""

    case: Case
    limit: float
    interval: tuple[float, float]
    reliable: bool
    leans: bool
    alone: float
    norm_kept: float
    ggn: dict[str, float]
    hessian: dict[tuple[str, str], float]
    held: tuple[float, float, float]
    seconds: tuple[float, float]

    @property
    def apart(self) -> float:
        """Limit less the most converged witness, percentage points."""
        return self.limit - self.held[-1]

    @property
    def log_ratio(self) -> float:
        """Logarithm of survivors held over those predicted with the prunable weights alone free."""
        return math.log((100 - self.held[-1]) / max(1e-9, 100 - self.alone))

    @property
    def log_norm(self) -> float:
        """Logarithm of the norm of all prunable weights over that of the survivors."""
        return -math.log(self.norm_kept)


def row(case: Case, work: Path) -> Row | None:
    """What is there of one network; None while prediction or witness are missing."""
    paths = {stage: work / f"{case.stem}.{stage}.json" for stage in STAGES}
    if not (paths["predict"].exists() and paths["witness"].exists()):
        return None
    found, held = read_json(paths["predict"]), read_json(paths["witness"])
    other = read_json(paths["hessian"]) if paths["hessian"].exists() else {"variants": []}
    low, high = found["limit"]["interval"]
    return Row(
        case=case,
        limit=100 * found["limit"]["sparsity"],
        interval=(100 * low, 100 * high),
        reliable=found["reliability"]["ok"],
        leans="network" in found["limit"]["errors"],
        alone=100 * found["limit"]["alone"],
        norm_kept=found["limit"]["norm_kept"],
        ggn={each["formula"]: 100 * each["sparsity"] for each in found["variants"]},
        hessian={
            (each["formula"], each["operator"]): 100 * each["sparsity"]
            for each in other["variants"]
        },
        held=tuple(100 * each["sparsity"] for each in held["budgets"]),
        seconds=(found["wall_seconds"], held["seconds"]),
    )


HEADER = (
    "| network | limit | alone | norm kept | GGN: isotropic / paper "
    "| abs(H): directional / isotropic / paper | negatives flat | witness 1x / 2x / 4x "
    "| limit - 4x | expected | reliable | seconds: predict / witness |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclasses.dataclass(frozen=True)
class Law:
    """The line through the log ratios of networks by their log norms, by least squares."""

    networks: int
    intercept: float
    slope: float
    deviation: float
    centre: float
    spread: float

    @classmethod
    def of(cls, rows: list[Row]) -> Law:
        """From at least three networks."""
        norms, ratios = (
            np.array([getattr(each, name) for each in rows]) for name in ("log_norm", "log_ratio")
        )
        spread = float(((norms - norms.mean()) ** 2).sum())
        slope = float(((norms - norms.mean()) * ratios).sum()) / spread
        intercept = float(ratios.mean() - slope * norms.mean())
        left = ratios - intercept - slope * norms
        deviation = math.sqrt(float((left**2).sum()) / (len(rows) - 2))
        return cls(len(rows), intercept, slope, deviation, float(norms.mean()), spread)

    def expected(self, each: Row) -> tuple[float, float, float]:
        """Middle and ends of the prediction interval for a network, percent."""
        apart = (each.log_norm - self.centre) ** 2 / self.spread
        half = self.deviation * math.sqrt(1 + 1 / self.networks + apart)
        half *= float(student.ppf(0.975, self.networks - 2))
        middle, low, high = (
            max(0.0, 100 - (100 - each.alone) * math.exp(log + side * half))
            for log in [self.intercept + self.slope * each.log_norm]
            for side in (0, 1, -1)
        )
        return middle, low, high


def expected(rows: list[Row], each: Row) -> tuple[float, float, float]:
    """What the other rows say of a network."""
    return Law.of([other for other in rows if other is not each]).expected(each)


def line(each: Row, rows: list[Row]) -> str:
    """One row of the table."""

    def variants(*keys: tuple[str, str]) -> str:
        return " / ".join(f"{each.hessian[k]:.1f}" if k in each.hessian else "-" for k in keys)

    middle, low, high = expected(rows, each)
    formulas = ("directional", "isotropic", "paper")
    cells = [
        each.case.name,
        f"{each.limit:.2f} ({each.interval[0]:.2f}-{each.interval[1]:.2f})",
        f"{each.alone:.2f}",
        f"{100 * each.norm_kept:.0f}%",
        f"{each.ggn['isotropic']:.1f} / {each.ggn['paper']:.1f}",
        variants(*((formula, "absolute") for formula in formulas)),
        variants(("directional", "negatives-as-flat")),
        " / ".join(f"{value:.2f}" for value in each.held),
        f"{each.apart:+.2f}",
        f"{middle:.1f} ({low:.1f}-{high:.1f})",
        "yes" if each.reliable else "no",
        f"{each.seconds[0]:.0f} / {each.seconds[1]:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def summary(rows: list[Row]) -> list[str]:
    """What the table comes to."""
    lines = []
    for size in ("digits", "MNIST", "CIFAR-10", ""):
        chosen = [each for each in rows if size in each.case.size]
        if not chosen:
            continue
        apart = np.array([each.apart for each in chosen])
        lines.append(
            f"{size or 'All'}: {len(chosen)} networks, mean distance {abs(apart).mean():.2f} pp, "
            f"with the sign {apart.mean():+.2f}, largest {apart[abs(apart).argmax()]:+.2f}."
        )
    for operator in ("absolute", "negatives-as-flat"):
        apart = np.array(
            [
                each.hessian["directional", operator] - each.held[-1]
                for each in rows
                if ("directional", operator) in each.hessian
            ]
        )
        if len(apart):
            lines.append(
                f"Directional, {operator}: {len(apart)} networks, mean distance "
                f"{abs(apart).mean():.2f} pp, with the sign {apart.mean():+.2f}."
            )
    leaning = [each for each in rows if each.leans]
    within = sum(each.interval[0] <= each.held[-1] <= each.interval[1] for each in leaning)
    lines.append(
        f"{len(leaning)} lean on what is not pruned; the limit's own interval holds {within} of "
        "those."
    )
    called = [each for each in rows if each.reliable]
    worst = max((abs(each.apart) for each in called), default=0.0)
    lines.append(
        f"{len(called)} are called reliable; the largest distance of those is {worst:.2f}."
    )
    if len(rows) > 3:
        lines += _expectations(rows)
    doubling = [each.held[2] - each.held[1] for each in rows]
    lines.append(f"The last doubling of the witness's budget added {np.mean(doubling):.2f} pp.")
    return lines


def _expectations(rows: list[Row]) -> list[str]:
    """How well each network is foretold by the others."""
    found = [expected(rows, each) for each in rows]
    held = np.array([each.held[-1] for each in rows])
    middle, low, high = np.array(found).T
    inside, widths = int(((low <= held) & (held <= high)).sum()), float((high - low).mean())
    apart = middle - held
    law = Law.of(rows)
    return [
        f"Expected: mean distance {abs(apart).mean():.2f} pp, with the sign {apart.mean():+.2f}, "
        f"largest {apart[abs(apart).argmax()]:+.2f}.",
        f"Prediction intervals hold {inside} of {len(rows)}, {widths:.2f} pp wide on average.",
        f"Intercept {law.intercept:+.3f}, slope {law.slope:.3f}, deviation {law.deviation:.3f}, "
        f"centre {law.centre:.3f}, spread {law.spread:.2f}.",
    ]


def table(options: argparse.Namespace) -> str:
    """All finished rows and their summary."""
    rows = [each for case in cases(options) if (each := row(case, options.work)) is not None]
    if not rows:
        return "No network is finished."
    return "\n".join([HEADER, *(line(each, rows) for each in rows), "", *summary(rows)])


def main() -> None:
    """Run what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stages", default="predict,hessian,witness")
    parser.add_argument("--table", action="store_true")
    options = arguments(parser)
    if not options.table:
        for case in cases(options):
            if re.search(options.only, case.name):
                run(case, options.work, options.stages)
    print(table(options))


if __name__ == "__main__":
    main()
