"""``prunelimit demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import cli_command, flag, general_options, titled
from .outputs import Outputs

DIRECTORY = titled(
    "Output",
    ["directory", "-o", "--output"],
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("prunelimit-demo"),
    show_default=True,
    help="Folder to leave everything in.",
)
SEED = titled(
    "Computation",
    ["--seed"],
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of everything random.",
)


@cli_command(
    "demo",
    DIRECTORY,
    SEED,
    flag("Output", "--json", "Print the result as JSON, and nothing else, on stdout."),
    general_options(),
)
def command(directory: Path, seed: int, **given: Any) -> None:
    """Train, predict, prune, measure and compare on embedded data.

    The handwritten digits come with scikit-learn: no download, no GPU, about a minute. Leaves a
    folder with the checkpoints, the JSON files, the plots and a report.
    """
    outputs = Outputs.of(given)
    from prunelimit.pipeline.demo import demo, story

    with outputs.progress() as progress:
        result = demo(directory, force=outputs.force, seed=seed, progress=progress)
    outputs.document(result)
    outputs.show(story(result))
