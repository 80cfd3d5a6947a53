"""Results as plots. Colours are those of Okabe and Ito, told apart by everyone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..results.types import CompareResult, Limit, MeasureResult, PredictResult, SpectrumResult
from ..storage.files import writing
from .words import count, interval, matrix, percent

__all__ = ["plot_compare", "plot_limit", "plot_measure", "plot_spectrum"]

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
BLACK, SKY, PURPLE = "#222222", "#56B4E9", "#CC79A7"
FORMULAS = {"paper": "^", "isotropic": "s", "directional": "o"}
WIDTHS = {"paper": "squared Gaussian width"}
TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
METHODS = {
    "magnitude": BLUE,
    "magnitude+trained": GREEN,
    "magnitude+compensated": SKY,
    "magnitude+staged": RED,
}
OTHERS = (PURPLE, BLACK, GREY)
"""Colours of criteria, in the order they come; then again with other lines."""


@contextmanager
def _figure(
    path: Path | None, rows: int = 1, height: float = 4.6, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """A figure and its axes, written to ``path`` at the end if there is one."""
    figure = Figure(figsize=(8.5, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, **options)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    yield figure, axes
    if path is None:
        return
    kind = path.suffix.lstrip(".") or "png"
    # Without the creation date and random names the same result gives the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with writing(path, force=True) as temporary, rc_context({"svg.hashsalt": "prunelimit"}):
        figure.savefig(temporary, format=kind, dpi=140, metadata=metadata)


def plot_spectrum(result: SpectrumResult, path: Path | None = None) -> Figure:
    """Spectral density on a symmetric logarithmic axis, smoothed for the eye alone.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    values = np.concatenate([np.asarray(each) for each in result.ritz_values])
    weights = np.concatenate([np.asarray(each) for each in result.quadrature_weights])
    weights = weights / weights.sum()
    largest = max(float(np.abs(values).max()), 1e-300)
    flat = 1e-6 * largest

    def place(x: np.ndarray) -> np.ndarray:
        """Decades above the flat level, with the sign."""
        return np.asarray(np.sign(x) * np.log10(1 + np.abs(x) / flat))

    grid = np.linspace(place(values.min()) - 0.5, place(values.max()) + 0.5, 1200)
    width = 0.1
    bumps = np.exp(-0.5 * ((grid[:, None] - place(values)[None]) / width) ** 2)
    heights = bumps @ weights / (width * np.sqrt(2 * np.pi))
    found = result.curvature
    with _figure(path) as (figure, axes):
        floor = 0.1 / result.model.free
        axes.fill_between(grid, floor, np.maximum(heights, floor), color=BLUE, alpha=0.25)
        axes.plot(grid, np.maximum(heights, floor), color=BLUE, linewidth=1.3)
        axes.vlines(place(values), floor, np.maximum(weights, floor), color=GREY, linewidth=0.7)
        axes.set_yscale("log")
        axes.set_ylim(floor, None)
        axes.set_ylabel("share of eigenvalues per decade")
        top = int(np.ceil(np.log10(largest)))
        ticks = [0.0] + [s * 10.0**k for k in range(top - 6, top + 1) for s in (-1, 1)]
        ticks = [t for t in ticks if grid[0] <= place(np.array(t)) <= grid[-1]]
        axes.xaxis.set_major_locator(FixedLocator([float(place(np.array(t))) for t in ticks]))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: _power(np.sign(x) * (10 ** abs(x) - 1) * flat))
        )
        axes.set_xlabel("eigenvalue")
        axes.set_title(
            f"Spectrum of the {matrix(found.kind)} of {result.model.spec} on {result.data.spec}\n"
            f"{count(found.probes, 'probe')} of {found.steps} Lanczos steps; "
            f"{percent(found.negative_mass)} of the eigenvalues negative",
            loc="left",
            fontsize=10,
        )
        axes.text(
            0.99, 0.97, "bars: Ritz values and their shares\ncurve: the same, smoothed",
            transform=axes.transAxes, ha="right", va="top", fontsize=8, color=GREY,
        )  # fmt: skip
    return figure


def _power(value: float) -> str:
    if abs(value) < 1e-30:
        return "0"
    exponent = round(np.log10(abs(value)))
    return f"${'-' if value < 0 else ''}10^{{{exponent}}}$"


def plot_limit(result: PredictResult, path: Path | None = None) -> Figure:
    """Removable parameters and removed ones against the removed radius; they cross at the limit.

    Every other formula and operator crosses m(R) elsewhere: the thin marks.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    limit, prunable = result.limit, result.model.prunable
    sparsity = np.array([point.sparsity for point in result.curve])
    radius = np.array([point.radius for point in result.curve])
    removed = sparsity * prunable
    width = np.array([point.width for point in result.curve])
    at = limit.sparsity * prunable
    others = [v for v in result.variants if (v.formula, v.operator) != _headline(limit)]
    places = [(float(np.interp(v.sparsity, sparsity, radius)), v.sparsity) for v in others]
    with _figure(path, height=5.6) as (figure, axes):
        low, high = (bound * prunable for bound in limit.band)
        axes.axhspan(low, high, color=GREY, alpha=0.15, linewidth=0, label="ALMT transition band")
        low, high = (bound * prunable for bound in limit.interval)
        label = f"{100 * limit.confidence:g}% interval"
        axes.axhspan(low, high, color=ORANGE, alpha=0.35, linewidth=0, label=label)
        label = f"removable at radius R ({WIDTHS.get(limit.formula, limit.formula)})"
        axes.plot(radius, width, color=BLUE, linewidth=2, label=label)
        axes.plot(radius, removed, color=GREEN, linewidth=2, label="removed at radius R, m(R)")
        axes.plot([limit.radius], [at], "o", color=RED, markersize=9, zorder=5,
                  label=f"limit, {percent(limit.sparsity)} of prunable weights")  # fmt: skip
        for variant, (x, y) in zip(others, places, strict=True):
            solid = variant.operator == limit.operator
            axes.plot(
                [x], [y * prunable], FORMULAS.get(variant.formula, "D"), color=BLACK, markersize=6,
                markerfacecolor=BLACK if solid else "white", markeredgewidth=0.8, linestyle="none",
                zorder=4,
                label=f"{variant.formula}, {variant.operator}: {percent(variant.sparsity)}",
            )  # fmt: skip
        # Where little survives the axis begins high, so that the crossing can be read.
        lowest = prunable * min([limit.sparsity, *(y for _, y in places)])
        bottom = max(0.0, lowest - max(3 * (prunable - lowest), 0.03 * prunable))
        axes.set_ylim(bottom, prunable + 0.06 * (prunable - bottom))
        right = max([1.4 * limit.radius, *(1.05 * x for x, _ in places)])
        axes.set_xlim(0, right if right > 0 else None)
        axes.set_xlabel("R, l2 norm of the removed weights")
        axes.set_ylabel("parameters")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
        scale = axes.secondary_yaxis(
            "right", functions=(lambda y: 100 * y / prunable, lambda s: s * prunable / 100)
        )
        scale.set_ylabel("% of prunable weights")
        axes.set_title(
            f"Pruning limit of {result.model.spec} on {result.data.spec}\n"
            f"loss tolerance epsilon {result.epsilon.value:.3g} nats",
            loc="left",
            fontsize=10,
        )
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8,
            frameon=False,
        )  # fmt: skip
    return figure


def _headline(limit: Limit) -> tuple[str, str]:
    return limit.formula, limit.operator


def plot_measure(
    results: Sequence[MeasureResult], predicted: PredictResult | None, path: Path | None = None
) -> Figure:
    """Accuracy and loss against sparsity, with what was predicted and what was measured.

    Both axes of the upper half are logarithmic in what is lost: surviving weights and errors.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    dense = results[0].dense
    target = dense.loss + results[0].epsilon.value
    curves = [p for r in results for p in r.curve if p.sparsity < 1]
    floor = max(min((1 - p.sparsity for p in curves), default=0.01) / 1.3, 1e-4)
    fewest = min([1 - p.accuracy for p in curves if p.accuracy < 1] or [0.01])
    with _figure(path, 2, 6.4, sharex=True) as (figure, (upper, lower)):
        for result in results:
            colour = METHODS.get(result.method, GREY)
            points = [p for p in result.curve if 1 - p.sparsity >= floor]
            kept = [1 - p.sparsity for p in points]
            errors = [max(1 - p.accuracy, fewest / 2) for p in points]
            style: dict[str, Any] = {"color": colour, "marker": ".", "linewidth": 1.3}
            upper.plot(kept, errors, label=f"measured, {result.method}", **style)
            lower.plot(kept, [p.loss for p in points], **style)
        _thresholds(results, upper, lower, floor)
        upper.axhline(max(1 - dense.accuracy, fewest / 2), color=GREY, linewidth=0.8)
        lower.axhline(target, color=GREY, linewidth=0.8)
        lower.annotate(
            "dense loss + epsilon", (1, target), xytext=(2, 3), textcoords="offset points",
            fontsize=8, color=GREY,
        )  # fmt: skip
        if predicted is not None:
            limit = predicted.limit
            low, high = (max(1 - bound, floor) for bound in limit.interval)
            for axes in (upper, lower):
                axes.axvspan(high, low, color=ORANGE, alpha=0.3, linewidth=0)
                axes.axvline(max(1 - limit.sparsity, floor), color=ORANGE, linewidth=2)
            upper.plot(
                [], [], color=ORANGE, linewidth=2,
                label=f"predicted limit {interval(limit.sparsity, limit.interval)}",
            )  # fmt: skip
        upper.set_ylabel("test accuracy, %")
        _accuracy_axis(upper, fewest / 2)
        lower.set_ylabel("mean training loss, nats")
        lower.set_yscale("log")
        _sparsity_axis(lower, floor)
        upper.set_title(
            f"Sparsity of {results[0].model.spec} on {results[0].data.spec}", loc="left",
            fontsize=10,
        )  # fmt: skip
        figure.legend(
            *upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8,
            frameon=False,
        )  # fmt: skip
    return figure


def plot_compare(result: CompareResult, path: Path | None = None) -> Figure:
    """Accuracy against sparsity, a line per method, with the predicted limit and its interval.

    Both axes are logarithmic in what is lost, as in :func:`plot_measure`.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    points = [p for m in result.methods for p in m.curve if p.sparsity < 1]
    floor = max(min((1 - p.sparsity for p in points), default=0.01) / 1.3, 1e-4)
    accuracies = [result.dense.accuracy, *(p.accuracy for p in points)]
    fewest = min([1 - each for each in accuracies if each < 1] or [0.01])
    limit = result.limit
    criteria = [m.method for m in result.methods if m.method not in METHODS]
    with _figure(path) as (figure, axes):
        low, high = (max(1 - bound, floor) for bound in limit.interval)
        axes.axvspan(high, low, color=ORANGE, alpha=0.3, linewidth=0)
        axes.axvline(
            max(1 - limit.sparsity, floor), color=ORANGE, linewidth=2,
            label=f"predicted limit {interval(limit.sparsity, limit.interval)}",
        )  # fmt: skip
        axes.axhline(max(1 - result.dense.accuracy, fewest / 2), color=GREY, linewidth=0.8)
        for method in result.methods:
            name, turn = method.method, 0
            colour = METHODS.get(name)
            if colour is None:
                turn, place = divmod(criteria.index(name), len(OTHERS))
                colour = OTHERS[place]
            shown = [p for p in method.curve if 1 - p.sparsity >= floor]
            axes.plot(
                [1 - p.sparsity for p in shown],
                [max(1 - p.accuracy, fewest / 2) for p in shown],
                color=colour, marker=".", linewidth=1.3, label=name,
                linestyle=("-", "--", "-.", ":")[min(turn, 3)],
            )  # fmt: skip
        axes.set_ylabel("test accuracy, %")
        _accuracy_axis(axes, fewest / 2)
        _sparsity_axis(axes, floor)
        axes.set_title(
            f"Methods on {result.model.spec}, {result.data.spec}", loc="left", fontsize=10
        )
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8,
            frameon=False,
        )  # fmt: skip
    return figure


def _accuracy_axis(axes: Axes, fewest: float) -> None:
    """Share of errors on a logarithmic axis that grows downwards, labelled with the accuracy."""
    axes.set_yscale("log")
    axes.set_ylim(1.0, fewest / 1.2)
    ticks = [t for t in TICKS if 1 - t >= fewest]
    axes.yaxis.set_major_locator(FixedLocator([1 - t for t in ticks]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * (1 - y):.3g}"))


def _thresholds(results: Sequence[MeasureResult], upper: Axes, lower: Axes, floor: float) -> None:
    """Mark the first accuracy threshold and the loss threshold of every method."""
    for result in results:
        colour = METHODS.get(result.method, GREY)
        accuracy = next((t for t in result.thresholds if t.rule == "accuracy"), None)
        if accuracy is not None and not result.method.endswith("+trained"):
            upper.axvline(
                max(1 - accuracy.sparsity, floor), color=colour, linestyle="--", linewidth=1.2,
                label=f"accuracy within {100 * accuracy.tolerance:g} pp to "
                f"{percent(accuracy.sparsity)}",
            )  # fmt: skip
        loss = next((t for t in result.thresholds if t.rule in ("loss", "feasibility")), None)
        if loss is not None:
            words = "loss" if loss.rule == "loss" else "feasible"
            kept = max(1 - loss.sparsity, floor)
            lower.axvline(kept, color=colour, linestyle=":", linewidth=1.6)
            upper.plot(
                [], [], color=colour, linestyle=":", linewidth=1.6,
                label=f"{words} ({result.method}) to {percent(loss.sparsity)}",
            )  # fmt: skip


def _sparsity_axis(axes: Axes, floor: float) -> None:
    """Surviving fraction on a logarithmic axis, labelled with the sparsity."""
    axes.set_xscale("log")
    axes.set_xlim(1.0, floor)
    ticks = [s for s in TICKS if 1 - s >= floor]
    axes.xaxis.set_major_locator(FixedLocator([1 - s for s in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - x):.3g}%"))
    axes.set_xlabel("sparsity, % of prunable weights removed (log of what survives)")
