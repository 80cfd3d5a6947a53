"""``prunelimit spectrum``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import CurvatureConfig, DataConfig, ModelConfig, RunConfig, SharpnessConfig

from .options import (
    CHECKPOINT,
    CURVATURE,
    DATA,
    NETWORK,
    RUN,
    SHARPNESS,
    build,
    cli_command,
    document_options,
    general_options,
    path_option,
)
from .outputs import Outputs
from .spelling import spelled_result

NPZ = path_option(
    "Output", ["--npz"], "FILE.npz", "Write Ritz values and quadrature weights as numpy arrays."
)


@cli_command(
    "spectrum",
    CHECKPOINT,
    NETWORK,
    DATA,
    CURVATURE,
    SHARPNESS,
    RUN,
    document_options(figures_of="spectrum"),
    NPZ,
    general_options(),
    examples=(
        "prunelimit spectrum lenet.safetensors --plot density.pdf",
        "prunelimit spectrum lenet.safetensors --alpha 2 --by-layer",
    ),
)
def command(checkpoint: Path, npz: Path | None, **given: Any) -> None:
    """Estimate the spectrum of the curvature of the training loss.

    Gives the extreme eigenvalues, the share of negative ones, and a table of measures of sharpness,
    each with its error. CKPT is a checkpoint. One written by prunelimit names its own network and
    data.
    """
    outputs = Outputs.of(given, npz, inputs=(checkpoint,))
    from prunelimit.commands.spectrum import spectrum
    from prunelimit.reports.terminal.spectrum import spectrum_table

    from .exports import write_npz

    with outputs.progress() as progress:
        result = spectrum(
            checkpoint,
            build(ModelConfig, given),
            build(DataConfig, given),
            build(RunConfig, given),
            build(CurvatureConfig, given),
            build(SharpnessConfig, given),
            progress=progress,
        )
    outputs.document(result, outputs.output)
    if npz is not None:
        write_npz(result, npz, force=outputs.force)
    outputs.show(spectrum_table(spelled_result(result)))
    outputs.draw(result)
