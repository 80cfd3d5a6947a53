"""Methods side by side in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType

from ...results.types import CompareResult, Cost, Threshold
from ..words import interval, percent
from .facts import dense_row, tolerance_rows
from .parts import BLANK, grid, pairs

__all__ = ["compare_table"]


def compare_table(result: CompareResult) -> RenderableType:
    """Every method's thresholds and what is left to the limit, then what each cost."""
    limit = result.limit
    head = pairs(
        f"Methods on {result.model.spec}, {result.data.spec}",
        [
            ("limit", f"{interval(limit.sparsity, limit.interval)} of prunable weights"),
            ("reliable", "yes" if result.reliability.ok else "NO"),
            dense_row(result.dense, result.data),
            *tolerance_rows(result.epsilon, result.data),
        ],
    )
    columns: dict[tuple[str, float], str] = {}
    for method in result.methods:
        for each in method.thresholds:
            columns.setdefault(_column(each), _short(each))
    thresholds = grid(
        "Largest sparsity by rule, and percentage points left to the limit",
        ("method", *columns.values()),
        (
            (
                method.method,
                *(
                    " / ".join(
                        f"{percent(each.sparsity)} {each.distance_pp:+.1f}"
                        for each in method.thresholds
                        if _column(each) == column
                    )
                    or "-"
                    for column in columns
                ),
            )
            for method in result.methods
        ),
    )
    costs = grid(
        "Cost",
        ("", "products", "on samples", "epochs", "seconds"),
        (
            ("predicting the limit", *_cost(result.limit_cost)),
            *((method.method, *_cost(method.cost)) for method in result.methods),
        ),
    )
    return Group(head, BLANK, thresholds, BLANK, costs)


def _column(threshold: Threshold) -> tuple[str, float]:
    """Where a threshold stands: by loss, with the survivors as they are or trained, in one."""
    by_loss = threshold.rule in ("loss", "feasibility")
    return "loss" if by_loss else threshold.rule, threshold.tolerance


def _short(threshold: Threshold) -> str:
    if threshold.rule == "accuracy":
        return f"within {100 * threshold.tolerance:g} pp"
    return "as dense" if threshold.rule == "dense-accuracy" else "by loss"


def _cost(cost: Cost) -> tuple[str, str, str, str]:
    return (
        f"{cost.products:,}" if cost.products else "-",
        f"{cost.samples:,}" if cost.products else "-",
        f"{cost.epochs:,}" if cost.epochs else "-",
        f"{cost.seconds:.3g}",
    )
