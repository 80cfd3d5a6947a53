"""The spectral density."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from ...results.types import SpectrumResult
from ..drawing import (
    BLUE,
    GREY,
    NothingToDrawError,
    canvas,
    plain,
    require_numbers,
    require_some,
    thinned,
    titled,
)
from ..figure import ReportFigure
from ..paper import paper
from ..words import count, matrix, percent

NAME = "spectrum"
ORDER = 4
SOURCE = "prunelimit"
HELP = "The spectral density, its Ritz values as bars."
OF = ("spectrum",)

__all__ = ["FIGURE", "plot_spectrum"]


def plot_spectrum(result: SpectrumResult, path: Path | None = None) -> Figure:
    """Spectral density on a symmetric logarithmic axis, smoothed for the eye alone.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    require_some("eigenvalue", (each for probe in result.ritz_values for each in probe))
    values = np.concatenate([np.asarray(each) for each in result.ritz_values])
    weights = np.concatenate([np.asarray(each) for each in result.quadrature_weights])
    require_numbers("an eigenvalue or its weight", [*values, *weights])
    if not weights.sum() > 0:
        raise NothingToDrawError("the weights add up to nothing")
    weights = weights / weights.sum()
    largest = float(np.abs(values).max()) or 1.0
    flat = 1e-6 * largest

    def place(x: np.ndarray) -> np.ndarray:
        """Decades above the flat level, with the sign."""
        return np.asarray(np.sign(x) * np.log10(1 + np.abs(x) / flat))

    grid = np.linspace(place(values.min()) - 0.5, place(values.max()) + 0.5, 600)
    width = 0.1
    bumps = np.exp(-0.5 * ((grid[:, None] - place(values)[None]) / width) ** 2)
    heights = bumps @ weights / (width * np.sqrt(2 * np.pi))
    found = result.curvature
    with canvas(path) as (figure, axes):
        floor = 0.1 / result.model.free
        axes.fill_between(grid, floor, np.maximum(heights, floor), color=BLUE, alpha=0.25)
        axes.plot(grid, np.maximum(heights, floor), color=BLUE, linewidth=1.3)
        feet, heads = np.full(len(values), floor), np.maximum(weights, floor)
        gaps = np.full(len(values), np.nan)
        axes.plot(
            np.repeat(place(values), 3), np.stack([feet, heads, gaps], 1).ravel(), color=GREY,
            linewidth=0.7,
        )  # fmt: skip
        axes.set_yscale("log")
        axes.set_ylim(floor, 20 * max(float(heights.max()), 10 * floor))  # the note has the top
        axes.set_ylabel("share of eigenvalues per decade (log)")
        top = int(np.ceil(np.log10(largest)))
        ticks = [0.0] + [s * 10.0**k for k in range(top - 6, top + 1) for s in (-1, 1)]
        ticks = [t for t in ticks if grid[0] <= place(np.array(t)) <= grid[-1]]
        room = 4.5 * paper().small / (72 * 0.8 * paper().width) * (grid[-1] - grid[0])
        marks = [abs(each) for each in (float(place(np.array(t))) for t in ticks)]
        marks = thinned(sorted(set(marks)), room)  # from zero outwards, alike on both sides
        marks = [s * each for each in marks for s in (-1, 1) if grid[0] <= s * each <= grid[-1]]
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(marks))))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: _power(np.sign(x) * (10 ** abs(x) - 1) * flat))
        )
        axes.set_xlabel("eigenvalue (log to either side of zero)")
        titled(
            axes,
            f"Spectrum of the {matrix(found.kind)} of {plain(result.model.spec)} on "
            f"{plain(result.data.spec)}\n"
            f"{count(found.probes, 'probe')} of {found.steps} Lanczos steps; "
            f"{percent(found.negative_mass)} of the eigenvalues negative",
        )
        axes.text(
            0.99, 0.97, "bars: Ritz values and their shares\ncurve: the same, smoothed",
            transform=axes.transAxes, ha="right", va="top", fontsize=paper().small, color=GREY,
        )  # fmt: skip
    return figure


def _power(value: float) -> str:
    if abs(value) < 1e-30:
        return "0"
    exponent = round(np.log10(abs(value)))
    return f"${'-' if value < 0 else ''}10^{{{exponent}}}$"


def _draw(results: Sequence[Any], path: Path | None) -> Figure:
    (result,) = results
    return plot_spectrum(result, path)


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=_draw)
