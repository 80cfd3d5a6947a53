"""Progress for whoever works in Python: one line on stderr that changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..progress import Progress, silent

__all__ = ["reporting"]

EVERY = 0.2
"""Seconds between two states of the line."""


@contextmanager
def reporting(wanted: bool | Progress) -> Iterator[Progress]:
    """The progress callable for the work in the block: a line on stderr for True, nothing for
    False, or the user's own callable."""
    if not isinstance(wanted, bool):
        yield wanted
    elif not wanted:
        yield silent
    else:
        line = _Line()
        try:
            yield line
        finally:
            line.end()


class _Line:
    """``predicting 12 of 40 · note``, in one place."""

    def __init__(self) -> None:
        self._last, self._width = 0.0, 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < EVERY:
            return
        self._last = now
        self._show(f"{stage} {done:,} of {total:,}" + (f" · {note}" if note else ""))

    def _show(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def end(self) -> None:
        """Leave an empty line."""
        if self._width:
            self._show("")
            sys.stderr.write("\r")
            sys.stderr.flush()
