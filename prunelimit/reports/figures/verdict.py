"""Predicted against measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ...errors import UsageError
from ...results.types import CheckResult
from ..drawing import BLUE, ORANGE, canvas, key, plain, require_numbers, titled
from ..figure import ReportFigure
from ..paper import paper

NAME = "verdict"
ORDER = 7
SOURCE = "prunelimit"
HELP = "What was predicted and what was measured, with their intervals."
OF = ("check",)
MANY = True

__all__ = ["FIGURE", "plot_verdict"]


def plot_verdict(results: Sequence[CheckResult], path: Path | None = None) -> Figure:
    """Predicted and measured sparsity of every verdict, in percent, with their intervals.

    Raises:
        OutputError: ``path`` cannot be written.
        UsageError: none of the verdicts compares predicted with measured.
    """
    found = [each.agreement for each in results if each.agreement is not None]
    if not found:
        raise UsageError(
            "A check of floors and baselines alone has no figure; give a check that compares "
            "predicted with measured."
        )
    stroke = paper().stroke
    with canvas(path, height=1.9 + 0.7 * len(found)) as (figure, axes):
        for name, colour, marker, up in (
            ("predicted", ORANGE, "D", 0.12),
            ("measured", BLUE, "o", -0.12),
        ):
            values = [100 * getattr(each, name) for each in found]
            bounds = [getattr(each, f"{name}_interval") for each in found]
            require_numbers(f"a {name} sparsity", [*values, *(x for pair in bounds for x in pair)])
            sides = [
                [max(0.0, v - 100 * low) for v, (low, _) in zip(values, bounds, strict=True)],
                [max(0.0, 100 * high - v) for v, (_, high) in zip(values, bounds, strict=True)],
            ]
            axes.errorbar(
                values, [row - up for row in range(len(found))], xerr=sides, fmt=marker,
                color=colour, markersize=7 * stroke, elinewidth=1.8 * stroke, capsize=3 * stroke,
                label=f"{name}, with its interval",
            )  # fmt: skip
        labels = [f"{plain(e.method)}\n{'passed' if e.passed else 'failed'}" for e in found]
        axes.set_yticks(range(len(found)), labels)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.margins(x=0.1)
        axes.grid(False, axis="y")
        axes.set_xlabel("sparsity, % of prunable weights removed")
        titled(axes, f"Predicted against measured, {plain(results[0].model.spec)}")
        key(figure, axes)
    return figure


def _draw(results: Sequence[CheckResult], path: Path | None) -> Figure:
    return plot_verdict(results, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
