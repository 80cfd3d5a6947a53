"""``prunelimit measure``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from prunelimit.config import DataConfig, MeasureConfig, ModelConfig, RunConfig, SensitivityConfig
from prunelimit.errors import UsageError

from .command import keep_on_interrupt
from .options import (
    CHECKPOINT,
    CURVE_CSV,
    DATA,
    MEASURE,
    NETWORK,
    RUN,
    build,
    cli_command,
    document_options,
    flag,
    general_options,
)
from .outputs import Outputs
from .spelling import spelled_result


@cli_command(
    "measure",
    CHECKPOINT,
    NETWORK,
    DATA,
    MEASURE,
    flag(
        "Measurement",
        "--per-layer",
        "Measure every layer alone, with nothing else pruned. Written with -o, its curves are an "
        "allocation: targets:FILE.json.",
    ),
    RUN,
    document_options(figures_of="measure"),
    CURVE_CSV,
    flag("Output", "--resume", "Go on with an interrupted measurement, if there is one."),
    general_options(),
    examples=(
        "prunelimit measure lenet.safetensors --plot curve.pdf",
        "prunelimit measure lenet.safetensors --survivors trained -o measure.json",
        "prunelimit measure lenet.safetensors --per-layer -o layers.json",
    ),
)
def command(
    checkpoint: Path, csv_path: tuple[Path, ...], per_layer: bool, resume: bool, **given: Any
) -> None:
    """Measure accuracy and loss against sparsity, and the thresholds.

    A threshold is the largest sparsity at which the network still meets a tolerance: of loss, or of
    accuracy. With trained survivors, the loss threshold is called feasibility. After Ctrl-C,
    networks whose survivors were trained or moved are kept; with -o, --resume continues. CKPT is a
    checkpoint. One written by prunelimit names its own network and data.
    """
    if per_layer:
        if resume:
            raise UsageError("--per-layer keeps no unfinished work; leave out --resume.")
        _layers(checkpoint, csv_path, given)
        return
    outputs = Outputs.of(given, *csv_path, inputs=(checkpoint,))
    if resume and outputs.output is None:
        raise UsageError("--resume needs the -o FILE.json of the interrupted measurement.")
    from prunelimit.commands.measure import measure
    from prunelimit.reports.terminal.measure import measure_table
    from prunelimit.storage.files import resume_path
    from prunelimit.storage.resume import discard_finished

    from .exports import write_csv

    state = None if outputs.output is None else resume_path(outputs.output)
    if state is not None:
        keep_on_interrupt(
            [state], "what is done is kept; run the same command with --resume to go on"
        )
    with outputs.progress() as progress:
        result = measure(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(MeasureConfig, given),
            state=state,
            resume=resume,
            force=outputs.force,
            progress=progress,
        )
    outputs.document(result, outputs.output)
    for path in csv_path:
        write_csv(result, path, force=outputs.force)
    outputs.show(measure_table(spelled_result(result)))
    outputs.draw(result)
    if state is not None:
        discard_finished(state, "measurement")


def _layers(checkpoint: Path, csv_path: tuple[Path, ...], given: dict[str, Any]) -> None:
    """Every layer alone."""
    used = {field.name for field in dataclasses.fields(SensitivityConfig)}
    asked = build(MeasureConfig, given)
    for field in dataclasses.fields(MeasureConfig):
        if field.name not in used and getattr(asked, field.name) != getattr(
            MeasureConfig(), field.name
        ):
            raise UsageError(
                "--per-layer prunes one layer at a time by a criterion and changes nothing else; "
                f"leave out `{field.name}`."
            )
    config = build(SensitivityConfig, given)
    outputs = Outputs.of({**given, "figure": "sensitivity"}, *csv_path, inputs=(checkpoint,))
    from prunelimit.commands.sensitivity import sensitivity
    from prunelimit.reports.terminal.sensitivity import sensitivity_table

    from .exports import write_layers

    with outputs.progress() as progress:
        result = sensitivity(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            config,
            progress=progress,
        )
    outputs.document(result, outputs.output)
    for path in csv_path:
        write_layers(result, path, force=outputs.force)
    outputs.show(sensitivity_table(spelled_result(result)))
    outputs.draw(result)
