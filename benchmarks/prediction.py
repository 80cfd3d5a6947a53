"""Prediction against a converged witness: the evidence table.

    python benchmarks/prediction.py --work bench [--mnist DIR] [--cifar10 DIR] [--checkpoints DIR]

The networks are those of networks.py; data that are not named leave their networks out. Each is
trained where need be, and predicted by the GGN and by the Hessian. It is measured with survivors
trained: the threshold at one, two and four times the passes. Every step's JSON stays under
``--work`` and is not made again, so the command can be interrupted. ``--only`` takes a regular
expression of names, ``--stages`` does some of predict, hessian and witness alone, and ``--table``
prints the table from what is there. Finished rows are kept in evidence.csv beside this script, and
the table has the rows of that file too.

What is expected is made from the networks of the table, each time without the one that it is for.
The logarithm of survivors held over those predicted with the prunable weights alone free is
predicted by least squares, from the logarithm of the norm of all weights over that of the
survivors, from the survivors of the isotropic formula over those predicted, and from the logarithm
of the share of survivors predicted. The ends of its interval are the 2.5% and 97.5% quantiles of a
t distribution.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import Case, arguments, cases, public, unseen
from scipy.stats import t as student

from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, LimitConfig, MeasureConfig
from prunelimit.inputs.problem import Problem
from prunelimit.limit.expected import predictors
from prunelimit.limit.reliability import FARTHEST, FARTHEST_END
from prunelimit.measurement import measure
from prunelimit.results.serialization import to_json
from prunelimit.storage.files import read_json, write_json

HESSIAN_SAMPLES = {"digits": 0, "unseen": 0, "MNIST": 10_000, "CIFAR-10": 1_000}
"""Samples of the Hessian: all where that is cheap."""

SAMPLES = 10_000
"""Training images of the costly networks. On all images a witness takes hours for a small network,
and days for a large one."""

JUDGED = "Judging by other networks"
"""How the reason begins that goes by what is expected. The table judges that itself, by the other
rows."""

STILL_GAINING = 5.0
"""Percentage points that the last doubling of the witness's budget adds at most, where it counts.
Budgets are enough for small networks: there it added less than three. They are not for large ones.
"""

EVIDENCE = Path(__file__).with_name("evidence.csv")


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
    """A finished network, sparsities in percent of prunable weights. What was not run is None.

    ``sound`` says that nothing but what is expected speaks against the limit. ``leans`` says that
    the limit is the middle of two, since the network leans on what is not pruned. ``whole`` says
    that the limit leaves a weight in every layer; of others nothing is expected.
    """

    name: str
    size: str
    limit: float
    low: float
    high: float
    sound: int
    leans: int
    alone: float
    norm_kept: float
    isotropic: float
    paper: float
    held_1x: float
    held_2x: float
    held_4x: float
    predict_seconds: float
    witness_seconds: float
    hessian_directional: float | None = None
    hessian_isotropic: float | None = None
    hessian_paper: float | None = None
    hessian_flat: float | None = None
    whole: int = 1

    @property
    def apart(self) -> float:
        """Limit less the most converged witness, percentage points."""
        return self.limit - self.held_4x

    @property
    def cut_short(self) -> bool:
        """Whether the witness still gained so much that it is a lower bound, and no measurement."""
        return self.held_4x - self.held_2x > STILL_GAINING

    @property
    def log_ratio(self) -> float:
        """Logarithm of survivors held over those predicted with the prunable weights alone free."""
        return math.log((100 - self.held_4x) / max(1e-9, 100 - self.alone))

    @property
    def predictors(self) -> tuple[float, float, float]:
        """What the logarithm is predicted from."""
        return predictors(self.alone / 100, self.norm_kept, self.isotropic / 100)


def row(case: Case, work: Path, known: Row | None) -> Row | None:
    """What is there of one network, instead of what was ``known``; None while prediction or witness
    are missing."""
    found: dict[str, Any] = {} if known is None else dataclasses.asdict(known)
    for stage, read in READ.items():
        path = work / f"{case.stem}.{stage}.json"
        if path.exists():
            found |= read(read_json(path))
    if not {"limit", "held_4x"} <= found.keys():
        return None
    return Row(**{**found, "name": case.name, "size": case.size})


def _by_prediction(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row that the prediction gives."""
    low, high = found["limit"]["interval"]
    ggn = {each["formula"]: 100 * each["sparsity"] for each in found["variants"]}
    return {
        "limit": 100 * found["limit"]["sparsity"],
        "low": 100 * low,
        "high": 100 * high,
        "sound": int(all(each.startswith(JUDGED) for each in found["reliability"]["reasons"])),
        "leans": int("network" in found["limit"]["errors"]),
        "whole": int(all(each["kept"] for each in found["layers"])),
        "alone": 100 * found["limit"]["alone"],
        "norm_kept": found["limit"]["norm_kept"],
        "isotropic": ggn["isotropic"],
        "paper": ggn["paper"],
        "predict_seconds": found["wall_seconds"],
    }


def _by_witness(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row that the witness gives."""
    once, twice, four = (100 * each["sparsity"] for each in found["budgets"])
    return {
        "held_1x": once,
        "held_2x": twice,
        "held_4x": four,
        "witness_seconds": found["seconds"],
    }


def _by_hessian(found: dict[str, Any]) -> dict[str, Any]:
    """The limits by the Hessian, by their fields in a row."""
    sparsity = {(each["formula"], each["operator"]): each["sparsity"] for each in found["variants"]}
    return {
        field: 100 * sparsity[key]
        for field, key in {
            "hessian_directional": ("directional", "absolute"),
            "hessian_isotropic": ("isotropic", "absolute"),
            "hessian_paper": ("paper", "absolute"),
            "hessian_flat": ("directional", "negatives-as-flat"),
        }.items()
        if key in sparsity
    }


READ: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "predict": _by_prediction,
    "hessian": _by_hessian,
    "witness": _by_witness,
}
"""What each stage's JSON gives."""


def read_evidence(path: Path = EVIDENCE) -> list[Row]:
    """The rows of a file of evidence."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(**{k: v if k in ("name", "size") else _number(v) for k, v in each.items()})
            for each in csv.DictReader(file)
        ]


def _number(text: str) -> float | None:
    return float(text) if text else None


def write_evidence(rows: list[Row], path: Path = EVIDENCE) -> None:
    """All ``rows``, with six digits."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(each.name for each in dataclasses.fields(Row))
        for each in rows:
            writer.writerow(
                f"{v:.6g}" if isinstance(v, float) else "" if v is None else v
                for v in dataclasses.astuple(each)
            )


FEWEST = 9
"""Networks, at least, from which others are foretold."""

HEADER = (
    "| network | limit | alone | norm kept | GGN: isotropic / paper "
    "| abs(H): directional / isotropic / paper | negatives flat | witness 1x / 2x / 4x "
    "| limit - 4x | expected | reliable | seconds: predict / witness |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclasses.dataclass(frozen=True)
class Law:
    """The logarithms of networks by their predictors, by least squares.

    ``coefficients`` begin with that of a constant. Fewer of them than predictors use the first
    ones. ``inverse`` is that of the matrix of the sums of products of the predictors, the constant
    among them.
    """

    networks: int
    coefficients: np.ndarray
    deviation: float
    inverse: np.ndarray

    @classmethod
    def of(cls, rows: list[Row], used: int = 3) -> Law:
        """From more networks than coefficients, by the first ``used`` predictors."""
        matrix = np.array([(1.0, *each.predictors[:used]) for each in rows])
        ratios = np.array([each.log_ratio for each in rows])
        inverse = np.linalg.inv(matrix.T @ matrix)
        coefficients = inverse @ (matrix.T @ ratios)
        left = ratios - matrix @ coefficients
        free = len(rows) - matrix.shape[1]
        return cls(len(rows), coefficients, math.sqrt(float(left @ left) / free), inverse)

    def expected(self, each: Row) -> tuple[float, float, float]:
        """Middle and ends of the prediction interval for a network, percent."""
        point = np.array([1.0, *each.predictors])[: len(self.coefficients)]
        half = self.deviation * math.sqrt(1 + float(point @ self.inverse @ point))
        half *= float(student.ppf(0.975, self.networks - len(point)))
        middle, low, high = (
            max(0.0, 100 - (100 - each.alone) * math.exp(log + side * half))
            for log in [float(self.coefficients @ point)]
            for side in (0, 1, -1)
        )
        return middle, low, high


def expected(rows: list[Row], each: Row) -> tuple[float, float, float] | None:
    """What the other rows say of a network, those that are whole; None where they say nothing."""
    others = [other for other in rows if other is not each and other.whole]
    return Law.of(others).expected(each) if each.whole and len(others) >= FEWEST else None


def reliable(rows: list[Row], each: Row) -> bool:
    """Whether the limit is called reliable, by the rule of the tool and the other rows."""
    found = expected(rows, each)
    if not each.sound or found is None:
        return bool(each.sound)
    middle, *ends = found
    near = abs(each.limit - middle) <= 100 * FARTHEST
    return near and max(abs(each.limit - end) for end in ends) <= 100 * FARTHEST_END


def line(each: Row, rows: list[Row]) -> str:
    """One row of the table."""

    def variants(*values: float | None) -> str:
        return " / ".join("-" if value is None else f"{value:.1f}" for value in values)

    found, stops = expected(rows, each), "-"
    if found is not None and not each.cut_short:
        middle, low, high = found
        stops = f"{middle:.1f} ({low:.1f}-{high:.1f})"
    cells = [
        each.name,
        f"{each.limit:.2f} ({each.low:.2f}-{each.high:.2f})",
        f"{each.alone:.2f}",
        f"{100 * each.norm_kept:.0f}%",
        f"{each.isotropic:.1f} / {each.paper:.1f}",
        variants(each.hessian_directional, each.hessian_isotropic, each.hessian_paper),
        variants(each.hessian_flat),
        f"{each.held_1x:.2f} / {each.held_2x:.2f} / {each.held_4x:.2f}"
        + (", cut short" if each.cut_short else ""),
        "-" if each.cut_short else f"{each.apart:+.2f}",
        stops,
        "yes" if reliable(rows, each) else "no",
        f"{each.predict_seconds:.0f} / {each.witness_seconds:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def summary(rows: list[Row], short: list[Row]) -> list[str]:
    """What ``rows`` come to, and how many are ``short``: their witness is cut short."""
    lines = []
    for size in ("digits", "unseen", "MNIST", "CIFAR-10", ""):
        chosen = [each for each in rows if size in each.size]
        if not chosen:
            continue
        apart = np.array([each.apart for each in chosen])
        lines.append(
            f"{size or 'All'}: {len(chosen)} networks, mean distance {abs(apart).mean():.2f} pp, "
            f"with the sign {apart.mean():+.2f}, largest {apart[abs(apart).argmax()]:+.2f}."
        )
    for operator, field in (
        ("absolute", "hessian_directional"),
        ("negatives-as-flat", "hessian_flat"),
    ):
        pairs = [(getattr(each, field), each.held_4x) for each in rows]
        apart = np.array([value - held for value, held in pairs if value is not None])
        if len(apart):
            lines.append(
                f"Directional, {operator}: {len(apart)} networks, mean distance "
                f"{abs(apart).mean():.2f} pp, with the sign {apart.mean():+.2f}."
            )
    leaning = [each for each in rows if each.leans]
    within = sum(each.low <= each.held_4x <= each.high for each in leaning)
    lines.append(
        f"{len(leaning)} lean on what is not pruned; the limit's own interval holds {within} of "
        "those."
    )
    called = [each for each in rows if reliable(rows, each)]
    worst = max((abs(each.apart) for each in called), default=0.0)
    lines.append(
        f"{len(called)} are called reliable; the largest distance of those is {worst:.2f}."
    )
    if short:
        sure = sum(reliable(rows, each) for each in short)
        lines.append(
            f"Cut short and not counted: {len(short)}, of which {sure} are called reliable; the "
            f"last doubling added up to {max(e.held_4x - e.held_2x for e in short):.2f} pp."
        )
    whole = [each for each in rows if each.whole]
    if len(whole) < len(rows):
        lines.append(
            f"{len(rows) - len(whole)} would be left with an empty layer, of which nothing is "
            "expected; the others follow."
        )
    if len(whole) > FEWEST:
        lines += _expectations(whole)
    doubling = [each.held_4x - each.held_2x for each in rows]
    lines.append(f"The last doubling of the witness's budget added {np.mean(doubling):.2f} pp.")
    return lines


def _expectations(rows: list[Row]) -> list[str]:
    """How well each network is foretold by the others."""
    found = [expected(rows, each) for each in rows]
    held = np.array([each.held_4x for each in rows])
    middle, low, high = np.array(found, dtype=float).T
    inside, widths = int(((low <= held) & (held <= high)).sum()), float((high - low).mean())
    apart = middle - held
    law = Law.of(rows)
    return [
        f"Expected: mean distance {abs(apart).mean():.2f} pp, with the sign {apart.mean():+.2f}, "
        f"largest {apart[abs(apart).argmax()]:+.2f}.",
        f"Prediction intervals hold {inside} of {len(rows)}, {widths:.2f} pp wide on average.",
        *_foretold(rows),
        f"Coefficients {_listed(law.coefficients)}; deviation {law.deviation:.3f}.",
        f"Inverse {'; '.join(map(_listed, law.inverse))}.",
    ]


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:+.4f}" for value in values)


def _foretold(rows: list[Row]) -> list[str]:
    """How well the rows on the digits alone foretell the others."""
    others = [each for each in rows if each.size != "digits"]
    basis = [each for each in rows if each.size == "digits"]
    if not others or len(basis) <= FEWEST:
        return []
    held = np.array([each.held_4x for each in others])
    lines = []
    for used, by in ((3, ""), (1, ", by the norm alone")):
        law = Law.of(basis, used)
        middle, low, high = np.array([law.expected(each) for each in others]).T
        lines.append(
            f"From the {len(basis)} on digits{by}: the {len(others)} others are foretold to "
            f"{abs(middle - held).mean():.2f} pp on average, largest "
            f"{max(middle - held, key=abs):+.2f}; intervals hold "
            f"{int(((low <= held) & (held <= high)).sum())}, {(high - low).mean():.2f} pp wide."
        )
    return lines


def every_case(options: argparse.Namespace) -> list[Case]:
    """The networks of networks.py, and those of kinds unseen."""
    return [*cases(options, SAMPLES), *public(options, SAMPLES), *unseen()]


def table(options: argparse.Namespace) -> str:
    """All finished rows and their summary; the file of evidence is brought up to date."""
    found = {each.name: each for each in read_evidence()}
    for case in every_case(options):
        made = row(case, options.work, found.get(case.name))
        if made is not None:
            found[case.name] = made
    if not found:
        return "No network is finished."
    write_evidence(list(found.values()))
    rows = read_evidence()
    counted = [each for each in rows if not each.cut_short]
    short = [each for each in rows if each.cut_short]
    lines = [line(each, counted) for each in rows]
    return "\n".join([HEADER, *lines, "", *summary(counted, short)])


def main() -> None:
    """Run what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stages", default="predict,hessian,witness")
    parser.add_argument("--table", action="store_true")
    options = arguments(parser)
    if not options.table:
        for case in every_case(options):
            if re.search(options.only, case.name):
                run(case, options.work, options.stages)
    print(table(options))


if __name__ == "__main__":
    main()
