"""``prunelimit history``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunelimit.config import (
    CurvatureConfig,
    DataConfig,
    HistoryConfig,
    LimitConfig,
    ModelConfig,
    RunConfig,
)

from .command import keep_on_interrupt
from .options import (
    CURVATURE,
    CURVE_CSV,
    DATA,
    LIMIT,
    NETWORK,
    RUN,
    Section,
    build,
    cli_command,
    document_options,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled_result

DIRECTORY = click.Argument(["directory"], metavar="DIR", type=click.Path(path_type=Path))


@cli_command(
    "history",
    DIRECTORY,
    Section("History", HistoryConfig),
    NETWORK,
    DATA,
    LIMIT,
    CURVATURE,
    RUN,
    document_options(figures_of="history"),
    CURVE_CSV,
    general_options(),
    examples=(
        "prunelimit history checkpoints --keep --plot history.pdf",
        "prunelimit history lightning_logs/version_0/checkpoints -m net.py:network -d net.py:data",
    ),
)
def command(directory: Path, csv_path: tuple[Path, ...], **given: Any) -> None:
    """Show how prunable a network was, checkpoint by checkpoint.

    DIR is a folder with checkpoints of one network, with JSON files of predict, or with both. They
    are ordered by the epoch or step in their names, else by the times of the files. Each row gives
    dense accuracy, plain and limit. A prediction that is there with the same options is read, not
    made again.
    """
    outputs = Outputs.of(given, *csv_path)
    from prunelimit.commands.history import history
    from prunelimit.reports.terminal.history import history_table

    from .exports import write_history

    config = build(HistoryConfig, given)
    if config.keep:
        keep_on_interrupt(
            [directory], "the predictions done are kept; run the same command to go on"
        )
    with outputs.progress() as progress:
        result = history(
            directory,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(CurvatureConfig, given),
            build(LimitConfig, given),
            config,
            force=outputs.force,
            progress=progress,
        )
    outputs.document(result, outputs.output)
    for path in csv_path:
        write_history(result, path, force=outputs.force)
    outputs.show(history_table(spelled_result(result)))
    outputs.draw(result)
