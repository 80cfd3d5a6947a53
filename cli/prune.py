"""``prunelimit prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
)

from .options import (
    CHECKPOINT,
    CURVATURE,
    DATA,
    LIMIT,
    NETWORK,
    PRUNE,
    RUN,
    build,
    checkpoint_options,
    cli_command,
    flag,
    general_options,
)
from .outputs import Outputs

STRICT = flag(
    "Output", "--strict", "Exit with 4 when --amount auto rests on an unreliable estimate."
)


@cli_command(
    "prune",
    CHECKPOINT,
    NETWORK,
    DATA,
    PRUNE,
    LIMIT,
    CURVATURE,
    RUN,
    checkpoint_options("pruned.safetensors"),
    STRICT,
    general_options(),
)
def command(checkpoint: Path, output: Path, **given: Any) -> None:
    """Remove the smallest weights, all layers together, and write the pruned checkpoint.

    The removed weights are zeros in the file: it takes less disk, but a CPU or GPU does not run an
    unstructured sparse network any faster.
    """
    outputs = Outputs.of(given, output, inputs=(checkpoint,))
    from prunelimit.pipeline.prune import prune
    from prunelimit.report.tables import prune_table

    with outputs.progress() as progress:
        result = prune(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(CurvatureConfig, given),
            build(LimitConfig, given),
            build(PruneConfig, given),
            output,
            force=outputs.force,
            progress=progress,
        )
    outputs.document(result)
    outputs.show(prune_table(result))
    outputs.demand(result.reliability)
