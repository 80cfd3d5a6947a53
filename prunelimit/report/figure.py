"""What a figure is: results drawn into a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import plugins
from ..plugins import Plugin

__all__ = ["ReportFigure", "draw"]


@dataclass(frozen=True, kw_only=True)
class ReportFigure(Plugin):
    """A figure of results: the object FIGURE of a file in ``figures``.

    ``draw(results, path)`` makes it, and writes it to ``path`` if there is one. The literal ``OF``
    at the top of the file names the commands whose results it draws; ``results`` are one of these,
    or several (measurements, and a prediction to go with them).
    """

    draw: Callable[[Sequence[Any], Path | None], Figure]


def draw(name: str, *results: Any, path: Path | None = None) -> Figure:
    """The figure of that name of ``results``, written to ``path`` if there is one.

    Raises:
        UsageError: there is no such figure.
        InputError: it cannot be imported.
        OutputError: ``path`` cannot be written.
    """
    found: ReportFigure = plugins.find("figure", name)
    return found.draw(results, path)
