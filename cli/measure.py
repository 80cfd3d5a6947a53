"""``prunelimit measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import DataConfig, MeasureConfig, ModelConfig, RunConfig

from .options import (
    CHECKPOINT,
    CURVE_CSV,
    DATA,
    MEASURE,
    NETWORK,
    RUN,
    build,
    cli_command,
    document_options,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled_result


@cli_command(
    "measure",
    CHECKPOINT,
    NETWORK,
    DATA,
    MEASURE,
    RUN,
    document_options(figures_of="measure"),
    CURVE_CSV,
    general_options(),
    examples=(
        "prunelimit measure lenet.safetensors --plot curve.pdf",
        "prunelimit measure lenet.safetensors --survivors trained -o measure.json",
    ),
)
def command(checkpoint: Path, csv_path: Path | None, **given: Any) -> None:
    """Measure accuracy and loss against sparsity, and the thresholds.

    CKPT is a checkpoint; one written by prunelimit names its own network and data.
    """
    outputs = Outputs.of(given, csv_path, inputs=(checkpoint,))
    from prunelimit.commands.measure import measure
    from prunelimit.reports.tables import measure_table

    from .exports import write_csv

    with outputs.progress() as progress:
        result = measure(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(MeasureConfig, given),
            progress=progress,
        )
    outputs.draw(result)
    if csv_path is not None:
        write_csv(result, csv_path, force=outputs.force)
    outputs.document(result, outputs.output)
    outputs.show(measure_table(spelled_result(result)))
