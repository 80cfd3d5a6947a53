"""What a figure is drawn on: its width, its title, its resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context

__all__ = ["Paper", "on", "paper"]

WIDE = 6.0
"""Inches from which on text has its full size."""

FULL, LEAST = 10.0, 7.0
"""Points of text on wide and on narrow paper."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """``width`` in inches; ``title`` says whether the figure has one; ``dpi`` is that of pixels."""

    width: float = 8.5
    title: bool = True
    dpi: int = 140

    @property
    def text(self) -> float:
        """Points of ordinary text."""
        return FULL if self.width >= WIDE else max(LEAST, FULL * self.width / WIDE)

    @property
    def small(self) -> float:
        """Points of what is said in small letters."""
        return max(6.5, 0.8 * self.text)

    @property
    def stroke(self) -> float:
        """By how much lines and marks are thinner than on wide paper."""
        return max(0.65, min(1.0, self.width / WIDE))

    def height(self, wide: float) -> float:
        """Inches of a figure that is ``wide`` inches high on the widest paper: narrow ones are
        higher in proportion, for their text is not as small."""
        return wide * math.sqrt(min(1.0, self.width / Paper.width))

    def letters(self, share: float = 1.0, size: float | None = None) -> int:
        """How many letters stand beside each other on a share of the width."""
        return max(12, int(share * 72 * self.width / (0.56 * (size or self.text))))

    def settings(self) -> Any:
        """What matplotlib has to know of it: fonts stay text, and TrueType in PDF."""
        return {
            "font.size": self.text,
            "axes.titlesize": self.text,
            "axes.labelsize": self.text,
            "xtick.labelsize": self.small,
            "ytick.labelsize": self.small,
            "legend.fontsize": self.small,
            "lines.markersize": 6.0 * self.stroke,
            "pdf.fonttype": 42,
            "ps.fonttype": 42,
            "svg.fonttype": "none",
            # Without random names the same result gives the same file.
            "svg.hashsalt": "prunelimit",
        }


_PAPER: ContextVar[Paper] = ContextVar("paper", default=Paper())  # noqa: B039


def paper() -> Paper:
    """That which figures are drawn on."""
    return _PAPER.get()


@contextmanager
def on(given: Paper) -> Iterator[None]:
    """Draw on this paper for the time of the block."""
    token = _PAPER.set(given)
    try:
        with rc_context(given.settings()):
            yield
    finally:
        _PAPER.reset(token)
