"""What a job of continuous integration gets from the gates."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome
from made import verdict as made

from prunelimit.cli.verdict import (
    append_summary,
    github_annotations,
    write_code_quality,
    write_junit,
)
from prunelimit.errors import OutputError
from prunelimit.results.types import CheckResult

HOSTILE = "Too far <apart> & wide | `x` % ::error::\n\x00\ud800 @someone"


def verdict(passed: bool, reason: str = "Too far <apart> & wide.") -> CheckResult:
    """Two gates, of which the first passes or does not."""
    found = made()
    first, second = found.gates
    first = dataclasses.replace(first, passed=passed, reason=reason)
    return dataclasses.replace(found, gates=(first, second), passed=passed)


def test_junit_has_a_case_per_gate_and_counts_failures(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(verdict(False), path, force=False)
    root = ET.parse(path).getroot()
    assert root.tag == "testsuites" and root.get("failures") == "1" and root.get("tests") == "2"
    names = [case.get("name") for case in root.iter("testcase")]
    assert names == ["predicted against measured", "min-accuracy at 80.00%"]
    failures = list(root.iter("failure"))
    assert [each.get("message") for each in failures] == ["Too far <apart> & wide."]


@pytest.mark.parametrize("reason", ["Too far.", HOSTILE])
@pytest.mark.parametrize("passed", [True, False])
def test_junit_is_what_its_schema_asks_for(tmp_path: Path, passed: bool, reason: str) -> None:
    xmlschema = pytest.importorskip("xmlschema")
    path = tmp_path / "junit.xml"
    write_junit(verdict(passed, reason), path, force=False)
    xmlschema.XMLSchema(Path(__file__).parent / "junit.xsd").validate(path)


def test_junit_of_passed_gates_has_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(verdict(True), path, force=False)
    root = ET.parse(path).getroot()
    assert root.get("failures") == "0" and not list(root.iter("failure"))


def test_what_xml_and_markdown_cannot_hold_is_not_in_it(tmp_path: Path) -> None:
    junit, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    write_junit(verdict(False, HOSTILE), junit, force=False)
    (failure,) = ET.parse(junit).getroot().iter("failure")
    assert "Too far <apart> & wide" in failure.get("message", "")
    append_summary(verdict(False, HOSTILE), summary)
    rows = [line for line in summary.read_text().splitlines() if line.startswith("| predicted")]
    (row,) = rows
    assert row.count("|") == 4 and "<apart>" not in row and "@someone" not in row


def test_junit_is_never_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text("mine")
    for write in (write_junit, write_code_quality):
        with pytest.raises(OutputError, match="`force`"):
            write(verdict(True), path, force=False)
    assert path.read_text() == "mine"
    write_junit(verdict(True), path, force=True)
    assert ET.parse(path).getroot().tag == "testsuites"


def test_the_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    append_summary(verdict(False), path)
    append_summary(verdict(True), path)
    text = path.read_text()
    assert text.startswith("before\n### ")
    assert text.count(": failed") == 1 and text.count(": passed") == 1
    assert text.count("| **failed** |") == 1 and text.count("| passed |") == 3


def test_a_summary_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="GITHUB_STEP_SUMMARY"):
        append_summary(verdict(True), tmp_path / "nowhere" / "summary.md")


def test_only_gates_that_fail_are_annotations_each_on_one_line() -> None:
    assert not list(github_annotations(verdict(True)))
    (line,) = github_annotations(verdict(False, HOSTILE))
    title, _, message = line.removeprefix("::error title=").partition("::")
    assert title == "prunelimit%3A predicted against measured"
    assert "\n" not in line and "%25" in message and "%0A" in message


def test_what_ends_a_job_of_github_is_an_annotation_too(
    prunelimit: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in (("check", "no%ne.json"), ("check", "a.json", "--min-sparsity", "much")):
        plain = prunelimit(*given)
        assert plain.code in (2, 3) and "::error" not in plain.stderr
        with monkeypatch.context() as job:
            job.setenv("GITHUB_ACTIONS", "true")
            told = prunelimit(*given)
        first, second = told.stderr.splitlines()
        assert first + "\n" == plain.stderr and told.code == plain.code
        message = first.removeprefix("Error: ").replace("%", "%25")
        assert second == f"::error title=prunelimit check::{message}"


def test_code_quality_is_a_list_of_issues_with_stable_fingerprints(tmp_path: Path) -> None:
    write_code_quality(verdict(True), tmp_path / "none.json", force=False)
    assert json.loads((tmp_path / "none.json").read_text()) == []
    found = []
    for name, reason in (("a.json", "one"), ("b.json", "other")):
        write_code_quality(verdict(False, reason), tmp_path / name, force=False)
        (issue,) = json.loads((tmp_path / name).read_text())
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert issue["location"]["lines"]["begin"] == 1 and issue["location"]["path"]
        assert reason in issue["description"]
        found.append(issue["fingerprint"])
    assert found[0] == found[1]
