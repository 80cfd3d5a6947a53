"""The two numbers in a terminal, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from ...compensation.stages import DETERMINED, FEW_INPUTS, MOST_STEPS
from ...config import MeasureConfig
from ...estimation.plan import Plan
from ...limit.reliability import judge_one_shot
from ...results.types import CurvatureSummary, Limit, PredictResult
from ..command import predicted_line, problem_line
from ..words import SOURCES, basis, count, interval, matrix, metric, modelled, percent, span
from .facts import checked_rows, dense_row, layers, reliability_part, rounded_rows, tolerance_rows
from .parts import BLANK, grid, pairs

__all__ = ["plan_table", "predict_table"]


def predict_table(
    result: PredictResult,
    checkpoint: str | None,
    *,
    verbose: bool = True,
    more: str = "with -v",
    spell: Callable[[str], str] = str,
) -> Group:
    """The two numbers and what to do next with ``checkpoint``, if there is one.

    With ``verbose`` the limit by other formulas and operators, the evidence and the layers too;
    without, ``more`` says where further reasons stand. ``spell`` spells fields in sentences that
    are not the result's own.
    """
    limit = result.limit
    head = pairs(
        f"Sparsity of {result.model.spec} on {result.data.spec}, of prunable weights",
        [
            *_headlines(result, more, spell),
            *tolerance_rows(result.epsilon, result.data),
            dense_row(result.dense, result.data),
            ("cost", _products(result.curvature)),
            *rounded_rows(result.curvature),
            *checked_rows(result.curvature.cross_check),
        ],
    )
    following = [] if checkpoint is None else [BLANK, _next(result, checkpoint)]
    if not verbose:
        return Group(head, *following)
    details = [
        ("formula", _formula(limit)),
        (f"{100 * limit.confidence:g}% interval", _sources(limit)),
        ("ALMT band", " to ".join(percent(bound) for bound in limit.band)),
        *_ended(result),
    ]
    if result.one_shot is not None:
        details.insert(0, ("plain", basis(result.one_shot)))
        if modelled(result.one_shot):
            details.insert(1, ("", modelled(result.one_shot)))
    variants = grid(
        "By formula and operator, of prunable weights",
        ("formula", "operator", "limit"),
        (
            (each.formula, each.operator, interval(each.sparsity, each.interval))
            for each in result.variants
        ),
    )
    return Group(
        head,
        BLANK,
        pairs("Details", details),
        BLANK,
        variants,
        BLANK,
        reliability_part(result.reliability),
        BLANK,
        layers(result.layers),
        *following,
    )


def _headlines(
    result: PredictResult, where: str, spell: Callable[[str], str]
) -> list[tuple[str, str]]:
    """The two numbers, with what speaks against each."""
    limit, reasons = result.limit, result.reliability.reasons
    rows = []
    if result.one_shot is not None:
        plain = result.one_shot
        stops = interval(plain.sparsity, plain.interval)
        rows.append(("plain", f"{stops}: up to here the loss stays with nothing moved"))
        judged = judge_one_shot(plain, result.reliability.path)
        if not judged.ok:
            rows.append(("", f"NOT RELIABLE: {spell(judged.reasons[0])}"))
    stops = interval(limit.sparsity, limit.interval)
    rows.append(("limit", f"{stops}: up to here some setting of the surviving weights keeps it"))
    if not result.reliability.ok:
        more = f" ({len(reasons) - 1} more {where})" if len(reasons) > 1 else ""
        rows.append(("", f"NOT RELIABLE: {reasons[0]}{more}"))
    rows += _expected(limit)
    kept = f"the limit keeps {limit.kept:,} of {result.model.prunable:,} prunable weights"
    rows.append(("", f"{kept}; it is {percent(limit.sparsity_of_all)} of all parameters"))
    return rows


def _expected(limit: Limit) -> list[tuple[str, str]]:
    """Where trained survivors are expected to stop."""
    if limit.expected is None or limit.expected_middle is None:
        return []
    stops = interval(limit.expected_middle, limit.expected)
    return [
        ("expected", f"{stops}: trained survivors should stop about here, going by other networks")
    ]


def _products(found: CurvatureSummary) -> str:
    products = count(found.products, "product")
    text = f"{products} of the {matrix(found.kind)} on {found.samples:,} samples"
    if found.carried is None or found.carried >= 1:
        return text
    return f"{text} that carry {_share(found.carried)} of the output curvature"


def _share(fraction: float) -> str:
    """Less than all, and shown so."""
    places = 1
    while places < 6 and round(100 * fraction, places) >= 100:
        places += 1
    return percent(fraction, places)


def _formula(limit: Limit) -> str:
    """Of two readings it is the middle where the network leans on what is not pruned."""
    text = f"{limit.formula}, {limit.operator}"
    if not limit.errors.get("network"):
        return text
    return f"{text}: the middle of all parameters free and of the prunable weights alone"


def _sources(limit: Limit) -> str:
    parts = (
        f"{SOURCES.get(source, source)} {100 * error:.2f}" for source, error in limit.errors.items()
    )
    return f"{', '.join(parts)} pp to either side"


ENDED = {
    "tolerance": "half the interval is within {tolerance}",
    "samples": "what the samples leave open outweighs the rest; more of them narrow it",
    "network": "what the linear model makes of parameters that are not pruned outweighs the rest",
    "max-products": "the products allowed were spent before {tolerance} was reached",
    "max-seconds": "the time allowed had passed before {tolerance} was reached",
    "memory": "no memory for more Lanczos vectors before {tolerance} was reached",
    "interrupted": "interrupted before {tolerance} was reached",
}
"""Why the tool stopped refining, where it chose how far to go."""


def _ended(result: PredictResult) -> list[tuple[str, str]]:
    text = ENDED.get(result.curvature.ended)
    tolerance = result.provenance.config.get("limit", {}).get("tolerance", math.nan)
    return [] if text is None else [("ended", text.format(tolerance=f"{100 * tolerance:g}pp"))]


STAGE_INPUTS = 9_000
"""Inputs of a stage, where there are so many."""

STAGE_PRODUCTS = 4
"""Products that fitting layers and drawing outputs back take as long as."""


TRAININGS = 20
"""Measuring trained survivors takes about so many times the passes at one sparsity (median of the
networks in benchmarks/prediction.py; most lie between 11 and 27)."""


def _next(result: PredictResult, checkpoint: str) -> RenderableType:
    """The commands for this very file."""
    found, limit = result.curvature, result.limit.sparsity
    whole = max(result.data.samples, result.data.training_samples)
    inputs = min(STAGE_INPUTS, whole)
    stages = math.ceil(2 * max(1.0, -math.log2(max(1e-4, 1 - limit))))
    few = inputs * max(1, result.data.classes) / DETERMINED
    left = (
        result.model.prunable * (1 - limit) ** (place / stages) for place in range(1, stages + 1)
    )
    solved = sum(survivors <= few for survivors in left) if inputs <= FEW_INPUTS else 0
    products = stages * STAGE_PRODUCTS + solved * MOST_STEPS
    staged = products * inputs / max(1, found.samples) * found.product_seconds
    prune = problem_line(result.provenance, "prune", checkpoint)
    again = predicted_line(result.provenance, "prune", checkpoint)
    measure = problem_line(result.provenance, "measure", checkpoint)
    rows = []
    if result.one_shot is not None:
        plain = percent(result.one_shot.sparsity)
        rows.append((f"{again} -o pruned.pt", f"plain, {plain}"))
    about = f"about {span(staged)}"
    if result.data.points:
        rows.append(
            (
                f"{prune} --within 0.5pp --survivors staged -o pruned.pt",
                f"sparsest within half a point of {metric(result.data)}, {about} or more",
            )
        )
    if result.reliability.ok:
        what = f"to the limit, {percent(limit)}, {about}; accuracy can fall"
        rows.append((f"{again} --survivors staged -o pruned.pt", what))
    elif result.limit.expected is not None:
        least = math.floor(1000 * result.limit.expected[0]) / 1000
        rows.append(
            (
                f"{prune} --amount {least:g} --survivors staged -o pruned.pt",
                f"to the low end of where trained survivors should stop, {percent(least)}, {about}",
            )
        )
    tests = "tests the limit" if result.reliability.ok else "finds where trained survivors stop"
    passes = TRAININGS * MeasureConfig().refit_passes
    each = found.gradient_seconds * whole / max(1, found.samples)
    tests += f", about {passes:,} passes over the training data, {span(passes * each)} or more"
    rows.append((f"{measure} --survivors trained", tests))
    lines: list[RenderableType] = [Text("Next", style="bold")]
    for command, what in rows:
        lines += [Text(f"  {what}:"), Text(f"    {command}", overflow="ignore", no_wrap=True)]
    return Group(*lines)


def plan_table(found: Plan, network: str) -> RenderableType:
    """What a prediction would take."""
    return pairs(
        f"What predicting the limit of {network} takes, about",
        [
            ("products", f"{found.products:,} on {found.samples:,} samples"),
            ("time", f"{span(found.seconds)}" + (", by your budget" if found.bounded else "")),
            ("of that", f"{span(found.evaluation_seconds)} to evaluate data and pruning path"),
            ("memory", f"{found.memory_bytes / 2**20:,.0f} MiB beside network and data"),
            ("of that", f"{found.vectors_bytes / 2**20:,.0f} MiB of Lanczos vectors"),
        ],
    )
