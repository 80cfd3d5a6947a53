"""The methods that every result has in Python.

Their code is in a later room, of which results know nothing. They ask the library's root for it
when a method is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

__all__ = ["Result"]


class Result:
    """The base of the results of all commands."""

    SCHEMA: ClassVar[str]

    def summary(self, *, verbose: bool = False) -> str:
        """The table that the command prints, as plain text; with ``verbose`` the details too."""
        from .. import presentation

        return presentation.summary(self, verbose=verbose)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """The result as the command writes it: plain values for JSON."""
        from .. import presentation

        return presentation.to_dict(self)

    def to_pandas(self, table: str | None = None) -> Any:
        """One of the result's tables as a pandas DataFrame, the main one where none is named.

        Raises:
            UsageError: there is no such table, or pandas is missing.
        """
        from .. import presentation

        return presentation.to_pandas(self, table)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the result as JSON, which :func:`prunelimit.load` reads.

        Raises:
            OutputError: the file is there and ``force`` is not given, or it cannot be written.
        """
        from .. import presentation

        presentation.save(self, path, force=force)

    def plot(
        self,
        path: str | Path | None = None,
        *,
        figure: str | None = None,
        width: str | float | None = None,
        no_title: bool = False,
        dpi: int | None = None,
        force: bool = False,
    ) -> Any:
        """The figure that the command draws, as a matplotlib Figure; written to ``path`` if there
        is one (.png, .pdf or .svg).

        ``figure`` names another than the first; ``width`` is in inches, or a text such as "82mm";
        ``dpi`` is that of a PNG. :func:`prunelimit.plot` draws several results together.

        Raises:
            UsageError: the command draws none, there is no such figure, or the suffix is another.
            OutputError: the file is there and ``force`` is not given, or it cannot be written.
        """
        from .. import presentation

        options = {"figure": figure, "width": width, "no_title": no_title, "dpi": dpi}
        return presentation.plot(self, path, force=force, **options)

    def _repr_html_(self) -> str:
        """The summary and the figure for a notebook."""
        from .. import presentation

        return presentation.html(self)
