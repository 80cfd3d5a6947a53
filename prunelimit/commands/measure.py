"""``measure``: checkpoint + data -> accuracy and loss against sparsity, and the thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import measurement as measuring
from ..config import DataConfig, MeasureConfig, ModelConfig, RunConfig
from ..inputs.load import Loaded, load
from ..progress import Progress, silent
from ..results.types import MeasureResult
from .provenance import Recorder

__all__ = ["measure", "measure_loaded"]


def measure(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    config: MeasureConfig,
    *,
    progress: Progress = silent,
) -> MeasureResult:
    """The thresholds of the network in ``checkpoint``.

    Raises:
        PruneLimitError: see its subclasses.
    """
    recorder = Recorder("measure", run, model, data, config)
    loaded = load(checkpoint, model, data, run)
    return measure_loaded(loaded, config, recorder, progress=progress)


def measure_loaded(
    loaded: Loaded,
    config: MeasureConfig,
    recorder: Recorder,
    *,
    progress: Progress = silent,
    also: Sequence[float] = (),
) -> MeasureResult:
    """:func:`measure` for a problem that is loaded already; the sparsities ``also`` are
    measured in any case."""
    found = measuring.measure(loaded.problem, config, progress=progress, also=also)
    return MeasureResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        method=config.method.name,
        dense=found.dense,
        epsilon=found.epsilon,
        curve=found.curve,
        thresholds=found.thresholds,
        allocation=found.allocation,
        calibration=found.calibration,
        cost=found.cost,
        witness=found.witness,
    )
