"""What a job of continuous integration gets from the gate."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from test_results import filled

from prunelimit.cli.verdict import append_summary, write_junit
from prunelimit.errors import OutputError
from prunelimit.results.types import CheckResult


def verdict(passed: bool) -> CheckResult:
    made = filled(CheckResult)
    assert isinstance(made, CheckResult)
    return dataclasses.replace(
        made,
        predicted=0.951,
        predicted_interval=(0.94, 0.96),
        measured=0.921,
        measured_interval=(0.91, 0.93),
        rule="feasibility",
        difference_pp=3.0,
        tolerance_pp=2.0,
        passed=passed,
        reasons=() if passed else ("Too far <apart> & wide.",),
    )


def test_junit_counts_the_failure_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(verdict(False), path, force=False)
    root = ET.parse(path).getroot()
    assert root.tag == "testsuites" and root.get("failures") == "1" and root.get("tests") == "1"
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.text == "Too far <apart> & wide."
    assert "95.10%" in failure.get("message", "") and "92.10%" in failure.get("message", "")


def test_junit_of_a_passed_gate_has_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(verdict(True), path, force=False)
    root = ET.parse(path).getroot()
    assert root.get("failures") == "0"
    assert root.find("testsuite/testcase") is not None
    assert root.find("testsuite/testcase/failure") is None


def test_junit_is_never_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text("mine")
    with pytest.raises(OutputError, match="`force`"):
        write_junit(verdict(True), path, force=False)
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
    assert "| Predicted sparsity | 95.10% (94.00% to 96.00%) |" in text
    assert "| Difference | +3.00 pp |" in text


def test_a_summary_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="GITHUB_STEP_SUMMARY"):
        append_summary(verdict(True), tmp_path / "nowhere" / "summary.md")


def test_the_number_that_a_method_is_held_to_is_named(tmp_path: Path) -> None:
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    found = dataclasses.replace(verdict(False), number="between")
    append_summary(found, summary)
    write_junit(found, junit, force=False)
    assert "| Predicted sparsity (between one-shot and limit) | 95.10%" in summary.read_text()
    assert "Predicted (between one-shot and limit) 95.10%" in junit.read_text()
