"""What sections are made of: numbers that know their place, paragraphs, tables, figures.

Every number is a :class:`Fact` that knows its file and field, every sentence that comes from a file
a :class:`Said`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..results.types import DataInfo
from .sources import Source
from .words import digits, in_percent, metric, unit

__all__ = [
    "Bullets",
    "Card",
    "Code",
    "Fact",
    "Inline",
    "Lines",
    "Of",
    "Picture",
    "Said",
    "Section",
    "Table",
    "Text",
    "Verdict",
    "finite",
    "table",
]

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Fact:
    """A number as people read it, and where it stands."""

    text: str
    value: float | int | None
    file: str
    field: str


@dataclass(frozen=True)
class Said:
    """A text that comes from a file."""

    text: str
    file: str
    field: str


@dataclass(frozen=True)
class Code:
    """What is to be typed, or is named as it is written."""

    text: str


Inline = tuple["str | Fact | Said | Code", ...]


@dataclass(frozen=True)
class Text:
    """A paragraph; a ``warning`` stands out."""

    parts: Inline
    warning: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[Inline, ...]
    kind: str = "bullets"


@dataclass(frozen=True)
class Lines:
    """Command lines, to be copied."""

    lines: tuple[str, ...]
    kind: str = "lines"


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows; ``folded`` ones are shown when asked for."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Inline, ...], ...]
    numeric: tuple[bool, ...]
    files: tuple[str, ...]
    folded: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A figure of these sources."""

    figure: str
    title: str
    sources: tuple[Source, ...]
    kind: str = "picture"


@dataclass(frozen=True)
class Card:
    """One of the numbers that everything is about, ``predicted`` or measured; ``doubts`` say why it
    cannot be trusted."""

    name: str
    value: Inline
    meaning: Inline
    doubts: tuple[Inline, ...] = ()
    predicted: bool = True


@dataclass(frozen=True)
class Verdict:
    """What came of a check; ``passed`` is None where there was none. ``folded`` ones are shown when
    asked for."""

    passed: bool | None
    parts: Inline
    reasons: tuple[Inline, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; ``id`` names it in links."""

    id: str
    title: str
    blocks: tuple[Any, ...]


def finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _seconds(x: float) -> str:
    if x < 120:
        return f"{x:.3g} s"
    return f"{x / 60:.3g} min" if x < 7200 else f"{x / 3600:.3g} h"


FORMS: dict[str, Callable[[Any], str]] = {
    "count": lambda x: f"{x:,}",
    "accuracy": lambda x: f"{100 * x:.2f}%",
    "score": lambda x: f"{x:.4f}",
    "lost-score": lambda x: f"{0.0 - x:+.4f}",
    "nats": lambda x: f"{x:.4g}",
    "rise": lambda x: f"{x:.2e}",
    "short": lambda x: f"{x:.3g}",
    "signed": lambda x: f"{x:+.3g}",
    "points": lambda x: f"{x:+.2f} pp",
    "tolerance": lambda x: f"{x:g} pp",
    "share-points": lambda x: f"{100 * x:g} pp",
    "error": lambda x: f"{100 * x:.2f} pp",
    "lost": lambda x: f"{0.0 - 100 * x:+.2f} pp",
    "level": lambda x: f"{100 * x:g}%",
    "seconds": _seconds,
    "bytes": lambda x: f"{x:,} bytes",
    "memory": lambda x: f"{x / 2**20:,.0f} MiB",
}


@dataclass(frozen=True)
class Of:
    """Facts of one source."""

    source: Source

    def number(self, place: str, form: str) -> Fact:
        """The number at ``place``, in one of :data:`FORMS`."""
        value = self.source.at(place)
        if not finite(value):
            return Fact(UNKNOWN, None, self.source.name, place)
        return Fact(FORMS[form](value), value, self.source.name, place)

    @property
    def data(self) -> DataInfo | None:
        """What the result says of its data; None where it is about none."""
        found: DataInfo | None = getattr(self.source.result, "data", None)
        return found

    @property
    def metric(self) -> str:
        """What people call the metric."""
        return "accuracy" if self.data is None else metric(self.data)

    @property
    def unit(self) -> str:
        """Of a loss, as a heading has it."""
        return ", nats" if self.data is None or unit(self.data) else ""

    def score(self, place: str) -> Fact:
        """The value of the metric at ``place``."""
        return self.number(place, "accuracy" if self._percent else "score")

    def loss(self, place: str) -> Inline:
        """The loss at ``place``, with its unit."""
        return (self.number(place, "nats"), " nats" if self.unit else "")

    def fall(self, drop: str, error: str) -> Inline:
        """What the metric lost, with its standard error where that is known."""
        forms = ("lost", "error") if self._percent else ("lost-score", "score")
        lost, beside = self.number(drop, forms[0]), self.number(error, forms[1])
        return (lost,) if beside.value is None else (lost, " +- ", beside)

    @property
    def _percent(self) -> bool:
        return self.data is None or in_percent(self.data)

    def percent(self, place: str, places: int | None = None) -> Fact:
        """The fraction at ``place`` as a percentage."""
        value = self.source.at(place)
        if not finite(value):
            return Fact(UNKNOWN, None, self.source.name, place)
        places = digits([value]) if places is None else places
        return Fact(f"{100 * value:.{places}f}%", value, self.source.name, place)

    def interval(self, place: str, low_high: str, sparsity: str | None = None) -> Inline:
        """A sparsity and its interval, all of one precision."""
        where = sparsity or f"{place}.sparsity"
        ends = [f"{low_high}.{side}" for side in (0, 1)]
        values = [self.source.at(each) for each in (where, *ends)]
        known = [each for each in values[:2] if finite(each)]
        places = digits(known) if known else 1
        low, high = (self.percent(each, places) for each in ends)
        return (self.percent(where, places), " (", low, " to ", high, ")")

    def threshold(self, place: str) -> Inline:
        """The sparsity of a threshold and its interval."""
        return self.interval(place, f"{place}.interval")

    def said(self, place: str) -> Said:
        """The text at ``place``."""
        return Said(str(self.source.at(place)), self.source.name, place)

    def each(self, place: str) -> tuple[Inline, ...]:
        """The sentences of the list at ``place``."""
        return tuple(
            (self.said(f"{place}.{number}"),) for number in range(len(self.source.at(place)))
        )

    def rule(self, place: str) -> Inline:
        """What the threshold at ``place`` holds, in words."""
        threshold = self.source.at(place)
        if threshold.rule == "accuracy":
            return (f"{self.metric} within ", self.number(f"{place}.tolerance", "share-points"),
                    " of dense")  # fmt: skip
        if threshold.rule == "dense-accuracy":
            return (f"{self.metric} at least dense",)
        if threshold.rule in ("loss", "feasibility"):
            trained = "survivors trained to " if threshold.rule == "feasibility" else ""
            return (f"{trained}loss within epsilon, ", *self.loss(f"{place}.tolerance"))
        return (self.said(f"{place}.rule"),)


def _files(*sources: Source | None) -> tuple[str, ...]:
    return tuple(each.name for each in sources if each is not None)


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    words: int,
    *sources: Source,
    folded: bool = False,
) -> Table:
    """A table whose first ``words`` columns are of words, the others of numbers."""
    return Table(
        caption, tuple(head), tuple(tuple(row) for row in rows),
        tuple(index >= words for index in range(len(head))), _files(*sources), folded,
    )  # fmt: skip
