"""One word per number: what people read says plain and limit, whatever JSON calls them."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pytest
from made import ONE_SHOT, both, compared, measured, predicted, spectrum, verdict
from rich.console import Console

from prunelimit.config import CheckConfig
from prunelimit.errors import InputError
from prunelimit.gate import judge
from prunelimit.reports.figure import draw
from prunelimit.reports.markdown import markdown
from prunelimit.reports.page import page
from prunelimit.reports.sources import collect
from prunelimit.reports.terminal.check import check_table
from prunelimit.reports.terminal.predict import predict_table
from prunelimit.results.types import CheckResult

ROOT = Path(__file__).parents[1]
OTHER = re.compile(r"one[- ]shot", re.IGNORECASE)
WIDE = dataclasses.replace(ONE_SHOT, interval=(0.7, 0.9))


def checked(method: str, **changes: Any) -> CheckResult:
    prediction = dataclasses.replace(both(), one_shot=changes.get("one_shot", ONE_SHOT))
    agreement, gates = judge(prediction, measured(method), CheckConfig(tolerance=1e-4))
    return dataclasses.replace(
        verdict(), agreement=agreement, gates=gates, passed=all(each.passed for each in gates)
    )


def printed(shown: Any) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


CHECKED = [
    checked("magnitude"),
    checked("magnitude", one_shot=WIDE),
    checked("magnitude+staged"),
    checked("magnitude+trained"),
]


@pytest.mark.parametrize("result", CHECKED, ids=["plain", "wide", "between", "limit"])
def test_a_verdict_says_plain_and_limit_everywhere(result: CheckResult) -> None:
    assert result.agreement is not None
    word = {"one-shot": "plain", "between": "between plain and limit", "limit": "limit"}
    said = word[result.agreement.number]
    table = printed(check_table(result))
    files = [("predict.json", predicted(one_shot=WIDE)), ("check.json", result)]
    comment = markdown(collect(files))
    assert f"predicted {said}" in table and f"Predicted {said}" in comment
    assert any(f"Predicted {said}" in gate.reason for gate in result.gates)
    for text in (table, comment, page(collect(files))):
        assert not OTHER.search(re.sub(r'data-field="[^"]*"|one_shot', "", text))


def test_figures_say_plain() -> None:
    for name, given in (
        ("measure", (measured(), both())),
        ("compare", (compared(), both())),
        ("verdict", (CHECKED[0],)),
        ("limit", (both(),)),
        ("path", (both(),)),
        ("spectrum", (spectrum(),)),
    ):
        figure = draw(name, *given)
        words = [each.get_text() for each in figure.findobj(lambda x: hasattr(x, "get_text"))]
        assert not OTHER.search(" ".join(words)), name
        if name in ("measure", "compare"):
            assert any("predicted plain 87.1%" in each for each in words)


def test_tables_and_refusals_say_plain() -> None:
    shown = printed(predict_table(predicted(one_shot=WIDE), "net.pt", verbose=True))
    # The amount is named as it is typed.
    assert "plain" in shown and not OTHER.search(shown.replace("--amount one-shot", ""))
    with pytest.raises(
        InputError, match="compared with the plain threshold, and the prediction has none"
    ) as refusal:
        judge(predicted(one_shot=None), measured(), CheckConfig())
    assert not OTHER.search(str(refusal.value))


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *(ROOT / "docs/how-to").glob("*.md"),
    ],
    ids=lambda path: path.name,
)
def test_pages_name_the_field_or_the_option_only_as_code(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
    assert not OTHER.search(text), path
