"""``prunelimit init``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import cli_command, general_options, titled
from .outputs import Outputs

OUTPUT = titled(
    "Output",
    ["output", "-o", "--output"],
    metavar="FILE.py",
    type=click.Path(path_type=Path),
    default=Path("net.py"),
    show_default=True,
    help="Write the template here.",
)


@cli_command("init", OUTPUT, general_options(), examples=("prunelimit init -o net.py",))
def command(output: Path, **given: Any) -> None:
    """Write a commented template for your own network and data.

    The template runs as it is, on tiny data. Replace what network() and data() return. loss() and
    metric() are optional.
    """
    outputs = Outputs.of(given, output)
    from prunelimit.commands.init import init, next_commands

    init(output, force=outputs.force)
    train, predict = next_commands(output)
    outputs.show(
        f"{output} is written. Replace what network() and data() return, then:",
        f"    {predict}",
        "Without a checkpoint of yours, make one first:",
        f"    {train}",
    )
