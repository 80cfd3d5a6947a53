"""``prunelimit export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import DataConfig, ExportConfig, ModelConfig, RunConfig

from .options import (
    CHECKPOINT,
    DATA,
    EXPORT,
    NETWORK,
    RUN,
    build,
    cli_command,
    exported_options,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled_result


@cli_command(
    "export",
    CHECKPOINT,
    exported_options(".safetensors, .pt, .pth, .pt.gz, or .onnx"),
    EXPORT,
    NETWORK,
    DATA,
    RUN,
    general_options(),
    examples=(
        "prunelimit export pruned.pt -o small.safetensors --format bitmask",
        "prunelimit export pruned.safetensors -o pruned.onnx",
    ),
)
def command(checkpoint: Path, output: Path, **given: Any) -> None:
    """Write a checkpoint in a format that others read.

    The weights stay the same, bit for bit. The suffix of the output chooses the file format.
    --format chooses how matrices with zeros are stored in it; densify makes them plain again. Only
    .onnx needs the network and data. It is run in onnxruntime before it is written. A checkpoint
    written by prunelimit names its own network and data.
    """
    outputs = Outputs.of(given, output, inputs=(checkpoint,))
    from prunelimit.commands.export import export
    from prunelimit.reports.terminal.export import export_table

    result = export(
        checkpoint,
        build(ModelConfig, given),
        build(DataConfig, given),
        build(RunConfig, given),
        build(ExportConfig, given),
        output,
        force=outputs.force,
    )
    outputs.document(result)
    outputs.show(export_table(spelled_result(result)))
