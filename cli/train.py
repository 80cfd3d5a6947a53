"""``prunelimit train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import DataConfig, ModelConfig, RunConfig, TrainConfig

from .command import keep_on_interrupt
from .options import (
    DATA,
    RUN,
    TRAIN,
    Section,
    build,
    checkpoint_options,
    cli_command,
    flag,
    general_options,
    path_option,
)
from .outputs import Outputs
from .spelling import spelled_result

NETWORK = Section("Network", ModelConfig, without=("trust_pickle", "key"))
START = path_option(
    "Network", ["--start"], "CKPT", "Start at the weights of this checkpoint, such as a pruned one."
)
RESUME = flag("Training", "--resume", "Go on with an interrupted training, if there is one.")


@cli_command(
    "train",
    NETWORK,
    START,
    DATA,
    TRAIN,
    RESUME,
    RUN,
    checkpoint_options("model.safetensors"),
    general_options(),
    examples=(
        "prunelimit train -m lenet-300-100 -d digits --l1 3e-4 -o lenet.safetensors",
        "prunelimit train --start pruned.safetensors --keep-zeros --seed 1 -o again.safetensors",
    ),
)
def command(output: Path, start: Path | None, resume: bool, **given: Any) -> None:
    """Train a network with l1, if you have no checkpoint.

    Training is by SGD with momentum and a cosine schedule. --sharpness looks for a flat minimum.
    The checkpoint names its own network and data, so other commands need only its path.
    """
    outputs = Outputs.of(given, output, inputs=() if start is None else (start,))
    from prunelimit.commands.train import train
    from prunelimit.reports.terminal.train import train_table
    from prunelimit.storage.files import resume_path

    keep_on_interrupt(
        [resume_path(output)],
        "the epochs done are kept; run the same command with --resume to go on",
    )
    with outputs.progress() as progress:
        result = train(
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(TrainConfig, given),
            output,
            start=start,
            force=outputs.force,
            resume=resume,
            progress=progress,
        )
    outputs.document(result)
    outputs.show(train_table(spelled_result(result)))
