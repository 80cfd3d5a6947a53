"""Where results go: checked before the work starts, written after it, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from prunelimit.errors import OutputError, UnreliableError, UsageError
from prunelimit.progress import Progress
from prunelimit.results.serialization import to_json
from prunelimit.results.types import Reliability

from .command import result_stream

__all__ = ["Outputs"]

UNWRAPPED = 1_000
"""Columns where no terminal wraps."""

PLOT_FORMATS = (".png", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the user wants to be left with."""

    output: Path | None
    plot: Path | None
    figure: str | None
    json: bool
    quiet: bool
    force: bool
    strict: bool

    @classmethod
    def of(
        cls, given: Mapping[str, Any], *others: Path | None, inputs: tuple[Path, ...] = ()
    ) -> Outputs:
        """From parsed options; ``others`` are further files that the command will write.

        Raises:
            OutputError: a file exists and ``--force`` was not given, its folder is missing or
                closed, it is an input, or two outputs are the same file.
            UsageError: a plot's format is unknown.
        """
        from prunelimit.storage.files import check_writable

        plot: Path | None = given.get("plot")
        output: Path | None = given.get("output")
        if plot is not None and plot.suffix.lower() not in PLOT_FORMATS:
            raise UsageError(
                f"A plot cannot be written as {plot.name}; end its name with "
                f"{', '.join(PLOT_FORMATS[:-1])} or {PLOT_FORMATS[-1]}."
            )
        taken = {path.resolve() for path in inputs}
        for path in (output, plot, *others):
            if path is None:
                continue
            if path.resolve() in taken:
                raise OutputError(
                    f"{path} is also the name of an input or of another output; choose another "
                    "name."
                )
            taken.add(path.resolve())
            check_writable(path, force=given["force"])
        return cls(
            output=output,
            plot=plot,
            figure=given.get("figure"),
            json=given.get("json", False),
            quiet=given["quiet"],
            force=given["force"],
            strict=given.get("strict", False),
        )

    def progress(self) -> AbstractContextManager[Progress]:
        """Progress for the time of the work, none when quiet."""
        from .progress import reporting

        return reporting(self.quiet)

    def document(self, result: Any, path: Path | None = None) -> None:
        """The result as JSON: into ``path`` when given, on stdout with ``--json``."""
        from prunelimit.storage.files import write_json

        document = to_json(result)
        if path is not None:
            write_json(path, document, force=self.force)
        if self.json:
            try:
                click.echo(json.dumps(document, indent=2, allow_nan=False), file=result_stream())
            except BrokenPipeError:
                raise
            except OSError as error:
                raise OutputError(
                    f"Standard output cannot be written ({error.strerror}); send it elsewhere, or "
                    "give -o FILE.json."
                ) from error

    def draw(self, *results: Any) -> None:
        """The figure of ``results``, when one is wanted."""
        from prunelimit.storage.files import writing

        if self.plot is not None and self.figure is not None:
            from prunelimit.reports import figure

            with writing(self.plot, force=self.force) as temporary:
                figure.draw(self.figure, *results, path=temporary)

    def show(self, *renderables: Any) -> None:
        """Tables and sentences for people, on stderr."""
        from rich.console import Console

        if not self.quiet:
            console = Console(stderr=True)
            if not console.is_terminal:
                console.width = UNWRAPPED
            for each in renderables:
                console.print(
                    each, highlight=False, markup=False, crop=False, soft_wrap=isinstance(each, str)
                )

    def demand(self, reliability: Reliability | None) -> None:
        """Hold ``--strict``; call it last, when everything is written.

        Raises:
            UnreliableError: the estimate is outside its regime.
        """
        if self.strict and reliability is not None and not reliability.ok:
            raise UnreliableError(f"The estimate is not reliable. {' '.join(reliability.reasons)}")
