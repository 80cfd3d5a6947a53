"""The gates for machines that run jobs: JUnit XML, job summary, annotations, code quality."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunelimit.errors import OutputError
from prunelimit.results.types import CheckResult, Gate

__all__ = [
    "annotation",
    "append_summary",
    "github_annotations",
    "write_code_quality",
    "write_junit",
]


def write_junit(result: CheckResult, path: Path, *, force: bool) -> None:
    """One test case per gate, with its reason as the message where it failed."""
    from prunelimit.storage.files import writing

    seconds = f"{result.provenance.wall_seconds:.3f}"
    counts = {
        "tests": str(len(result.gates)),
        "failures": str(len(result.failed)),
        "errors": "0",
        "time": seconds,
    }
    suites = ET.Element("testsuites", counts)
    name = _printable(f"prunelimit {result.model.spec}")
    suite = ET.SubElement(suites, "testsuite", {"name": name, **counts})
    for gate in result.gates:
        case = ET.SubElement(
            suite,
            "testcase",
            {"classname": "prunelimit.check", "name": _printable(gate.name), "time": "0.000"},
        )
        if not gate.passed:
            ET.SubElement(case, "failure", {"message": _printable(gate.reason)}).text = _printable(
                gate.reason
            )
        ET.SubElement(case, "system-out").text = _printable(gate.reason)
    with writing(path, force=force) as temporary:
        ET.ElementTree(suites).write(temporary, encoding="utf-8", xml_declaration=True)


def append_summary(result: CheckResult, path: Path) -> None:
    """Append the verdict in Markdown to the file a job shows as its summary."""
    from prunelimit.reports.markdown import escaped

    verdict = "passed" if result.passed else "failed"
    lines = [
        f"### prunelimit, {escaped(result.model.spec)}: {verdict}",
        "",
        "| gate | | what was found |",
        "|---|---|---|",
        *(
            f"| {escaped(gate.name)} | {_word(gate)} | {escaped(gate.reason)} |"
            for gate in result.gates
        ),
        "",
    ]
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except OSError as error:
        raise OutputError(
            f"The job summary {path} cannot be written ({error.strerror}); "
            "correct or unset GITHUB_STEP_SUMMARY."
        ) from error


def github_annotations(result: CheckResult) -> Iterator[str]:
    """A workflow command of GitHub for every gate that failed."""
    for gate in result.failed:
        yield annotation(f"prunelimit: {gate.name}", gate.reason)


def annotation(title: str, message: str) -> str:
    """A workflow command of GitHub that marks an error; whatever is in it, it is one line."""
    return f"::error title={_property(title)}::{_message(message)}"


def write_code_quality(result: CheckResult, path: Path, *, force: bool) -> None:
    """The gates that failed as GitLab's code-quality report: a list, empty when all passed."""
    from prunelimit.storage.files import writing

    issues = [_issue(result, gate) for gate in result.failed]
    with writing(path, force=force) as temporary:
        temporary.write_text(json.dumps(issues, indent=2) + "\n", encoding="utf-8")


def _issue(result: CheckResult, gate: Gate) -> dict[str, Any]:
    spec = _printable(result.model.spec)
    known = f"prunelimit {spec} {gate.name}".encode()
    return {
        "description": _printable(f"{gate.name}: {gate.reason}"),
        "check_name": f"prunelimit/{gate.kind}",
        "fingerprint": hashlib.sha256(known).hexdigest(),
        "severity": "major",
        "location": {"path": spec, "lines": {"begin": 1}},
    }


def _word(gate: Gate) -> str:
    return "passed" if gate.passed else "**failed**"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _printable(text: str) -> str:
    """``text`` without what XML 1.0 cannot hold."""
    return "".join(c if c in "\t\n" or (c.isprintable() and c != "￾") else "?" for c in text)
