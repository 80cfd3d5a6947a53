"""``prunelimit prune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunelimit.config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
)

from .command import keep_on_interrupt
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
from .spelling import spelled_result

if TYPE_CHECKING:
    from prunelimit.distributed import Group

STRICT = flag(
    "Output", "--strict", "Exit with 4 when --amount auto rests on an unreliable estimate."
)


RESUME = flag("Output", "--resume", "Go on with an interrupted pruning, if there is one.")


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
    RESUME,
    general_options(),
    examples=(
        "prunelimit prune lenet.safetensors -o pruned.pt",
        "prunelimit prune lenet.safetensors --within 0.5pp --survivors staged -o pruned.pt.gz",
    ),
)
def command(checkpoint: Path, output: Path, resume: bool, **given: Any) -> None:
    """Remove weights and write the pruned checkpoint.

    Four choices are independent. --criterion scores the weights, and the lowest are removed.
    --allocation divides the removal among layers. --pattern restricts the shape of the mask.
    --survivors says how the weights that stay are adapted. The amount is predicted, unless you give
    --amount or --within. Removed weights are zeros in the file. That saves disk, but a CPU or GPU
    runs an unstructured sparse network no faster. After Ctrl-C, --resume continues. Under torchrun,
    processes share the prediction and, with compensated or staged survivors, the inputs.
    """
    from prunelimit.distributed import join, local_device

    with join(given["device"]) as group:
        if group.rank > 0:  # the first process speaks for all
            given = {**given, "json": False, "quiet": True}
        given["device"] = local_device(given["device"], group)
        _prune(checkpoint, output, resume, group, given)


def _prune(
    checkpoint: Path, output: Path, resume: bool, group: Group, given: dict[str, Any]
) -> None:
    outputs = Outputs.of(given, output, inputs=(checkpoint,))
    from prunelimit.commands.prune import prune
    from prunelimit.reports.terminal.prune import prune_table
    from prunelimit.storage.files import resume_path

    keep_on_interrupt(
        [resume_path(output), resume_path(output, "prediction")],
        "what is done is kept; run the same command with --resume to go on",
    )
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
            resume=resume,
            group=group,
            progress=progress,
        )
    outputs.document(result)
    outputs.show(prune_table(spelled_result(result), verbose=given["verbose"]))
    outputs.demand(result.reliability)
