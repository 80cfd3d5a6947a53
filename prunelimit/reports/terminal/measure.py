"""A measured curve and its thresholds in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType

from ...results.types import MeasureResult, Witness
from ..words import count, digits, interval, metric, percent, rule, score
from .facts import dense_row, shared_rows, tolerance_rows
from .parts import BLANK, grid, pairs

__all__ = ["measure_table"]


def measure_table(result: MeasureResult) -> RenderableType:
    """The thresholds, then the curve."""
    facts = [dense_row(result.dense, result.data), *tolerance_rows(result.epsilon, result.data)]
    facts += shared_rows(result.allocation, result.calibration)
    if result.witness is not None:
        facts += _witness(result.witness)
    if result.cost is not None and result.cost.products:
        products = count(result.cost.products, "product")
        facts.append(("cost", f"{products} on {result.cost.samples:,} samples"))
    head = pairs(
        f"Measured sparsity of {result.model.spec} on {result.data.spec}, {result.method}", facts
    )
    thresholds = grid(
        "Thresholds, of prunable weights",
        ("largest sparsity with", "sparsity"),
        (
            (rule(each, result.data), interval(each.sparsity, each.interval))
            for each in result.thresholds
        ),
    )
    curve = grid(
        "Curve",
        ("sparsity", f"test {metric(result.data)}", "training loss", "weights not zero"),
        (
            (
                percent(point.sparsity, 2),
                score(point.accuracy, result.data),
                f"{point.loss:.4g}",
                f"{point.nonzero:,}",
            )
            for point in result.curve
        ),
    )
    return Group(head, BLANK, thresholds, BLANK, curve)


def _witness(found: Witness) -> list[tuple[str, str]]:
    """How the threshold grows with the budget."""
    places = digits(each.sparsity for each in found.budgets)
    by_budget = ", ".join(
        f"{percent(each.sparsity, places)} in {each.passes:g}" for each in found.budgets
    )
    solver = "L-BFGS over all training samples"
    if found.minibatch_passes:
        solver = f"{found.minibatch_passes} passes of Adam by minibatches, then {solver}"
    return [
        ("survivors trained", solver),
        ("feasible by passes", by_budget),
        ("", f"converged within {abs(found.converged_pp):.2f} pp by the last doubling"),
    ]
