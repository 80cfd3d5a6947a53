"""``measure --per-layer``: checkpoint + data -> the curve of every layer alone."""

from __future__ import annotations

from pathlib import Path

from ..config import DataConfig, ModelConfig, RunConfig, SensitivityConfig
from ..inputs.load import Loaded, load
from ..measurement.per_layer import per_layer
from ..progress import Progress, silent
from ..results.sensitivity import SensitivityResult
from .provenance import Recorder

__all__ = ["sensitivity", "sensitivity_loaded"]


def sensitivity(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    config: SensitivityConfig,
    *,
    progress: Progress = silent,
) -> SensitivityResult:
    """The layers of the network in ``checkpoint``.

    Raises:
        PruneLimitError: see its subclasses.
    """
    recorder = Recorder("sensitivity", run, model, data, config)
    loaded = load(checkpoint, model, data, run)
    return sensitivity_loaded(loaded, config, recorder, progress=progress)


def sensitivity_loaded(
    loaded: Loaded,
    config: SensitivityConfig,
    recorder: Recorder,
    *,
    progress: Progress = silent,
) -> SensitivityResult:
    """:func:`sensitivity` for a problem that is loaded already."""
    found = per_layer(loaded.problem, config, progress=progress)
    return SensitivityResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        criterion=config.criterion,
        dense=found.dense,
        epsilon=found.epsilon,
        tolerance=config.tolerance,
        layers=found.layers,
    )
