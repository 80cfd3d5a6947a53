"""Figures as SVG that stands within a page: text stays text, colours can follow the page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from .drawing import BLACK, BLUE, GREEN, GREY, GRID, ORANGE, PURPLE, RED, WHITE
from .figure import draw, drawable
from .paper import Paper, on

__all__ = ["COLOURS", "inline_svg", "variable"]

COLOURS: dict[str, tuple[str, str]] = {
    WHITE: ("#ffffff", "#14181d"),
    "#000000": ("#111111", "#e8eaed"),
    BLACK: ("#222222", "#e8eaed"),
    GREY: ("#6f6f6f", "#a3abb4"),
    GRID: ("#dddddd", "#353c45"),
    BLUE: (BLUE, "#5fb2ee"),
    ORANGE: (ORANGE, "#e5a83b"),
    GREEN: (GREEN, "#3cc795"),
    RED: (RED, "#f5856c"),
    PURPLE: (PURPLE, "#dd95c9"),
    "#7a5230": ("#7a5230", "#c9a37c"),
}
"""Colour of a figure -> what a light and what a dark page show for it."""

FONT = re.compile(r"'DejaVu Sans'[^;]*?sans-serif")


def variable(colour: str) -> str:
    """The CSS variable of a colour of figures."""
    return f"--figure-{colour.lstrip('#')}"


def inline_svg(
    name: str,
    results: Sequence[Any],
    *,
    prefix: str,
    title: str,
    description: str,
    sheet: Paper,
    follow: bool = False,
) -> str:
    """The figure ``name`` of ``results`` as an ``svg`` element.

    ``prefix`` begins every id in it. With ``follow`` its colours are the variables of
    :func:`variable`, else those of white paper. ``title`` and ``description`` are what a screen
    reader says.

    Raises:
        UsageError: there is no such figure.
        InputError: it makes nothing of these results.
    """
    figure = draw(name, *results, sheet=sheet)
    buffer = io.BytesIO()
    with on(sheet), drawable(name):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _without_names(root)
    _without_extras(root)
    _with_ids(root, prefix)
    for number, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{prefix}-{tag}"})
        element.text = text
        root.insert(number, element)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    ink = f"var({variable('#000000')})" if follow else "#000000"
    _shortened(root)
    root.set("style", f"fill: {ink}; stroke-linejoin: round; stroke-linecap: butt")
    if follow:
        for element in root.iter():
            if "style" in element.attrib:
                element.set("style", _following(element.attrib["style"]))
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _following(style: str) -> str:
    style = FONT.sub("system-ui, sans-serif", style)
    return re.sub(
        r"#[0-9a-f]{6}\b",
        lambda match: f"var({variable(match[0])})" if match[0] in COLOURS else match[0],
        style,
    )


def _without_names(root: ElementTree.Element) -> None:
    """HTML has no namespaces: elements and links by their bare names."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [each for each in element.attrib if each.startswith("{")]:
            element.set(name.rpartition("}")[2], element.attrib.pop(name))


def _without_extras(root: ElementTree.Element) -> None:
    """Neither metadata nor a style sheet, which would be one of the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style"):
                parent.remove(child)


GEOMETRY = ("d", "x", "y", "width", "height", "transform", "points", "viewBox")
DIGITS = re.compile(r"-?\d+\.\d{3,}")


def _shortened(root: ElementTree.Element) -> None:
    """Two decimals of a point are enough, and blanks between elements say nothing."""
    for element in root.iter():
        for name in GEOMETRY:
            value = element.attrib.get(name)
            if value is not None:
                value = DIGITS.sub(
                    lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), value
                )
                element.set(name, " ".join(value.split()))
        if element.tag not in ("text", "tspan", "title", "desc"):
            element.text = (element.text or "").strip() or None
        if element.tag != "tspan":
            element.tail = None
    _ungrouped(root)


def _ungrouped(parent: ElementTree.Element) -> None:
    """Groups that say nothing are gone, what they hold stays in its place."""
    for child in list(parent):
        _ungrouped(child)
        if child.tag == "g" and not child.attrib:
            place = list(parent).index(child)
            parent[place : place + 1] = list(child)


def _with_ids(root: ElementTree.Element, prefix: str) -> None:
    """Ids that something refers to, each with the prefix; the others go."""
    used: set[str] = set()
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            if name == "href" and value.startswith("#"):
                used.add(value[1:])
                element.set(name, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                used |= set(re.findall(r"url\(#([^)]+)\)", value))
                element.set(name, value.replace("url(#", f"url(#{prefix}-"))
    for element in root.iter():
        found = element.attrib.pop("id", None)
        if found in used:
            element.set("id", f"{prefix}-{found}")
