"""How long work reports its progress. The library itself never prints."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called as work advances.

    ``stage`` names the work ("curvature", "training", ...), ``done`` and ``total`` count its
    units, ``note`` is a short state such as ``"accuracy 97.9%"``. Calls with a new ``stage``
    begin a new line of progress; ``done == total`` ends it.
    """

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report nothing."""
