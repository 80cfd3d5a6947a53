"""``report``: one page, or a comment for a pull request, of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import ReportConfig
from ..errors import UsageError
from ..reports.markdown import markdown
from ..reports.page import page
from ..reports.sources import collect
from ..storage.files import writing

__all__ = ["report_format", "report_results"]

SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}


def report_format(config: ReportConfig, path: Path | None) -> str:
    """``"html"`` or ``"md"``: what is asked for, or what the file's name says.

    Raises:
        UsageError: the name says neither.
    """
    if config.format is not None:
        return config.format
    if path is None:
        return "html"
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"The format of {path.name} is not known; end its name with .html or .md, or give "
            "`format`."
        )
    return SUFFIXES[path.suffix.lower()]


def report_results(
    named: Sequence[tuple[str, Any]],
    config: ReportConfig,
    path: Path | None = None,
    *,
    force: bool = False,
) -> str:
    """The report of results, each with the name of its file, written to ``path`` if there is one.

    Raises:
        UsageError: there are no results, or two of a kind that a report has once, or the file's
            name does not say the format.
        InputError: they are about different networks or data, or one has no place in a report.
        OutputError: ``path`` exists and ``force`` is not given, or cannot be written.
    """
    kind = report_format(config, path)
    found = collect(named)
    text = page(found) if kind == "html" else markdown(found)
    if path is not None:
        with writing(path, force=force) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text
