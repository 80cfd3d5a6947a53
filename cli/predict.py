"""``prunelimit predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunelimit.config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    ModelConfig,
    RunConfig,
)
from prunelimit.errors import UsageError

from .command import Interrupted, interruptible, keep_on_interrupt
from .options import (
    CHECKPOINT,
    CURVATURE,
    DATA,
    LIMIT,
    NETWORK,
    RUN,
    build,
    cli_command,
    document_options,
    flag,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled, spelled_result

if TYPE_CHECKING:
    from prunelimit.distributed import Group


@cli_command(
    "predict",
    CHECKPOINT,
    NETWORK,
    DATA,
    LIMIT,
    CURVATURE,
    RUN,
    document_options(figures_of="predict", strict=True),
    flag("Output", "--resume", "Go on with an interrupted prediction, if there is one."),
    flag("Output", "--dry-run", "Say what it would take, and do nothing."),
    general_options(),
    examples=(
        "prunelimit predict lenet.safetensors -o predict.json",
        "prunelimit predict mine.pt -m net.py:network -d net.py:data --max-seconds 300",
    ),
)
def command(checkpoint: Path, resume: bool, dry_run: bool, **given: Any) -> None:
    """Predict how sparse a network can be made.

    Gives two numbers, each with an interval. An unreliable one says why. Plain: up to here the loss
    stays within epsilon when the smallest weights are removed and nothing else changes. Limit: up
    to here some setting of the surviving weights keeps the loss within epsilon, so moving or
    training them can get there. Neither promises an accuracy. The commands to run next come last.

    CKPT is a checkpoint. One written by prunelimit names its own network and data. Ctrl-C ends with
    the estimate so far; with -o, --resume continues from there. Under torchrun, processes share the
    samples and vectors, and with --shard parameters the network too: torchrun --nproc-per-node 2 -m
    prunelimit predict CKPT
    """
    from prunelimit.storage.files import resume_path

    if dry_run:
        _plan(checkpoint, given)
        return
    force = given["force"]
    state = None if given["output"] is None else resume_path(given["output"])
    if resume and state is None:
        raise UsageError("--resume needs the -o FILE.json of the interrupted prediction.")
    if resume and state is not None and state.exists():
        given["force"] = True  # the file holds the estimate so far
    from prunelimit.distributed import join

    if state is not None:
        keep_on_interrupt(
            [state], "the products done are kept; run the same command with --resume to go on"
        )
    with join(given["device"], meshes=given["shard"] == "parameters") as group:
        if group.rank > 0:  # the first process speaks for all
            given = {**given, "output": None, "plot": None, "json": False, "quiet": True}
        _predict(checkpoint, state, resume, force, group, given)


def _plan(checkpoint: Path, given: dict[str, Any]) -> None:
    from prunelimit.estimation.plan import plan
    from prunelimit.inputs.load import load
    from prunelimit.reports.terminal.predict import plan_table

    outputs = Outputs.of({**given, "output": None, "plot": None}, inputs=(checkpoint,))
    loaded = load(
        checkpoint, build(ModelConfig, given), build(DataConfig, given), build(RunConfig, given)
    )
    found = plan(loaded.problem, build(CurvatureConfig, given), build(LimitConfig, given))
    outputs.show(plan_table(found, loaded.model_info.spec))


def _predict(
    checkpoint: Path,
    state: Path | None,
    resume: bool,
    force: bool,
    group: Group,
    given: dict[str, Any],
) -> None:
    outputs = Outputs.of(given, inputs=(checkpoint,))
    from prunelimit.commands.predict import predict
    from prunelimit.distributed import local_device
    from prunelimit.reports.terminal.predict import predict_table
    from prunelimit.storage.resume import discard_finished

    given["device"] = local_device(given["device"], group)
    with (
        outputs.progress() as progress,
        interruptible("Reading the limit from the work done; Ctrl-C again to stop.") as stop,
    ):
        result = predict(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(CurvatureConfig, given),
            build(LimitConfig, given),
            state=state,
            resume=resume,
            force=force,
            stop=stop,
            group=group,
            progress=progress,
        )
    outputs.document(result, outputs.output)
    finished = result.curvature.ended != "interrupted"
    if state is not None and finished and group.rank == 0:
        discard_finished(state, "run")
    shown = spelled_result(result)
    outputs.show(predict_table(shown, str(checkpoint), verbose=given["verbose"], spell=spelled))
    outputs.draw(result)
    if result.curvature.ended == "interrupted":
        left = "this is" if state is None else f"{given['output']} holds"
        on = "" if state is None else "; run the same command with --resume to go on"
        raise Interrupted(f"Interrupted; {left} the estimate so far{on}.")
    outputs.demand(result.reliability)
