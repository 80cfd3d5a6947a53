"""The verdict of a gate for machines that run jobs: JUnit XML and a job summary."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from prunelimit.errors import OutputError
from prunelimit.results.types import CheckResult

__all__ = ["append_summary", "write_junit"]


NUMBERS = {"one-shot": " (one-shot)", "between": " (between one-shot and limit)"}


def write_junit(result: CheckResult, path: Path, *, force: bool) -> None:
    """One test case, failed when the gate failed, with the reasons as its message."""
    from prunelimit.storage.files import writing

    failures = "0" if result.passed else "1"
    seconds = f"{result.provenance.wall_seconds:.3f}"
    counts = {"tests": "1", "failures": failures, "errors": "0", "time": seconds}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": "prunelimit", **counts})
    case = ET.SubElement(
        suite,
        "testcase",
        {"classname": "prunelimit.check", "name": result.model.spec, "time": seconds},
    )
    if not result.passed:
        failure = ET.SubElement(case, "failure", {"message": _sentence(result)})
        failure.text = "\n".join(result.reasons)
    ET.SubElement(case, "system-out").text = _sentence(result)
    with writing(path, force=force) as temporary:
        ET.ElementTree(suites).write(temporary, encoding="utf-8", xml_declaration=True)


def append_summary(result: CheckResult, path: Path) -> None:
    """Append the verdict in Markdown to the file a job shows as its summary."""
    verdict = "passed" if result.passed else "failed"
    rows = [
        (
            f"Predicted sparsity{NUMBERS.get(result.number, '')}",
            _interval(result.predicted, result.predicted_interval),
        ),
        (
            f"Measured sparsity ({result.rule})",
            _interval(result.measured, result.measured_interval),
        ),
        ("Difference", f"{result.difference_pp:+.2f} pp"),
        ("Tolerance", f"{result.tolerance_pp:g} pp"),
    ]
    lines = [f"### Pruning limit of {result.model.spec}: {verdict}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    lines += ["", *(f"- {reason}" for reason in result.reasons), ""]
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except OSError as error:
        raise OutputError(
            f"The job summary {path} cannot be written ({error.strerror}); "
            "correct or unset GITHUB_STEP_SUMMARY."
        ) from error


def _interval(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * value:.2f}% ({100 * low:.2f}% to {100 * high:.2f}%)"


def _sentence(result: CheckResult) -> str:
    return (
        f"Predicted{NUMBERS.get(result.number, '')} {100 * result.predicted:.2f}%, "
        f"measured {100 * result.measured:.2f}% ({result.rule}): "
        f"{result.difference_pp:+.2f} pp, tolerance {result.tolerance_pp:g} pp."
    )
