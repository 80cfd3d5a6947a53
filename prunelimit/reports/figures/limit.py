"""Where what is removed meets what can be removed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ... import plugins
from ...results.types import Limit, PredictResult
from ..drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    canvas,
    key,
    plain,
    require_numbers,
    require_some,
    titled,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import interval, percent, unit, verdict

NAME = "limit"
ORDER = 1
SOURCE = "prunelimit"
HELP = "Removable parameters and removed ones against the removed radius."
OF = ("predict",)

__all__ = ["FIGURE", "plot_limit"]

EXPECTED_AT = 0.97
"""Where on the axis, from 0 to 1, what is expected of trained survivors stands."""


def plot_limit(result: PredictResult, path: Path | None = None) -> Figure:
    """Removable parameters and removed ones against the removed radius; they cross at the limit.

    Every other formula and operator crosses m(R) elsewhere: the thin marks. On the right stands
    where trained survivors are expected to stop, if that is known.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    limit, prunable = result.limit, result.model.prunable
    sparsity = np.array([point.sparsity for point in result.curve])
    radius = np.array([point.radius for point in result.curve])
    require_some("curve of width and radius", result.curve)
    require_numbers(
        "a width or a radius", [*radius, *(p.width for p in result.curve), limit.radius]
    )
    removed = sparsity * prunable
    width = np.array([point.width for point in result.curve])
    at = limit.sparsity * prunable
    others = [v for v in result.variants if (v.formula, v.operator) != _headline(limit)]
    places = [(float(np.interp(v.sparsity, sparsity, radius)), v.sparsity) for v in others]
    stroke = paper().stroke
    with canvas(path, height=5.8) as (figure, axes):
        low, high = (bound * prunable for bound in limit.band)
        axes.axhspan(low, high, color=GREY, alpha=0.15, linewidth=0, label="ALMT transition band")
        low, high = (bound * prunable for bound in limit.interval)
        label = f"{100 * limit.confidence:g}% interval of the limit"
        axes.axhspan(low, high, color=ORANGE, alpha=0.35, linewidth=0, label=label)
        label = f"removable at radius R ({plain(plugins.label('formula', limit.formula))})"
        mark = "." if len(radius) == 1 else ""
        axes.plot(radius, width, color=BLUE, linewidth=2 * stroke, marker=mark, label=label)
        axes.plot(
            radius, removed, color=GREEN, linewidth=2 * stroke, linestyle="--", marker=mark,
            label="removed at radius R, m(R)",
        )  # fmt: skip
        axes.plot([limit.radius], [at], "o", color=RED, markersize=9 * stroke, zorder=5,
                  label=_limit_label(result))  # fmt: skip
        for variant, (x, y) in zip(others, places, strict=True):
            solid = variant.operator == limit.operator
            axes.plot(
                [x], [y * prunable], marker(variant.formula), color=BLACK, markersize=6 * stroke,
                markerfacecolor=BLACK if solid else "white", markeredgewidth=0.8, linestyle="none",
                zorder=4,
                label=f"{plain(variant.formula)}, {plain(variant.operator)}: "
                f"{percent(variant.sparsity)}",
            )  # fmt: skip
        # Where little survives the axis begins high, so that the crossing can be read.
        ends = limit.expected or ()
        lowest = prunable * min([limit.sparsity, *ends, *(y for _, y in places)])
        bottom = max(0.0, lowest - max(3 * (prunable - lowest), 0.03 * prunable))
        axes.set_ylim(bottom, prunable + 0.06 * (prunable - bottom))
        right = max([1.4 * limit.radius, *(1.05 * x for x, _ in places)])
        axes.set_xlim(0, right if right > 0 else None)
        if limit.expected is not None and limit.expected_middle is not None:
            y = limit.expected_middle
            axes.errorbar(
                [EXPECTED_AT], [y * prunable], color=PURPLE, capsize=4 * stroke, fmt="D",
                yerr=[[(y - limit.expected[0]) * prunable], [(limit.expected[1] - y) * prunable]],
                transform=axes.get_yaxis_transform(), elinewidth=2 * stroke, zorder=5,
                markersize=6 * stroke,
                label=f"trained survivors should stop, {interval(y, limit.expected)}",
            )  # fmt: skip
        axes.set_xlabel("R, l2 norm of the removed weights")
        axes.set_ylabel("parameters")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
        scale = axes.secondary_yaxis(
            "right", functions=(lambda y: 100 * y / prunable, lambda s: s * prunable / 100)
        )
        scale.set_ylabel("% of prunable weights")
        titled(
            axes,
            f"Pruning limit of {plain(result.model.spec)} on {plain(result.data.spec)}\n"
            f"loss tolerance epsilon {result.epsilon.value:.3g}{unit(result.data)}; "
            f"{verdict(result.reliability)}",
        )
        key(figure, axes)
    return figure


def _limit_label(result: PredictResult) -> str:
    """Where it is the middle of two readings, the curves cross at the higher one."""
    limit = result.limit
    found = f"limit, {percent(limit.sparsity)} of prunable weights"
    if limit.errors.get("network"):
        found += ", the middle of two"
    return found if result.reliability.ok else f"{found} (not reliable)"


def _headline(limit: Limit) -> tuple[str, str]:
    return limit.formula, limit.operator


def marker(formula: str) -> str:
    """The mark of a formula, a diamond where it has none of its own."""
    marks = {each.name: each.marker for each in plugins.describe("formula")}
    return marks.get(formula) or "D"


def _draw(results: Sequence[Any], path: Path | None) -> Figure:
    (result,) = results
    return plot_limit(result, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
