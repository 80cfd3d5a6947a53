"""``check``: the prediction held against the measurement."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..config import (
    CheckConfig,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
)
from ..gate import compare, require_comparable
from ..inputs.load import load
from ..progress import Progress, silent
from ..results.types import CheckResult, MeasureResult, PredictResult
from .measure import measure_loaded
from .predict import predict_loaded
from .provenance import Recorder

__all__ = ["check_checkpoint", "check_results"]


def check_results(
    predicted: PredictResult, measured: MeasureResult, config: CheckConfig
) -> CheckResult:
    """The verdict on a prediction and a measurement made before.

    Raises:
        InputError: they are not about the same checkpoint, data or loss tolerance.
    """
    provenance = predicted.provenance
    run = RunConfig(seed=provenance.seed, device=provenance.device)
    return _verdict(predicted, measured, config, Recorder("check", run, config))


def check_checkpoint(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    limit: LimitConfig,
    measure: MeasureConfig,
    config: CheckConfig,
    *,
    progress: Progress = silent,
) -> tuple[CheckResult, PredictResult, MeasureResult]:
    """Predict and measure the network in ``checkpoint``, and compare: the verdict, and both that
    it is about.

    Raises:
        PruneLimitError: see its subclasses.
    """
    parts = (model, data, curvature, limit, measure, config)
    recorder = Recorder("check", run, *parts)
    require_comparable(measure.method, config)
    loaded = load(checkpoint, model, data, run)
    predicted = predict_loaded(
        loaded,
        curvature,
        limit,
        Recorder("predict", run, *parts[:4]),
        progress=progress,
    )
    measured = measure_loaded(
        loaded, measure, Recorder("measure", run, model, data, measure), progress=progress
    )
    return _verdict(predicted, measured, config, recorder), predicted, measured


def _verdict(
    predicted: PredictResult, measured: MeasureResult, config: CheckConfig, recorder: Recorder
) -> CheckResult:
    comparison = compare(predicted, measured, config)
    return CheckResult(
        provenance=recorder.finish(),
        model=predicted.model,
        **{f.name: getattr(comparison, f.name) for f in dataclasses.fields(comparison)},
    )
