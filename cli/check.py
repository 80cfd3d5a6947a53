"""``prunelimit check``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunelimit.config import (
    CheckConfig,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    ReportConfig,
    RunConfig,
)
from prunelimit.errors import UsageError

from .options import (
    CHECK,
    CURVATURE,
    DATA,
    LIMIT_BESIDE,
    NETWORK,
    OTHER_TOLERANCE,
    RUN,
    Section,
    build,
    cli_command,
    document_options,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled_result

if TYPE_CHECKING:
    from prunelimit.results.types import CheckResult

GATE_FAILED = 1
"""Exit code of a gate that failed."""

MEASURE = Section("Measurement", MeasureConfig, without=OTHER_TOLERANCE)
"""--tolerance is the gate's; those of accuracy and of the limit keep their defaults."""

FILES = click.Argument(
    ["files"], metavar="CKPT | PREDICT.json MEASURE.json", nargs=-1, type=click.Path(path_type=Path)
)


@cli_command(
    "check",
    FILES,
    CHECK,
    NETWORK,
    DATA,
    LIMIT_BESIDE,
    MEASURE,
    CURVATURE,
    RUN,
    document_options(strict=True),
    general_options(),
    examples=(
        "prunelimit check lenet.safetensors --survivors trained",
        "prunelimit check predict.json measure.json --tolerance 2pp --junit gate.xml",
    ),
)
def command(files: tuple[Path, ...], **given: Any) -> int:
    """Hold the prediction against the measurement, as a gate.

    With a checkpoint: predicts, measures, compares. With the JSON files of predict and measure:
    compares them. Like is compared with like: with fixed survivors the loss threshold with plain,
    with trained ones feasibility with the limit, with moved ones the loss threshold with the range
    between. Exits with 1 when they differ by more than --tolerance. Inside a CI job that
    sets GITHUB_STEP_SUMMARY, the verdict is appended to the job's summary.
    """
    if len(files) not in (1, 2):
        raise UsageError(
            f"check takes one checkpoint, or the JSON files of predict and measure, not "
            f"{len(files)} files."
        )
    config = build(CheckConfig, given)
    junit = None if config.junit is None else Path(config.junit)
    page = None if config.report is None else Path(config.report)
    outputs = Outputs.of(given, junit, page, inputs=files)
    from prunelimit.reports.tables import check_table, verdict

    from .verdict import append_summary, write_junit

    with outputs.progress() as progress:
        result, *about = (
            _compared(files, config) if len(files) == 2 else _measured(files[0], given, progress)
        )
    told = spelled_result(result)
    if junit is not None:
        write_junit(told, junit, force=outputs.force)
    if page is not None:
        names = [each.name for each in files] if len(files) == 2 else BESIDE
        _report([*zip(names, about, strict=True), ("check.json", result)], page, outputs.force)
    outputs.document(result, outputs.output)
    outputs.show(check_table(told))
    if outputs.quiet:
        click.echo(verdict(result), err=True)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        append_summary(told, Path(summary))
    if not result.passed:
        return GATE_FAILED
    outputs.demand(result.reliability)
    return 0


BESIDE = ("predict.json", "measure.json")
"""What a report calls results that were never files."""


def _report(named: list[tuple[str, Any]], path: Path, force: bool) -> None:
    from prunelimit.commands.report import report_results

    report_results(named, ReportConfig(), path, force=force)


def _compared(files: tuple[Path, ...], config: CheckConfig) -> tuple[CheckResult, Any, Any]:
    from prunelimit.commands.check import check_results
    from prunelimit.results.serialization import from_json
    from prunelimit.results.types import MeasureResult, PredictResult
    from prunelimit.storage.files import read_json

    predicted = from_json(PredictResult, read_json(files[0]), str(files[0]))
    measured = from_json(MeasureResult, read_json(files[1]), str(files[1]))
    return check_results(predicted, measured, config), predicted, measured


def _measured(
    checkpoint: Path, given: dict[str, Any], progress: Any
) -> tuple[CheckResult, Any, Any]:
    from prunelimit.commands.check import check_checkpoint

    return check_checkpoint(
        checkpoint,
        build(ModelConfig, given),
        build(DataConfig, given),
        build(RunConfig, given),
        build(CurvatureConfig, given),
        build(LimitConfig, given, without=OTHER_TOLERANCE),
        build(MeasureConfig, given, without=OTHER_TOLERANCE),
        build(CheckConfig, given),
        progress=progress,
    )
