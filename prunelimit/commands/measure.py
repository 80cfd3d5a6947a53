"""``measure``: checkpoint + data -> accuracy and loss against sparsity, and the thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import measurement as measuring
from ..config import DataConfig, MeasureConfig, ModelConfig, RunConfig
from ..inputs.load import Loaded, load
from ..progress import Progress, silent
from ..results.types import MeasureResult
from ..storage.resume import claim_or_discard
from ..storage.steps import Steps
from .predict import inputs_of
from .provenance import Recorder

__all__ = ["measure", "measure_loaded"]


def measure(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    config: MeasureConfig,
    *,
    state: Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> MeasureResult:
    """The thresholds of the network in ``checkpoint``.

    Networks whose survivors are trained or moved take long. Each is kept in the folder ``state``,
    which the caller removes once the result is written. ``resume`` goes on with those there, to the
    same numbers; ``force`` throws them away.

    Raises:
        OutputError: a state exists, and neither ``resume`` nor ``force`` says what to do with it.
        UsageError: the state is of other inputs or options.
        PruneLimitError: see its subclasses.
    """
    recorder = Recorder("measure", run, model, data, config)
    if state is not None:
        claim_or_discard(state, "measurement", resume=resume, force=force, folder=True)
    loaded = load(checkpoint, model, data, run)
    steps = Steps()
    if state is not None:
        owner = {**inputs_of(loaded, model, data, run), **config.echo()}
        steps = Steps.open(state, "measurement", owner, resume=True, force=False)
    return measure_loaded(loaded, config, recorder, steps=steps, progress=progress)


def measure_loaded(
    loaded: Loaded,
    config: MeasureConfig,
    recorder: Recorder,
    *,
    steps: Steps | None = None,
    progress: Progress = silent,
    also: Sequence[float] = (),
) -> MeasureResult:
    """:func:`measure` for a problem that is loaded already; the sparsities ``also`` are
    measured in any case. Networks that take long are kept in ``steps``."""
    found = measuring.measure(loaded.problem, config, steps=steps, progress=progress, also=also)
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
