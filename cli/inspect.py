"""``prunelimit inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .options import CHECKPOINT, cli_command, document_options, general_options, titled
from .outputs import Outputs

KEY = titled(
    "Network",
    ["key", "--key"],
    metavar="NAME",
    help="Where in the file the state_dict lies that is meant, where there are several.",
)


@cli_command("inspect", CHECKPOINT, KEY, document_options(), general_options())
def command(checkpoint: Path, key: str | None, **given: Any) -> None:
    """Say what a checkpoint holds, without running anything of it.

    Tensors and their types, weights that are tied or zero already, what it would run on loading,
    the accuracy it claims, the built-in network it looks like, and which of its matrices would be
    pruned. CKPT is a file, or a folder of Hugging Face.
    """
    outputs = Outputs.of(given, inputs=(checkpoint,))
    from prunelimit.commands.inspect import inspect
    from prunelimit.reports.inspection import inspect_table

    result = inspect(checkpoint, key)
    outputs.document(result, outputs.output)
    outputs.show(inspect_table(result))
