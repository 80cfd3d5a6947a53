"""``prunelimit inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import ModelConfig

from .options import (
    CHECKPOINT,
    Section,
    build,
    cli_command,
    document_options,
    general_options,
)
from .outputs import Outputs

NETWORK = Section("Network", ModelConfig, without=("trust_pickle",))


@cli_command("inspect", CHECKPOINT, NETWORK, document_options(), general_options())
def command(checkpoint: Path, **given: Any) -> None:
    """Say what a checkpoint holds, without running its code.

    It lists tensors and their types, and weights that are tied or zero already. It says what the
    file would run on loading, the accuracy it claims and the built-in network it looks like. It
    also lists the matrices that would be pruned, for the network that --model names or that it
    looks like. CKPT is a file, or a folder of Hugging Face.
    """
    outputs = Outputs.of(given, inputs=(checkpoint,))
    from prunelimit.commands.inspect import inspect
    from prunelimit.reports.terminal.inspect import inspect_table

    result = inspect(checkpoint, build(ModelConfig, given))
    outputs.document(result, outputs.output)
    outputs.show(inspect_table(result))
