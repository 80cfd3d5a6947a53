"""Progress on stderr: one line on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from prunelimit.progress import Progress, silent

__all__ = ["reporting"]

FIRST_LINE = 2.0
"""Seconds a stage may last before a line tells of it."""

LINE_EVERY = 10.0
"""Seconds between lines."""


@contextmanager
def reporting(quiet: bool) -> Iterator[Progress]:
    """A :class:`Progress` for the time of the block."""
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif console.is_terminal:
        bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        with bars:
            yield _OnTerminal(bars)
    else:
        yield _Lines(console)


class _OnTerminal:
    """One line for the whole command: the stage that is told of last."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._stage = ""
        self._task: TaskID | None = None

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if stage != self._stage or self._task is None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._stage = stage
            self._task = self._bars.add_task(stage, total=total, note=note)
        self._bars.update(self._task, completed=done, total=total, note=note)
        if done >= total:
            self._bars.remove_task(self._task)
            self._task = None


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._begin = self._last = 0.0
        self._first = 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._begin, self._first = stage, now, done
            self._last = now - LINE_EVERY + FIRST_LINE
        if now - self._last < LINE_EVERY:
            return
        self._last = now
        passed, units = now - self._begin, done - self._first
        left = (
            f", {_duration(passed * (total - done) / units)} left"
            if units > 0 and done < total
            else ""
        )
        state = f", {note}" if note else ""
        self._console.print(
            f"{stage}: {done} of {total}{left}{state}", highlight=False, markup=False
        )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
