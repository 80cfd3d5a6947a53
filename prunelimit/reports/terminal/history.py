"""The table of a network's checkpoints."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...results.history import HistoryPoint, HistoryResult
from ..words import interval, metric, score
from .parts import columns

__all__ = ["history_table", "place_of"]

ORDERS = {
    "epoch": "by epoch",
    "step": "by step",
    "number": "by the number in their names",
    "time": "by the files' times",
}


def place_of(point: HistoryPoint) -> str:
    """Which checkpoint it is, in few letters."""
    parts = [("epoch", point.epoch), ("step", point.step)]
    return ", ".join(f"{word} {value}" for word, value in parts if value is not None) or point.name


def history_table(result: HistoryResult) -> RenderableType:
    """One line per checkpoint; what is not reliable has an asterisk."""
    table = columns(("checkpoint", f"test {metric(result.data)}", "plain", "limit"))
    for point in result.points:
        bounds = point.plain_interval
        plain = "" if point.plain is None or bounds is None else interval(point.plain, bounds)
        mark = "" if point.reliable else " *"
        table.add_row(
            *map(
                Text,
                (
                    place_of(point),
                    score(point.accuracy, result.data),
                    plain,
                    f"{interval(point.limit, point.limit_interval)}{mark}",
                ),
            )
        )
    title = f"{result.model.spec} on {result.data.spec}: checkpoints {ORDERS[result.order]}"
    lines: list[RenderableType] = [Text(title, style="bold"), table]
    unsure = [each for each in result.points if not each.reliable]
    if unsure:
        lines.append(Text(f"  * not reliable; of {place_of(unsure[-1])}: {unsure[-1].reason}"))
    lines += [Text(f"  {note}") for note in result.notes]
    lines += [Text(f"  left out: {each}") for each in result.left_out]
    return Group(*lines)
