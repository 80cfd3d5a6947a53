"""``plot``: a figure of results again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..config import PlotConfig
from ..errors import UsageError
from ..reports.figure import choose, draw
from ..reports.paper import Paper
from ..reports.sources import Source, require_together
from ..storage.files import writing

__all__ = ["FORMATS", "plot_results", "require_figure_format"]

FORMATS = (".png", ".pdf", ".svg")
"""Suffixes of figures."""


def require_figure_format(path: Path) -> None:
    """Refuse a suffix that no figure can have.

    Raises:
        UsageError: its suffix is none of :data:`FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"A figure cannot be written as {path.name}; end its name with "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        )


def plot_results(
    named: Sequence[tuple[str, Any]],
    config: PlotConfig,
    path: Path | None = None,
    *,
    force: bool = False,
) -> Figure:
    """The figure of results, each with the name of its file, written to ``path`` if there is one.

    Raises:
        UsageError: there are none, the figure does not draw them, no figure does, or the suffix is
            none of :data:`FORMATS`.
        InputError: they are about different networks or data.
        OutputError: ``path`` exists and ``force`` is not given, or cannot be written.
    """
    if not named:
        raise UsageError("There is nothing to draw; give at least one result.")
    if path is not None:
        require_figure_format(path)
    sources = [Source(name, result) for name, result in named]
    name = choose([each.command for each in sources], config.figure)
    require_together(sources)
    sheet = Paper(width=config.width, title=not config.no_title, dpi=config.dpi)
    results = [each.result for each in sources]
    if path is None:
        return draw(name, *results, sheet=sheet)
    with writing(path, force=force) as temporary:
        return draw(name, *results, path=temporary, sheet=sheet)
