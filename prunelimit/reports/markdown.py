"""A comment for a pull request: the numbers and the verdict as Markdown."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined

from . import content
from .blocks import Code, Fact, Inline, Said
from .sources import Collection, printable

__all__ = ["markdown"]

MARKS = r"\`*_[]~^$"
SPECIAL = re.compile(r"[\\`*_\[\]~^$]|[&<>@#|]|://|(?<=www)\.", re.IGNORECASE)
BEGINNING = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[-+=](?!\d)))(.)")


def markdown(found: Collection) -> str:
    """These results as Markdown that GitHub and GitLab show; nothing in it is more than text."""
    environment = Environment(
        autoescape=False,  # `escaped` does it
        loader=PackageLoader("prunelimit.reports"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["inline"] = _inline
    environment.filters["escaped"] = escaped
    text = environment.get_template("report.md.jinja").render(
        found=found,
        model=found.first.at(found.first.subject),
        data=getattr(getattr(found.first.result, "data", None), "spec", None),
        cards=content.cards(found),
        verdicts=content.verdicts(found),
        sections=content.sections(found),
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escaped(text: object) -> str:
    """A text in which nothing is Markdown, HTML, a mention or a reference to an issue."""
    return _not_a_list(_without_marks(" ".join(str(text).split())))


def _without_marks(line: str) -> str:
    return SPECIAL.sub(
        lambda match: (
            f"\\{match[0]}" if match[0] in MARKS else "".join(f"&#{ord(c)};" for c in match[0])
        ),
        printable(line),
    )


def _not_a_list(line: str) -> str:
    return BEGINNING.sub(r"\1\\\2", line)


def _inline(parts: Inline) -> str:
    made = []
    for each in parts:
        if isinstance(each, Code):
            made.append(_code(each.text))
        elif isinstance(each, (Fact, Said)):
            made.append(_without_marks(" ".join(each.text.split())))
        else:
            edges = re.fullmatch(r"(\s*)(.*?)(\s*)", each, re.DOTALL)
            assert edges is not None
            made.append(f"{edges[1]}{_without_marks(' '.join(edges[2].split()))}{edges[3]}")
    return _not_a_list("".join(made))


def _code(text: str) -> str:
    """A text as code, with more backticks around it than it has in a row."""
    line = printable(" ".join(text.split())).replace("|", "\\|")
    longest = max((len(each) for each in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"{fence}{line}{fence}"
