"""``prunelimit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunelimit.config import ReportConfig
from prunelimit.errors import UsageError

from .command import result_stream
from .options import REPORT, RESULTS, build, cli_command, general_options, path_option
from .outputs import Outputs

PAGE = Path("report.html")
"""Where a page goes that no other place is named for."""


@cli_command(
    "report",
    RESULTS,
    path_option(
        "Output",
        ["output", "-o", "--output"],
        "FILE",
        "Write it here, .html or .md (default: report.html; Markdown goes to stdout).",
    ),
    REPORT,
    general_options(),
    examples=(
        "prunelimit report predict.json measure.json check.json -o report.html",
        "prunelimit report prunelimit-demo/*.json --format md",
    ),
)
def command(files: tuple[Path, ...], output: Path | None, **given: Any) -> None:
    """Write a page about a network, or a comment on a pull request.

    FILES are JSON files that commands wrote, all about one network. The two numbers and the verdict
    come first. Every number names its file and field. The page is one file and holds the JSON too.
    """
    config = build(ReportConfig, given)
    if not files:
        raise UsageError("report needs at least one JSON file of a result.")
    if output is None and config.format != "md":
        output = PAGE
    outputs = Outputs.of({**given, "output": output}, inputs=files)
    from prunelimit.commands.report import report_format, report_results
    from prunelimit.commands.saved import load_result

    report_format(config, output)
    named = [(path.name, load_result(path)) for path in files]
    text = report_results(named, config, output, force=outputs.force)
    if output is None:
        click.echo(text, nl=False, file=result_stream())
    else:
        outputs.show(f"Written: {output}")
