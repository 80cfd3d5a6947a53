"""Progress goes to stderr, seldom enough to be read, and never when quiet."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from prunelimit.cli import progress as reporting_module
from prunelimit.cli.progress import reporting


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reporting_module, "time", clock)
    return clock


def test_quick_work_tells_nothing(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=False) as progress:
        for step in range(20):
            clock.now += 0.09
            progress("curvature", step, 20)
    assert capfd.readouterr().err == ""


def test_long_work_tells_the_time_left(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=False) as progress:
        for step in range(101):
            progress("training", step, 100, "accuracy 97.9%")
            clock.now += 1.0
    streams = capfd.readouterr()
    lines = streams.err.splitlines()
    assert streams.out == ""
    assert lines[0] == "training: 2 of 100, 98 s left, accuracy 97.9%"
    assert lines[1] == "training: 12 of 100, 88 s left, accuracy 97.9%"
    assert len(lines) == 10


def test_every_stage_has_its_own_clock(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=False) as progress:
        for stage in ("one", "two"):
            progress(stage, 0, 4)
            clock.now += 3
            progress(stage, 2, 4)
    assert capfd.readouterr().err.splitlines() == ["one: 2 of 4, 3 s left", "two: 2 of 4, 3 s left"]


def test_nothing_when_quiet(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=True) as progress:
        progress("training", 0, 100)
        clock.now += 1000
        progress("training", 50, 100)
    assert capfd.readouterr().err == ""


def test_bars_on_a_terminal_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(
        reporting_module,
        "Console",
        lambda stderr: Console(file=stream, force_terminal=True, width=100),
    )
    with reporting(quiet=False) as progress:
        for stage in ("one", "two", "one"):
            for step in range(4):
                progress(stage, step, 3, "[not markup]")
    text = stream.getvalue()
    assert "two" in text and "[not markup]" in text and "\x1b[2K" in text
