"""The comment for a pull request: well-formed, and nothing in it is more than text."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from made import (
    MODEL,
    PRUNED,
    TRAINING,
    UNRELIABLE,
    both,
    compared,
    measured,
    spectrum,
    verdict,
)
from markdown_it import MarkdownIt
from markdown_it.token import Token

from prunelimit.reports.content import verdicts
from prunelimit.reports.markdown import escaped, markdown
from prunelimit.reports.page import page
from prunelimit.reports.sources import collect

GIVEN: list[tuple[str, Any]] = [
    ("spectrum.json", spectrum()),
    ("predict.json", both()),
    ("prune.json", PRUNED),
    ("one-shot.json", measured()),
    ("refit.json", measured(TRAINING)),
    ("check.json", verdict()),
    ("compare.json", compared()),
]


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def shown(text: str) -> str:
    """What is left of Markdown for a reader."""
    inner = [child for each in tokens(text) for child in each.children or []]
    return "".join(" " if each.type == "softbreak" else each.content for each in inner)


def test_the_verdict_and_the_numbers_come_first() -> None:
    text = markdown(collect(GIVEN))
    head = text.partition("<details>")[0]
    read = shown(head)
    assert "PASSED: Predicted limit 93.6% (93.0% to 94.1%), measured (feasibility) 93.5%" in read
    assert "Plain87.1% (86.2% to 88.3%)" in read and "Limit93.6% (93.0% to 94.1%)" in read
    assert text.startswith("### prunelimit: ") and text.endswith("\n")
    assert text.count("<details>") == text.count("</details>") == 5


@pytest.mark.parametrize("passed", [True, False])
def test_several_gates_have_one_verdict_before_their_own(passed: bool) -> None:
    head = markdown(collect([("c.json", verdict(passed))])).partition("<details>")[0]
    words = re.findall(r"\*\*(PASSED|FAILED)\*\*: ([^.]*\.)", head)
    assert len(words) == 1 + len(verdict(passed).gates)
    said = "Every gate passed." if passed else "Not every gate passed."
    assert words[0] == ("PASSED" if passed else "FAILED", said)
    (one,) = verdicts(collect([("c.json", dataclasses.replace(verdict(), gates=GATES[:1]))]))
    assert one.passed and one.parts[0] != "Every gate passed."


def test_many_gates_are_folded_and_those_that_failed_stand_first() -> None:
    many = (*GATES[1:] * 7, dataclasses.replace(GATES[1], passed=False, reason="It broke."))
    found = collect([("c.json", dataclasses.replace(verdict(), gates=many, passed=False))])
    given = verdicts(found)
    assert [each.folded for each in given] == [False] * 6 + [True] * (len(many) - 5)
    assert [each.passed for each in given] == [False, False, *[True] * (len(many) - 1)]
    text = markdown(found)
    assert text.count("**PASSED**") + text.count("**FAILED**") == len(many) + 1
    head, _, rest = text.partition("<details><summary>The other gates</summary>")
    assert "It broke" in head and rest.partition("</details>")[0].count("**PASSED**") > 1
    assert page(found).count("<summary>The other gates</summary>") == 1


def test_brackets_and_full_stops_are_escaped_only_where_they_make_a_list() -> None:
    text = markdown(collect(GIVEN))
    assert "\\)" not in text and "\\." not in text
    assert [escaped(each) for each in ("1. a", "12) a", "1.5 a", ") a", ". a", "- a", "-5")] == [
        "1\\. a", "12\\) a", "1.5 a", ") a", ". a", "\\- a", "-5",
    ]  # fmt: skip


def test_every_table_is_one_and_all_its_rows_are_whole() -> None:
    text = markdown(collect(GIVEN))
    found = tokens(text)
    tables = [n for n, each in enumerate(found) if each.type == "table_open"]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) >= 6
    assert sum(each.type == "tr_open" for each in found) == len(rows) - len(tables)
    for begin in tables:
        end = next(n for n in range(begin, len(found)) if found[n].type == "table_close")
        columns = [
            sum(found[m].type in ("th_open", "td_open") for m in range(n, _close(found, n)))
            for n in range(begin, end)
            if found[n].type == "tr_open"
        ]
        assert len(set(columns)) == 1


def _close(found: list[Token], begin: int) -> int:
    return next(n for n in range(begin, len(found)) if found[n].type == "tr_close")


def test_reasons_are_not_hidden() -> None:
    given = [("p.json", both(reliability=UNRELIABLE)), ("c.json", verdict(False))]
    head = shown(markdown(collect(given)).partition("<details>")[0])
    failed = verdict(False).agreement
    assert failed is not None
    for reason in (*UNRELIABLE.reasons, *failed.reasons):
        assert reason in head
    assert "FAILED" in head


GATES = verdict().gates

HOSTILE = (
    "**b** _i_ `c` ~~s~~ [l](http://x.example) ![i](x) <b>h</b> &lt; | \\",
    "# heading",
    "- item",
    "1. item",
    "--- ===",
    "> quote",
    "    code",
    "```\ncode\n```",
    "line\n\n# another <img src=x>",
    "@somebody fixes #1, GH-1, https://x.example www.x.example a@b.example",
    "<!-- --> </details><details>",
    "$x$ \u202e\x00",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["{}", "| {} | b |\n| - | - |\n| {} | c |", "- {}", "a {} b"])
def test_an_escaped_text_is_that_text(text: str, place: str) -> None:
    written = place.replace("{}", escaped(text))
    wanted = " ".join(text.split()).replace("\x00", "\ufffd").replace("\u202e", "\ufffd")
    assert wanted in shown(written)
    allowed = {"paragraph", "inline", "text", "text_special", "table", "thead", "tbody", "tr", "th"}
    allowed |= {"td", "bullet_list", "list_item"}
    found = tokens(written)
    kinds = {e.type for each in found for e in (each, *(each.children or []))}
    assert {kind.removesuffix("_open").removesuffix("_close") for kind in kinds} <= allowed
    for live in ("@", "#", "://", "www."):
        assert live not in re.sub(r"&#\d+;", "", escaped(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_comment_of_hostile_files_has_the_same_form(text: str) -> None:
    model = dataclasses.replace(MODEL, spec=text)
    reasons = dataclasses.replace(UNRELIABLE, reasons=(text,))

    def form(model: Any, reliability: Any, method: str) -> list[str]:
        given = [
            ("p.json", both(model=model, reliability=reliability)),
            ("m.json", dataclasses.replace(measured(), model=model, method=method)),
        ]
        return [each.type for each in tokens(markdown(collect(given)))]

    plain = dataclasses.replace(UNRELIABLE, reasons=("A reason.",))
    assert form(model, reasons, text) == form(MODEL, plain, "magnitude")
