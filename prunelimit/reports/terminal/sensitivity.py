"""The table of layers that were measured alone."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from ...results.sensitivity import LayerCurve, SensitivityResult
from ..words import fall, metric, percent, score, unit
from .parts import columns

__all__ = ["sensitivity_table"]

SHOWN = 20
"""Layers that the table has; the file has all."""


def sensitivity_table(result: SensitivityResult) -> RenderableType:
    """The most sensitive layers first, then those of which nothing was learnt."""
    data = result.data
    name = metric(data)
    known = result.top(SHOWN)
    rest = sum(each.measured for each in result.layers) - len(known)
    allowed = f"within {100 * result.tolerance:g} pp to" if data.points else "within tolerance to"
    table = columns(("layer", "weights", allowed, "then loses", "loss rises by"))
    for each in known:
        table.add_row(*(Text(cell) for cell in _cells(each, result)))
    title = f"{result.model.spec} on {data.spec}: each layer alone, by {result.criterion}"
    lines: list[RenderableType] = [
        Text(title, style="bold"),
        Text(
            f"  dense: test {name} {score(result.dense.accuracy, data)}, loss "
            f"{result.dense.loss:.4g}{unit(data)}; most sensitive first, by the mean rise of the "
            "loss"
        ),
        table,
    ]
    if rest:
        lines.append(
            Text(f"  and {rest} layers that are less sensitive; -o FILE.json has them all")
        )
    lines += [Text(line) for line in _unknown(result)]
    return Group(*lines)


def _cells(layer: LayerCurve, result: SensitivityResult) -> tuple[str, ...]:
    """What it holds to, and what the next sparsity costs."""
    holds = layer.holds or 0.0
    after = next((each for each in layer.curve if each.sparsity > holds), None)
    return (
        layer.name,
        f"{layer.weights:,}",
        percent(holds, 1),
        ""
        if after is None
        else f"{fall(after.drop, after.standard_error, result.data)} "
        f"at {percent(after.sparsity, 1)}",
        f"{layer.curve[-1].rise:+.3g} at {percent(layer.curve[-1].sparsity, 1)}",
    )


def _unknown(result: SensitivityResult) -> Iterator[str]:
    for each in result.layers:
        if not each.measured:
            yield f"  {each.name}: nothing is known of it, it is {each.why}"
