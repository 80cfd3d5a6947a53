"""Sections of what stands beside a prediction: layers alone, checkpoints, regime, files."""

from __future__ import annotations

from typing import Any

from .blocks import Bullets, Card, Inline, Of, Picture, Section, Text, finite, table
from .sources import Collection, Source
from .terminal.regime import SAID
from .words import ZEROS

__all__ = ["checkpoints", "exported", "inspected", "last_checkpoint", "layers_alone", "regime"]

FOLDED = 12
"""Rows beyond which a table is shown when asked for."""

MOST_POINTS = 500
"""Points of layers alone that a page has a table of; the figure and the file have all."""


def layers_alone(found: Collection) -> Section | None:
    """What each layer alone can lose, the most sensitive first."""
    sources = found.all("sensitivity")
    blocks: list[Any] = []
    for source in sources:
        of, result = Of(source), source.result
        places = {id(each): n for n, each in enumerate(result.layers)}
        ranked = [places[id(each)] for each in result.top(len(result.layers))]
        rows = [_layer(of, n) for n in ranked]
        head = ("layer", "weights", f"keeps {of.metric} to", "then loses", "loss rises by")
        blocks += [
            Text(
                (
                    "One layer is pruned by ", of.said("criterion"), " and nothing else changes. "
                    "The most sensitive layer stands first: the one with the largest mean rise of "
                    f"the training loss. The dense network has a test {of.metric} of ",
                    of.score("dense.accuracy"), ".",
                )
            ),
            Picture("sensitivity", "Each layer alone", (source,)),
            table(f"Layers alone, {source.name}", head, rows[:FOLDED], 1, source),
            table(
                f"Layers that are less sensitive, {source.name}", head, rows[FOLDED:], 1, source,
                folded=True,
            ),
            Bullets(
                tuple(
                    (of.said(f"layers.{n}.name"), ": nothing is known of it, as it is ",
                     of.said(f"layers.{n}.why"), ".")
                    for n, each in enumerate(result.layers)
                    if not each.measured
                )
            ),
        ]  # fmt: skip
        points = [_point(of, n, m) for n in ranked for m in range(len(result.layers[n].curve))]
        if len(points) <= MOST_POINTS:
            columns = "layer", "sparsity", f"test {of.metric}", "change", f"training loss{of.unit}"
            blocks.append(
                table(f"All points of {source.name}", columns, points, 1, source, folded=True)
            )
    return Section("alone", "Each layer alone", tuple(blocks)) if blocks else None


def _layer(of: Of, n: int) -> list[Inline]:
    """What a layer holds to, and what the next sparsity costs."""
    layer, place = of.source.result.layers[n], f"layers.{n}"
    holds = layer.holds if finite(layer.holds) else 0.0
    after = next((m for m, each in enumerate(layer.curve) if each.sparsity > holds), None)
    row: list[Inline] = [
        (of.said(f"{place}.name"),),
        (of.number(f"{place}.weights", "count"),),
        (of.percent(f"{place}.holds"),),
    ]
    if after is None:
        row.append(("nothing",))
    else:
        point = f"{place}.curve.{after}"
        lost = of.fall(f"{point}.drop", f"{point}.standard_error")
        row.append((*lost, " at ", of.percent(f"{point}.sparsity")))
    last = f"{place}.curve.{len(layer.curve) - 1}"
    if not layer.curve:
        return [*row, ("",)]
    return [*row, (of.number(f"{last}.rise", "short"), " at ", of.percent(f"{last}.sparsity"))]


def _point(of: Of, n: int, m: int) -> list[Inline]:
    place = f"layers.{n}.curve.{m}"
    return [
        (of.said(f"layers.{n}.name"),),
        (of.percent(f"{place}.sparsity", 2),),
        (of.score(f"{place}.accuracy"),),
        of.fall(f"{place}.drop", f"{place}.standard_error"),
        (of.number(f"{place}.loss", "nats"),),
    ]


ORDERS = {
    "epoch": "the epoch in their names",
    "step": "the step in their names",
    "number": "the number in their names",
    "time": "the times of the files",
}


def checkpoints(found: Collection) -> Section | None:
    """How sparse the network could be made, checkpoint by checkpoint."""
    source = found.one("history")
    if source is None:
        return None
    of, result = Of(source), source.result
    rows = [
        [
            (of.said(f"points.{n}.name"),),
            (of.score(f"points.{n}.accuracy"),),
            (of.number(f"points.{n}.loss", "nats"),),
            _plain(of, n),
            of.interval("", f"points.{n}.limit_interval", f"points.{n}.limit"),
            ("yes" if point.reliable else "no",),
        ]
        for n, point in enumerate(result.points)
    ]
    head = (
        "checkpoint", f"test {of.metric}, dense", f"training loss{of.unit}", "plain", "limit",
        "limit is reliable",
    )  # fmt: skip
    doubts = tuple(
        (of.said(f"points.{n}.name"), ": ", of.said(f"points.{n}.reason"))
        for n, point in enumerate(result.points)
        if point.reason is not None
    )
    order = ORDERS.get(result.order, "their names")
    blocks: list[Any] = [Text((f"The checkpoints of one network, in the order of {order}.",))]
    if result.points:
        blocks.append(Picture("history", "Plain, limit and the dense network", (source,)))
    blocks.append(
        table(
            "Checkpoints, sparsities of the prunable weights", head, rows, 1, source,
            folded=len(rows) > 3 * FOLDED,
        )
    )  # fmt: skip
    if doubts:
        blocks += [Text(("Limits that are not reliable:",), True), Bullets(doubts)]
    if result.left_out:
        blocks += [Text(("Files that could not be read:",), True), Bullets(of.each("left_out"))]
    blocks.append(Bullets(of.each("notes")))
    return Section("history", "Over the checkpoints", tuple(blocks))


def _plain(of: Of, n: int) -> Inline:
    point = of.source.result.points[n]
    if point.plain is None or point.plain_interval is None:
        return ("none",)
    return of.interval("", f"points.{n}.plain_interval", f"points.{n}.plain")


def last_checkpoint(source: Source, plain: Inline, limit: Inline) -> tuple[Card, ...]:
    """The two numbers of the last checkpoint, with what they mean."""
    of, n = Of(source), len(source.result.points) - 1
    point, made = source.result.points[n], []
    if point.plain is not None and point.plain_interval is not None:
        made.append(Card("Plain, last checkpoint", _plain(of, n), plain))
    doubts: tuple[Inline, ...] = ()
    if not point.reliable:
        doubts = (
            ("the file does not say why.",)
            if point.reason is None
            else (of.said(f"points.{n}.reason"),),
        )
    numbers = of.interval("", f"points.{n}.limit_interval", f"points.{n}.limit")
    return (*made, Card("Limit, last checkpoint", numbers, limit, doubts))


def regime(found: Collection) -> Section | None:
    """The regime that networks from several seeds are in."""
    source = found.one("regime")
    if source is None:
        return None
    of, result = Of(source), source.result
    networks = [
        [
            (of.said(f"networks.{n}.name"),),
            (of.percent(f"networks.{n}.density"),),
            (of.score(f"networks.{n}.accuracy"),),
            ("not in the file",)
            if each.temperature is None
            else (of.number(f"networks.{n}.temperature.noise", "short"),),
        ]
        for n, each in enumerate(result.networks)
    ]
    pairs = [
        [
            (of.said(f"pairs.{n}.first"), ", ", of.said(f"pairs.{n}.second")),
            (of.number(f"pairs.{n}.connectivity", "signed"),),
            (of.number(f"pairs.{n}.similarity", "short"),),
        ]
        for n in range(len(result.pairs))
    ]
    return Section(
        "regime",
        "The regime of pruning",
        (
            Text(
                (
                    "Regime ", of.said("regime"), f", {SAID.get(result.regime, 'unknown')}: a "
                    "connectivity of ", of.number("connectivity", "signed"), " and a similarity of "
                    "outputs of ", of.number("similarity", "short"), ", with ",
                    of.percent("density"), " of the prunable weights left. ", of.said("advice"),
                )
            ),
            table("Networks", ("network", "weights left", f"test {of.metric}", "noise of SGD"),
                  networks, 1, source),
            table("Pairs", ("pair", "connectivity", "similarity"), pairs, 1, source),
            Bullets(of.each("notes")),
        ),
    )  # fmt: skip


def inspected(found: Collection) -> Section | None:
    """What a file holds."""
    source = found.one("inspect")
    if source is None:
        return None
    of, result = Of(source), source.result
    blocks: list[Any] = [
        Text(
            (
                of.said("path"), " is a file of ", of.number("bytes", "bytes"), " (",
                of.said("format"), ") with ", of.number("entries", "count"), " numbers, ",
                of.number("zeros", "count"), " of them zero.",
            )
        )
    ]  # fmt: skip
    if result.code:
        blocks += [
            Text(("Loading it would run code; it was not read. It names:",), True),
            Bullets(of.each("code")),
        ]
    rows = [
        [
            (of.said(f"tensors.{n}.name"),),
            ("yes",) if each.prunable else ("no, ", of.said(f"tensors.{n}.why")),
            (of.number(f"tensors.{n}.zeros", "count"),),
            (of.percent(f"tensors.{n}.share"),),
        ]
        for n, each in enumerate(result.tensors)
        if each.prunable or each.why is not None
    ]
    head = ("matrix", "prunable", "zeros", "share of all numbers")
    blocks.append(table("Matrices", head, rows, 2, source, folded=len(rows) > FOLDED))
    return Section("inspected", "What the file holds", tuple(blocks))


def exported(found: Collection) -> Section | None:
    """What was written in another format."""
    sources = found.all("export")
    if not sources:
        return None
    rows = [
        [
            (of.said("artifact.path"),),
            (of.said("format"),),
            (of.number("artifact.bytes", "bytes"),),
            (of.number("artifact.bytes_dense", "bytes"),),
            (of.number("zeros", "count"), " of ", of.number("entries", "count")),
        ]
        for of in map(Of, sources)
    ]
    head = ("file", "format", "size", "dense", "zeros of the matrices")
    return Section(
        "exported",
        "Files for others",
        (
            table("Checkpoints written", head, rows, 2, *sources),
            Text((ZEROS,)),
        ),
    )
