"""The regime of pruning as a table for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...results.types import RegimeResult, Temperature
from ..words import metric, percent, score
from .parts import columns

__all__ = ["regime_table"]

SAID = {
    "I": "poorly connected",
    "II-A": "connected, but unlike",
    "II-B": "connected and alike",
}


def regime_table(result: RegimeResult) -> RenderableType:
    """Regime, the pairs it is read from, and what to change."""
    lines = [
        Text(
            f"Regime {result.regime} ({SAID[result.regime]}): {result.model.spec} on "
            f"{result.data.spec}",
            style="bold",
        ),
        Text(
            f"  density {percent(result.density)}, connectivity {100 * result.connectivity:+.2f} "
            f"pp, similarity (CKA) {result.similarity:.3f}"
        ),
        Text(f"  {result.advice}"),
        *(Text(f"  - {note}") for note in result.notes),
    ]
    networks = columns(("network", "density", f"test {metric(result.data)}", "temperature"))
    for each in result.networks:
        networks.add_row(
            Text(each.name),
            percent(each.density),
            score(each.accuracy, result.data),
            _temperature(each.temperature),
        )
    pairs = columns(("pair", "connectivity", "similarity", "largest error between"))
    for pair in result.pairs:
        worst = max(place.error for place in pair.line)
        pairs.add_row(
            Text(f"{pair.first}, {pair.second}"),
            f"{100 * pair.connectivity:+.2f} pp",
            f"{pair.similarity:.3f}",
            percent(worst, 2),
        )
    return Group(*lines, Text(""), networks, Text(""), pairs)


def _temperature(found: Temperature | None) -> str:
    if found is None:
        return "not in the file"
    return f"{found.noise:.2g} (rate {found.lr:g}, batch {found.batch_size}, {found.epochs} epochs)"
