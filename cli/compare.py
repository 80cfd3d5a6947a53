"""``prunelimit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import (
    CompareConfig,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
)
from prunelimit.errors import UsageError

from .command import Interrupted, keep_on_interrupt
from .options import (
    CHECKPOINT,
    COMPARE,
    CURVATURE,
    CURVE_CSV,
    DATA,
    LIMIT_BESIDE,
    NETWORK,
    OTHER_TOLERANCE,
    RUN,
    Section,
    build,
    cli_command,
    document_options,
    flag,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled_result

MEASURE = Section(
    "Measurement", MeasureConfig, without=("criterion", "allocation", "pattern", "survivors")
)
"""--methods names several; --tolerance is that of accuracy, that of the limit keeps its default."""


@cli_command(
    "compare",
    CHECKPOINT,
    COMPARE,
    NETWORK,
    DATA,
    MEASURE,
    LIMIT_BESIDE,
    CURVATURE,
    RUN,
    document_options(figures_of="compare", strict=True),
    CURVE_CSV,
    flag("Output", "--resume", "Go on with an interrupted comparison, if there is one."),
    general_options(),
    examples=(
        "prunelimit compare lenet.safetensors --methods magnitude,wanda/rows,magnitude+staged",
        "prunelimit compare lenet.safetensors --predicted predict.json --plot methods.pdf",
    ),
)
def command(checkpoint: Path, csv_path: tuple[Path, ...], resume: bool, **given: Any) -> None:
    """Measure pruning methods side by side against the limit.

    Gives the thresholds of every method on the same network and test samples, how far each stays
    below the limit, and what it cost. The limit is predicted once, or read from --predicted. After
    Ctrl-C, finished methods are kept; with -o, --resume continues. CKPT is a checkpoint. One
    written by prunelimit names its own network and data.
    """
    from prunelimit.storage.files import part_path, resume_path

    force = given["force"]
    state = None if given["output"] is None else resume_path(given["output"])
    if resume and state is None:
        raise UsageError("--resume needs the -o FILE.json of the interrupted comparison.")
    if resume and state is not None and state.exists():
        given["force"] = True  # the file holds the methods done
    config = build(CompareConfig, given)
    read = () if config.predicted is None else (Path(config.predicted),)
    outputs = Outputs.of(given, *csv_path, inputs=(checkpoint, *read))
    from prunelimit.commands.compare import compare
    from prunelimit.reports.terminal.compare import compare_table

    from .exports import write_curves

    if state is not None:
        keep_on_interrupt(
            [state, *(part_path(state, each) for each in ("prediction", "method"))],
            "what is done is kept; run the same command with --resume to go on",
        )
    with outputs.progress() as progress:
        result = compare(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(CurvatureConfig, given),
            build(LimitConfig, given, without=OTHER_TOLERANCE),
            build(MeasureConfig, given),
            config,
            state=state,
            resume=resume,
            force=force,
            progress=progress,
        )
    outputs.document(result, outputs.output)
    for path in csv_path:
        write_curves(result, path, force=outputs.force)
    outputs.show(compare_table(spelled_result(result)))
    outputs.draw(result)
    if result.interrupted:
        holds = "these are" if state is None else f"{outputs.output} holds"
        on = "" if state is None else "; run the same command with --resume to go on"
        raise Interrupted(f"Interrupted; {holds} the methods done{on}.")
    if state is not None:
        state.unlink(missing_ok=True)
    outputs.demand(result.reliability)
