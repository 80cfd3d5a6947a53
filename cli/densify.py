"""``prunelimit densify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import ModelConfig, RunConfig

from .options import CHECKPOINT, build, cli_command, exported_options, general_options, titled
from .outputs import Outputs
from .spelling import spelled_result

KEY = titled(
    "Network",
    ["key", "--key"],
    metavar="NAME",
    help="Where the state_dict lies in a file that holds several.",
)


@cli_command(
    "densify",
    CHECKPOINT,
    exported_options(".safetensors, .pt, .pth or .pt.gz"),
    KEY,
    general_options(),
    examples=("prunelimit densify small.safetensors -o plain.pt",),
)
def command(checkpoint: Path, output: Path, **given: Any) -> None:
    """Write a packed checkpoint as plain tensors, bit for bit.

    CKPT was written by export --format or prune --sparse, or is any other checkpoint.
    """
    outputs = Outputs.of(given, output, inputs=(checkpoint,))
    from prunelimit.commands.export import densify
    from prunelimit.reports.terminal.export import export_table

    result = densify(
        checkpoint, build(ModelConfig, given), RunConfig(), output, force=outputs.force
    )
    outputs.document(result)
    outputs.show(export_table(spelled_result(result)))
