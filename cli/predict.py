"""``prunelimit predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig

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
    general_options,
)
from .outputs import Outputs


@cli_command(
    "predict",
    CHECKPOINT,
    NETWORK,
    DATA,
    LIMIT,
    CURVATURE,
    RUN,
    document_options(plot="predicted width against removed radius", strict=True),
    general_options(),
)
def command(checkpoint: Path, **given: Any) -> None:
    """Predict how many weights can be removed in one shot.

    Gives the limit with its interval, and says whether it can be trusted and on what evidence.
    CKPT is a checkpoint; one written by prunelimit names its own network and data.
    """
    outputs = Outputs.of(given, inputs=(checkpoint,))
    from prunelimit.pipeline.predict import predict
    from prunelimit.report.plots import plot_limit
    from prunelimit.report.tables import predict_table

    with outputs.progress() as progress:
        result = predict(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(CurvatureConfig, given),
            build(LimitConfig, given),
            progress=progress,
        )
    outputs.draw(lambda path: plot_limit(result, path))
    outputs.document(result, outputs.output)
    outputs.show(predict_table(result))
    outputs.demand(result.reliability)
