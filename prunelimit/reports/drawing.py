"""What figures have in common: canvas, colours, marks, axes, titles and keys.

The colours are those of Okabe and Ito, darkened until each has a contrast of at least 3 on white.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..errors import UsageError, shown
from ..gate.numbers import accuracy_interval
from ..results.sensitivity import LayerPoint
from ..results.types import DataInfo, MeasurePoint
from ..storage.files import writing
from .paper import paper
from .words import in_percent, metric

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "GRID",
    "ORANGE",
    "PURPLE",
    "RED",
    "WHITE",
    "Look",
    "NothingToDrawError",
    "canvas",
    "counted_out",
    "error_bars",
    "key",
    "least_kept",
    "level",
    "looks",
    "loss_axis",
    "numbers",
    "plain",
    "require_numbers",
    "require_some",
    "score_axis",
    "score_place",
    "short_names",
    "sparsity_axis",
    "thinned",
    "titled",
    "wrapped",
]

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072b2", "#b37700", "#008660", "#c8452c", "#a2508a"
BLACK, GREY, BROWN = "#222222", "#6f6f6f", "#7a5230"
WHITE, GRID = "#ffffff", "#dddddd"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, BLACK, GREY, BROWN)
"""Those that something is told by."""

KEY_LINES = 8
"""Lines of a key that a figure has room for."""

TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


@dataclass(frozen=True)
class Look:
    """How a method is told from others: by colour, mark and line."""

    colour: str
    marker: str
    line: str = "-"


METHODS = {
    "magnitude": Look(BLUE, "o"),
    "magnitude+trained": Look(GREEN, "s"),
    "magnitude+compensated": Look(PURPLE, "^"),
    "magnitude+staged": Look(RED, "D"),
}
"""The looks of the methods that stand beside the limit most often."""

OTHER_COLOURS = (BLACK, GREY, BROWN)
OTHER_MARKERS = ("v", "P", "X", "<", ">", "*", "p", "h")
LINES = ("-", "--", "-.", ":")


def looks(methods: Iterable[str], colours: Sequence[str] = OTHER_COLOURS) -> dict[str, Look]:
    """One look for each of the methods; no two are alike while there are fewer than 24.

    Those of :data:`METHODS` have their own; the others take turns with ``colours``.
    """
    found: dict[str, Look] = {}
    turn = 0
    for name in dict.fromkeys(methods):
        if name in METHODS:
            found[name] = METHODS[name]
            continue
        line = LINES[(turn // len(colours)) % len(LINES)]
        marker = OTHER_MARKERS[turn % len(OTHER_MARKERS)]
        found[name] = Look(colours[turn % len(colours)], marker, line)
        turn += 1
    return found


@contextmanager
def canvas(
    path: Path | None, rows: int = 1, height: float = 4.6, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """A figure and its axes, written to ``path`` at the end if there is one.

    ``height`` is in inches, on the widest paper.

    Raises:
        OutputError: ``path`` cannot be written.
        UsageError: the paper is too narrow for the axes.
    """
    sheet = paper()
    with rc_context(sheet.settings()):
        figure = Figure(figsize=(sheet.width, sheet.height(height)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, 1, **options)
        for axis in np.atleast_1d(axes):
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(True, color=GRID, linewidth=0.6)
            axis.set_axisbelow(True)
        yield figure, axes
        if path is None:
            return
        kind = path.suffix.lstrip(".").lower() or "png"
        # Without the creation date the same result gives the same file.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with writing(path, force=True) as temporary, _room(sheet.width):
            figure.savefig(temporary, format=kind, dpi=sheet.dpi, metadata=metadata)


@contextmanager
def _room(width: float) -> Iterator[None]:
    """For the time of the block, axes that nothing is left of are an error.

    Raises:
        UsageError: names and key take all of the paper.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        try:
            yield
        except UserWarning as warning:
            raise UsageError(
                f"The axes have no room on a figure {width:.3g} inches wide; give a larger `width`."
            ) from warning


def plain(text: object) -> str:
    """A name from a file as matplotlib shows it: no formula, one line, seen in a key."""
    name = shown(text).encode("utf-8", "backslashreplace").decode().replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def wrapped(text: str, share: float = 0.85, size: float | None = None) -> str:
    """A text in lines that a share of the paper's width holds."""
    letters = paper().letters(share, size)
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))


def titled(axes: Axes, text: str) -> None:
    """The title, where one is wanted."""
    if paper().title:
        axes.set_title(wrapped(text), loc="left")


def key(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """What lines and marks mean, below the figure, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    sheet = paper()
    labels = [wrapped(label, 0.85, sheet.small) for label in labels]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    room = sheet.letters(size=sheet.small) // (longest + 6)
    columns = max(1, min(columns, room))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=3,
    )  # fmt: skip
    # A long key makes the figure taller, so that the axes keep their room.
    lines = math.ceil(sum(label.count("\n") + 1 for label in labels) / columns)
    if lines > KEY_LINES:
        inches = (lines - KEY_LINES) * 1.6 * sheet.small / 72
        figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + inches)


def thinned(places: Sequence[float], room: float) -> list[float]:
    """Those of the places, which are in order, that keep a distance of ``room`` to the last."""
    found: list[float] = []
    for place in places:
        if not found or abs(place - found[-1]) >= room:
            found.append(place)
    return found


def numbers(point: MeasurePoint | LayerPoint) -> bool:
    """Whether a measured point has a place: accuracy and loss are numbers."""
    return math.isfinite(point.accuracy) and math.isfinite(point.loss)


def counted_out(axes: Axes, missing: int) -> None:
    """Say in the key how many points have no number, and so no place."""
    if missing:
        what = "1 point has" if missing == 1 else f"{missing} points have"
        axes.plot([], [], " ", label=f"{what} no number and cannot be shown")


def level(axes: Axes, value: float, name: str) -> None:
    """A level of the vertical axis, named where the horizontal one, of what survives, begins."""
    axes.axhline(value, color=GREY, linewidth=0.8)
    axes.annotate(
        name, (1, value), xytext=(2, 3), textcoords="offset points", fontsize=paper().small,
        color=GREY, zorder=6,
        bbox={"facecolor": WHITE, "edgecolor": "none", "alpha": 0.6, "pad": 0.5},
    )  # fmt: skip


class NothingToDrawError(ValueError):
    """Results lack what a figure is about; the message is the clause that says so."""


def require_numbers(what: str, values: Iterable[float]) -> None:
    """Refuse to leave out what is no number.

    Raises:
        NothingToDrawError: a value is not finite.
    """
    if not all(map(math.isfinite, values)):
        raise NothingToDrawError(f"{what} is no number")


def require_some(what: str, values: Iterable[object]) -> None:
    """Refuse to draw axes around nothing.

    Raises:
        NothingToDrawError: there is none of ``values``.
    """
    if not any(True for _ in values):
        raise NothingToDrawError(f"there is no {what}")


def _decades(kept: float) -> float:
    return -math.log10(kept)


def _ticks(floor: float, inches: float, points: float) -> list[float]:
    """Sparsities to label on a logarithmic axis of what is left that ends at ``floor``."""
    room = max(_decades(floor), 1e-9) * points / (72 * inches)
    places = thinned([_decades(1 - t) for t in TICKS if 1 - t >= floor], room)
    return [t for t in TICKS if 1 - t >= floor and _decades(1 - t) in places]


def _errors_axis(axes: Axes, fewest: float, inches: float = 2.0) -> None:
    """Share of errors on a logarithmic axis that grows downwards, labelled with the accuracy."""
    axes.set_yscale("log")
    axes.set_ylim(1.0, fewest / 1.2)
    ticks = _ticks(fewest, inches, 1.6 * paper().small)
    axes.yaxis.set_major_locator(FixedLocator([1 - t for t in ticks]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * (1 - y):.3g}"))


def least_kept(sparsities: Iterable[float], marked: Iterable[float] = ()) -> float:
    """Where the axis of surviving weights ends: beyond all sparsities measured or marked."""
    kept = [1 - each for each in (*sparsities, *marked) if 0 <= each < 1]
    return max(min(kept, default=0.01) / 1.3, 1e-4)


def loss_axis(axes: Axes, label: str, losses: Iterable[float], inches: float) -> None:
    """The axis of a loss: logarithmic where all are above zero, over a factor of four or more."""
    seen = [each for each in losses if math.isfinite(each)]
    if not seen or min(seen) <= 0:
        axes.set_ylabel(wrapped(label, inches / paper().width))
        return
    axes.set_yscale("log")
    axes.set_ylabel(wrapped(f"{label} (log)", inches / paper().width))
    low, high = min(seen), max(seen)
    if high < 4 * low:
        middle = math.sqrt(low * high)
        axes.set_ylim(middle / 3, 3 * middle)


def short_names(names: Sequence[str], letters: int) -> list[str]:
    """Names that so many letters hold. Of longer ones, the end that all share goes first, then of
    the beginning that all share as much as has no room, and then what is in the middle."""
    parts = [each.split(".") for each in names]
    shortest = min(map(len, parts), default=1)
    head = tail = 0
    while tail < shortest - 1 and len({each[-1 - tail] for each in parts}) == 1:
        tail += 1
    while head < shortest - 1 - tail and len({each[head] for each in parts}) == 1:
        head += 1
    tail = tail if len(names) > 1 else 0

    def cut(each: list[str], begin: int) -> str:
        text = ".".join(each[begin : len(each) - tail])
        return f"{'...' if begin else ''}{text}{'...' if tail else ''}"

    long = [each for each in parts if len(".".join(each)) > letters]
    fits = [n for n in range(head + 1) if all(len(cut(each, n)) <= letters for each in long)]
    begin = fits[0] if fits else head
    found = []
    for each in parts:
        text = ".".join(each) if each not in long else cut(each, begin)
        if len(text) > letters:
            half = (letters - 3) // 2
            text = f"{text[: letters - 3 - half]}...{text[-half:]}"
        found.append(plain(text))
    return found


def score_place(data: DataInfo, scores: Sequence[float]) -> Callable[[float], float]:
    """Where a value of the metric stands on its axis: of one in percent its errors, none below half
    of the fewest; of another as it is."""
    if not in_percent(data):
        return float
    least = _fewest(scores) / 2
    return lambda value: max(1 - value, least)


def score_axis(axes: Axes, data: DataInfo, scores: Sequence[float], inches: float = 2.0) -> None:
    """The axis of the metric: of one in percent logarithmic in the errors, of another as it is."""
    if not in_percent(data):
        axes.set_ylabel(f"test {metric(data)}")
        return
    _errors_axis(axes, _fewest(scores) / 2, inches)
    name = f"test {metric(data)}, %"
    axes.set_ylabel(f"{name}\n(log of errors)" if inches < 2.4 else f"{name} (log of errors)")


def _fewest(scores: Sequence[float]) -> float:
    return min([1 - each for each in scores if each < 1] or [0.01])


def sparsity_axis(axes: Axes, floor: float) -> None:
    """Surviving fraction on a logarithmic axis, labelled with the sparsity."""
    axes.set_xlim(floor**-0.015, floor)  # marks of the dense network are seen whole
    axes.set_xscale("log")
    ticks = _ticks(floor, 0.8 * paper().width, 4.2 * paper().small)
    axes.xaxis.set_major_locator(FixedLocator([1 - s for s in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - x):.3g}%"))
    axes.set_xlabel(wrapped("sparsity, % of prunable weights removed (log of what survives)"))


def error_bars(
    accuracies: Sequence[float], samples: int, confidence: float, fewest: float
) -> tuple[list[float], list[float]]:
    """Below and above each share of errors, by Wilson's interval of so many test samples; no share
    is shown below ``fewest``."""
    below, above = [], []
    for accuracy in accuracies:
        right = accuracy_interval(accuracy, samples, confidence)
        middle = max(1 - accuracy, fewest)
        below.append(middle - min(middle, max(1 - right[1], fewest / 1.2)))
        above.append(max(middle, 1 - right[0]) - middle)
    return below, above
