"""Results as figures and reports, from live results and from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..commands.plot import plot_results
from ..commands.report import report_format, report_results
from ..commands.saved import load_result
from ..config import PlotConfig, ReportConfig
from ..errors import UsageError
from ..results.methods import Result
from ..results.types import DemoResult
from ..storage.files import check_writable
from .options import configured, takes

__all__ = ["plot", "report"]


@takes(PlotConfig)
def plot(
    *results: Result | str | Path,
    path: str | Path | None = None,
    force: bool = False,
    **options: Any,
) -> Any:
    """Draw results again: one, several measurements, or a prediction and what was measured.

    Args:
        results: Results, or JSON files of them, about one network.
        path: Where the figure is written: .png, .pdf or .svg. Fonts are TrueType in PDF, and text
            stays text in SVG.
        force: Replace a file that is there.

    Returns:
        A matplotlib Figure.

    Raises:
        UsageError: the figure does not draw these, no figure does, or the suffix is another.
        InputError: a file holds no result, or they are about different networks or data.
        OutputError: the file is there and ``force`` is not given, or it cannot be written.
        TypeError: there is no such argument.

    Example:

    >>> import tempfile
    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> found = pl.spectrum(problem, samples=50, steps=5, probes=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     figure = pl.plot(found, path=f"{folder}/spectrum.pdf", width="3.25in", no_title=True)
    >>> round(figure.get_size_inches()[0], 2).item()
    3.25
    """
    config = configured(PlotConfig, options)
    return plot_results(_named(results), config, None if path is None else Path(path), force=force)


@takes(ReportConfig)
def report(
    *results: Result | str | Path,
    path: str | Path | None = None,
    force: bool = False,
    **options: Any,
) -> str:
    """One self-contained page of results, or Markdown for a pull request.

    The two numbers and the verdict come first, then figures and tables. Every number names its file
    and field, and the page holds the JSON.

    Args:
        results: Results, or JSON files of them, about one network.
        path: Where it is written: .html or .md.
        force: Replace a file that is there.

    Returns:
        The text.

    Raises:
        UsageError: there are no results, or two of a kind that a report has once.
        InputError: a file holds no result, or they are about different networks or data.
        OutputError: the file is there and ``force`` is not given, or it cannot be written.
        TypeError: there is no such argument.

    Example:

    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> found = pl.spectrum(problem, samples=50, steps=5, probes=1)
    >>> text = pl.report(found, format="md")
    >>> text.splitlines()[0]
    '### prunelimit: lenet-300-100 on digits'
    """
    config = configured(ReportConfig, options)
    target = None if path is None else Path(path)
    report_format(config, target)
    if target is not None:
        check_writable(target, force=force)
    return report_results(_named(results), config, target, force=force)


def _named(results: tuple[Result | str | Path, ...]) -> list[tuple[str, Any]]:
    """Every result with the name of its file, or the one that its command would give it."""
    named: list[tuple[str, Any]] = []
    for each in results:
        if isinstance(each, (str, Path)):
            named.append((Path(each).name, load_result(Path(each))))
        elif isinstance(each, (Result, DemoResult)):
            named.append((f"{str(each.SCHEMA).split('.')[1].split('/')[0]}.json", each))
        else:
            raise UsageError(
                f"A {type(each).__name__} is not a result; give what a function of prunelimit "
                "returns, or its file."
            )
    return named
