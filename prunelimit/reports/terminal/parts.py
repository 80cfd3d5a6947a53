"""How tables look in a terminal: bold titles, columns that fold, points of a list."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from ...errors import one_line

__all__ = ["BLANK", "columns", "grid", "pairs", "point", "titled"]


BLANK = Text("")
"""An empty line."""


def titled(title: str, table: Table) -> Group:
    """A bold line above a table, which a table's own title would wrap to the table's width."""
    return Group(Text(title, style="bold"), table)


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> Group:
    """Names and what is to be said of each."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(one_line(name)), Text(one_line(value)))
    return titled(one_line(title), table)


def columns(names: Sequence[str], words: Collection[int] = (0,)) -> Table:
    """An empty table whose columns fold rather than cut; those at the places ``words`` are of
    words, the others of numbers."""
    table = Table(box=None, padding=(0, 2))
    for index, name in enumerate(names):
        justify: JustifyMethod = "left" if index in words else "right"
        table.add_column(name, justify=justify, header_style="dim", overflow="fold")
    return table


def grid(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> Group:
    """A table whose first column is of words, the others of numbers."""
    table = columns(names)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return titled(title, table)


def point(text: str) -> RenderableType:
    """One of a list; what is wrapped is indented."""
    row = Table.grid(padding=(0, 1))
    row.add_row(Text("  -"), Text(text))
    return row
