"""``prunelimit regime``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunelimit.config import DataConfig, ModelConfig, RegimeConfig, RunConfig

from .options import (
    DATA,
    NETWORK,
    REGIME,
    RUN,
    build,
    cli_command,
    document_options,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled_result

CHECKPOINTS = click.Argument(
    ["checkpoints"], metavar="CKPT...", nargs=-1, type=click.Path(path_type=Path)
)


@cli_command(
    "regime",
    CHECKPOINTS,
    NETWORK,
    DATA,
    REGIME,
    RUN,
    document_options(),
    general_options(),
    examples=(
        "prunelimit train --start pruned.safetensors --keep-zeros --seed 1 -o one.safetensors",
        "prunelimit regime one.safetensors two.safetensors",
    ),
)
def command(checkpoints: tuple[Path, ...], **given: Any) -> None:
    """Say whether to train pruned networks longer, hotter or cooler.

    CKPT... are two or more checkpoints of one pruned network, trained again from different seeds.
    The regime follows from the error on the straight line between them and from how alike their
    outputs are (Zhou et al. 2023). The advice is to train longer, hotter or cooler.
    """
    outputs = Outputs.of(given, inputs=checkpoints)
    from prunelimit.commands.regime import regime
    from prunelimit.reports.terminal.regime import regime_table

    with outputs.progress() as progress:
        result = regime(
            checkpoints,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(RegimeConfig, given),
            progress=progress,
        )
    outputs.document(result, outputs.output)
    outputs.show(regime_table(spelled_result(result)))
