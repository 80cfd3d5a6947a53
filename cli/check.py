"""``prunelimit check``."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
from prunelimit.errors import UnreliableError, UsageError

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
    ["files"],
    metavar="CKPT | PREDICT.json MEASURE.json",
    nargs=-1,
    type=click.Path(path_type=Path),
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
        "prunelimit check predict.json measure.json --tolerance 2pp --junit gate.xml",
        "prunelimit check measure.json --min-sparsity 0.8@1pp --baseline released.json",
    ),
)
def command(files: tuple[Path, ...], **given: Any) -> int:
    """Pass or fail a network: prediction, floors, baseline.

    With a checkpoint, it predicts, measures and judges. With JSON files of predict, measure or
    both, it judges those. Each prediction is compared with the measurement that matches it. Fixed
    survivors: the plain threshold with the measured loss threshold. Trained survivors: the limit
    with the measured feasibility. Other survivors: their loss threshold has to lie between plain
    and limit. --min-sparsity and --min-accuracy-at are floors for the measurement. --baseline
    compares with an earlier network. A difference within the intervals does not fail.

    Exits with 1 when a gate fails. A CI job that sets GITHUB_STEP_SUMMARY gets the verdict in its
    summary; with GITHUB_ACTIONS, gates that fail become annotations.
    """
    config = build(CheckConfig, given)
    written = [
        None if name is None else Path(name)
        for name in (config.junit, config.code_quality, config.report)
    ]
    junit, quality, page = written
    inputs = (*files, *map(Path, config.baseline))
    outputs = Outputs.of(given, *written, inputs=tuple(dict.fromkeys(inputs)))
    from prunelimit.reports.terminal.check import check_table, verdict

    from .verdict import append_summary, github_annotations, write_code_quality, write_junit

    with outputs.progress() as progress:
        result, named = _judged(files, config, given, progress)
    told = spelled_result(result)
    if junit is not None:
        write_junit(told, junit, force=outputs.force)
    if quality is not None:
        write_code_quality(told, quality, force=outputs.force)
    if page is not None:
        _report([*named, ("check.json", result)], page, outputs.force)
    outputs.document(result, outputs.output)
    outputs.show(check_table(told))
    if outputs.quiet:
        click.echo(verdict(told), err=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_annotations(told):
            click.echo(line, err=True)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        append_summary(told, Path(summary))
    if not result.passed:
        return GATE_FAILED
    if result.agreement is not None:
        outputs.demand(result.agreement.reliability)
    doubted = [gate for gate in result.gates if not gate.reliable]
    if outputs.strict and doubted:
        raise UnreliableError(f"A number that was compared is not reliable: {doubted[0].reason}")
    return 0


Named = Sequence[tuple[str, Any]]
"""Results, each with what a report calls it."""


def _judged(
    files: tuple[Path, ...], config: CheckConfig, given: dict[str, Any], progress: Any
) -> tuple[CheckResult, Named]:
    from prunelimit.commands.check import check_checkpoint

    if len(files) == 1 and files[0].suffix.lower() != ".json":
        result, predicted, measured = check_checkpoint(
            files[0],
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(CurvatureConfig, given),
            build(LimitConfig, given, without=OTHER_TOLERANCE),
            build(MeasureConfig, given, without=OTHER_TOLERANCE),
            config,
            progress=progress,
        )
        both = (("predict.json", predicted), ("measure.json", measured))
        return result, [(name, each) for name, each in both if each is not None]
    return _of_files(files, config)


def _of_files(files: tuple[Path, ...], config: CheckConfig) -> tuple[CheckResult, Named]:
    from prunelimit.commands.check import check_results, one_of_each, read_judged

    if len(files) not in (1, 2):
        raise UsageError(
            "check takes one checkpoint, or the JSON files of predict and measure, not "
            f"{len(files)} files."
        )
    read = [read_judged(path) for path in files]
    result = check_results(*one_of_each(read, "files"), config)
    return result, [(path.name, each) for path, each in zip(files, read, strict=True)]


def _report(named: Named, path: Path, force: bool) -> None:
    from prunelimit.commands.report import report_results

    report_results(list(named), ReportConfig(), path, force=force)
