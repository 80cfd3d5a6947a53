"""One self-contained HTML page: numbers, figures, evidence, how to obtain them again."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .. import plugins
from ..errors import InputError
from . import content
from .blocks import Code, Fact, Inline, Picture, Said
from .paper import Paper
from .sources import Collection, Source, printable
from .svg import COLOURS, inline_svg, variable

__all__ = ["LARGEST", "page"]

LARGEST = 1_000_000
"""Bytes of a page, at most: a file that would exceed them is not held in it."""

WIDE = Paper(width=7.2, title=False)
NARROW = Paper(width=3.4, title=False)
"""What figures are drawn on for a screen and for a telephone."""


def page(found: Collection) -> str:
    """The page of these results as HTML."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("prunelimit.reports"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    sections = content.sections(found)
    pictures = [b for each in sections for b in each.blocks if isinstance(b, Picture)]
    drawn = {id(b): _drawn(b, f"figure-{n}") for n, b in enumerate(pictures, 1)}

    environment.filters["inline"] = _inline
    template = environment.get_template("report.html.jinja")
    fields: dict[str, Any] = {
        "found": found,
        "model": found.first.at(found.first.subject),
        "subject": found.first.subject,
        "data": getattr(getattr(found.first.result, "data", None), "spec", None),
        "first": found.first.name,
        "cards": content.cards(found),
        "verdicts": content.verdicts(found),
        "sections": sections,
        "drawn": lambda block: drawn[id(block)],
        "shas": sorted({sha for each in found.sources for sha in each.checkpoints}),
        "colours": [(variable(name), *pair) for name, pair in COLOURS.items()],
    }
    bare = printable(template.render(**fields, files=list(_files(found.sources, 0))))
    left = LARGEST - len(bare.encode("utf-8"))
    return printable(template.render(**fields, files=list(_files(found.sources, left))))


def _files(sources: tuple[Source, ...], room: int) -> Iterator[dict[str, Any]]:
    """Name, checkpoint and link of every file, the link None where it does not fit."""
    for source in sources:
        text = json.dumps(source.document(), allow_nan=False, separators=(",", ":"))
        link = "data:application/json;base64," + base64.b64encode(text.encode()).decode()
        fits = len(link) < room
        room -= len(link) if fits else 0
        yield {
            "name": source.name,
            "saved": _saved(source.name),
            "command": source.command,
            "shas": source.checkpoints,
            "bytes": len(text),
            "link": link if fits else None,
        }


def _saved(name: str) -> str:
    """The name that a download has."""
    return re.sub(r"[^\w.-]+", "-", Path(name).name).strip("-.") or "result.json"


def _drawn(block: Picture, prefix: str) -> tuple[Markup, str]:
    """The figure and nothing, or nothing and the sentence that says why there is none."""
    try:
        return _pictures(block, prefix), ""
    except InputError as error:
        return Markup(""), str(error)


def _pictures(block: Picture, prefix: str) -> Markup:
    """The figure twice, for wide and for narrow screens: one of them is shown."""
    help_text = next(e.help for e in plugins.describe("figure") if e.name == block.figure)
    results = [each.result for each in block.sources]
    files = ", ".join(each.name for each in block.sources)
    made = []
    for kind, sheet in (("wide", WIDE), ("narrow", NARROW)):
        svg = inline_svg(
            block.figure, results, prefix=f"{prefix}-{kind}", title=block.title, sheet=sheet,
            description=f"{help_text} Drawn from {files}; the tables of this section have the "
            "numbers.",
            follow=True,
        )  # fmt: skip
        made.append(f'<div class="{kind}">{svg}</div>')
    return Markup("".join(made))


def _inline(parts: Inline) -> Markup:
    """Text, numbers with their place, sentences from files."""
    made = []
    for each in parts:
        if isinstance(each, Fact):
            value = "" if each.value is None else repr(each.value)
            made.append(
                Markup('<data value="{}" data-file="{}" data-field="{}">{}</data>')
                .format(value, each.file, each.field, each.text)
            )  # fmt: skip
        elif isinstance(each, Said):
            made.append(
                Markup('<span data-file="{}" data-field="{}">{}</span>')
                .format(each.file, each.field, _marked(each.text))
            )  # fmt: skip
        elif isinstance(each, Code):
            made.append(Markup("<code>{}</code>").format(each.text))
        else:
            made.append(escape(each))
    return Markup("").join(made)


def _marked(sentence: str) -> Markup:
    """A sentence with the fields that it has in backticks set as code; a name may be broken where
    its parts meet."""
    if " " not in sentence:
        return Markup("<wbr>").join(re.split(r"(?<=[+/.])(?=\w)", sentence))
    return Markup(re.sub(r"`(\w+)`", r"<code>\1</code>", str(escape(sentence))))
