"""``compare``: methods side by side on one network, against its limit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..compare import distances, require_same
from ..config import (
    CompareConfig,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
)
from ..epsilon import loss_tolerance
from ..errors import UsageError
from ..files import read_json
from ..inputs.load import Loaded, load
from ..inputs.problem import evaluate
from ..measure import check_measure, measure
from ..progress import Progress, silent
from ..results import CompareResult, Cost, MethodResult, PredictResult, from_json
from .predict import predict_loaded
from .provenance import Recorder

__all__ = ["compare", "compare_loaded", "parse_methods"]


def parse_methods(text: str) -> tuple[str, ...]:
    """``"one-shot,refit"`` as names, each once, in their order.

    Raises:
        UsageError: a name is missing.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(
            f"--methods {text!r} is not understood; give names as one-shot,compensated,refit."
        )
    return tuple(dict.fromkeys(names))


def compare(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    limit: LimitConfig,
    measurement: MeasureConfig,
    config: CompareConfig,
    *,
    progress: Progress = silent,
) -> CompareResult:
    """Measure every method of ``config`` on the network in ``checkpoint``.

    The limit is predicted once, or read from ``config.predicted``, which must be about the same
    network, data and loss tolerance; ``curvature`` and what of ``limit`` is not the loss tolerance
    then have no effect, nor has ``measurement.method`` ever.

    Raises:
        PruneLimitError: see its subclasses; a method or setting that makes no sense is refused
            before anything is computed.
    """
    recorder = Recorder("compare", run, model, data, curvature, limit, measurement, config)
    settings = _settings(measurement, config)
    predicted = None
    if config.predicted is not None:
        predicted = from_json(PredictResult, read_json(Path(config.predicted)), config.predicted)
    loaded = load(checkpoint, model, data, run)
    if predicted is None:
        inner = Recorder("predict", run, model, data, curvature, limit)
        predicted = predict_loaded(loaded, curvature, limit, inner, progress=progress)
    return compare_loaded(loaded, predicted, settings, recorder, progress=progress)


def _settings(measurement: MeasureConfig, config: CompareConfig) -> tuple[MeasureConfig, ...]:
    """One measurement for every method, each with settings that make sense."""
    methods = parse_methods(config.methods)
    settings = tuple(dataclasses.replace(measurement, method=name) for name in methods)
    for each in settings:
        check_measure(each)
    return settings


def compare_loaded(
    loaded: Loaded,
    predicted: PredictResult,
    settings: tuple[MeasureConfig, ...],
    recorder: Recorder,
    *,
    progress: Progress = silent,
) -> CompareResult:
    """:func:`compare` for a problem that is loaded already, its limit, and a measurement for every
    method. A KeyboardInterrupt ends it with the methods done, where there is one."""
    problem = loaded.problem
    # The methods take long: what does not belong together is to be told before.
    losses = evaluate(problem, problem.train).losses
    epsilon = loss_tolerance(losses, settings[0].epsilon, problem.seed)
    require_same(predicted, loaded.model_info, loaded.data_info, epsilon)
    dense, interrupted = None, False
    methods: list[MethodResult] = []
    for config in settings:
        name = config.method

        def named(stage: str, done: int, total: int, note: str = "", name: str = name) -> None:
            progress(f"{name}: {stage}", done, total, note)

        try:
            found = measure(problem, config, progress=named)
        except KeyboardInterrupt:
            if not methods:
                raise
            interrupted = True
            break
        dense = found.dense
        methods.append(
            MethodResult(
                method=name,
                curve=found.curve,
                thresholds=distances(predicted, found.thresholds),
                refit_lr=found.refit_lr,
                allocation=found.allocation,
                calibration=found.calibration,
                cost=found.cost,
            )
        )
    assert dense is not None  # there is at least one method
    return CompareResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        dense=dense,
        epsilon=epsilon,
        limit=predicted.limit,
        limit_cost=Cost(
            products=predicted.curvature.products,
            samples=predicted.curvature.samples,
            epochs=0,
            seconds=predicted.provenance.wall_seconds,
        ),
        reliability=predicted.reliability,
        methods=tuple(methods),
        interrupted=interrupted,
    )
