"""``compare``: methods side by side on one network, against its limit."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from ..config import (
    CompareConfig,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
)
from ..estimation.epsilon import tolerance_of
from ..gate import distances, require_same
from ..inputs.load import Loaded, load
from ..inputs.problem import Problem, evaluate
from ..measurement import measure
from ..progress import Progress, silent
from ..results.serialization import from_json, to_json
from ..results.soundness import read
from ..results.types import CompareResult, Cost, Dense, Limit, MethodResult, PredictResult
from ..storage.files import part_path, read_json
from ..storage.resume import Resumable, claim_or_discard
from ..storage.steps import Steps
from ..values import EpsilonRule
from .predict import inputs_of, open_store, predict_loaded
from .provenance import Recorder

__all__ = ["compare", "compare_loaded", "compared"]


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
    state: Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> CompareResult:
    """Measure every method of ``config`` on the network in ``checkpoint``.

    The limit is predicted once, or read from ``config.predicted``. That file must be about the same
    network, data and loss tolerance. Then ``curvature`` has no effect, nor has ``limit`` but for
    the loss tolerance. The method in ``measurement`` never has an effect.

    A KeyboardInterrupt ends it with the methods done, if there is one. The limit and every method
    done are kept at ``state``, which the caller removes once the result is written. ``resume`` goes
    on with that state, to the same numbers; ``force`` throws it away. Unfinished work of the
    prediction and of the present method is kept beside it until they end.

    Raises:
        OutputError: a state exists, and neither ``resume`` nor ``force`` says what to do with it.
        UsageError: the state is of other inputs or options.
        PruneLimitError: see its subclasses; a method or setting that makes no sense is refused
            before anything is computed.
    """
    recorder = Recorder("compare", run, model, data, curvature, limit, measurement, config)
    settings = _settings(measurement, config)
    predicted = None
    if config.predicted is not None:
        predicted = read(PredictResult, read_json(Path(config.predicted)), config.predicted)
    if state is not None:
        claim_or_discard(state, "comparison", resume=resume, force=force)
    loaded = load(checkpoint, model, data, run)
    kept = found = store = None
    steps = Steps()
    if state is not None:
        owner = {
            **inputs_of(loaded, model, data, run),
            **_owner(loaded, config, limit, measurement, curvature),
        }
        kept = Resumable(state, "comparison", owner)
        found = kept.restored(partial(from_json, CompareResult))
        # Remove what finished parts have left of their own states too.
        steps = Steps.open(
            part_path(state, "method"), "comparison", owner, resume=resume, force=force
        )
        store = open_store(
            part_path(state, "prediction"), loaded, model, data, run, curvature,
            resume=resume, force=force,
        )  # fmt: skip
    if found is None:
        if predicted is None:
            inner = Recorder("predict", run, model, data, curvature, limit)
            predicted = predict_loaded(
                loaded, curvature, limit, inner, store=store, progress=progress
            )
        found = _begun(loaded, predicted, settings[0].epsilon, recorder)
        if kept is not None:
            kept.save(to_json(found))
    if store is not None:
        store.discard()
    found = _measured(loaded, found, settings, kept, steps, progress)
    return dataclasses.replace(found, provenance=recorder.finish())


def compare_loaded(
    loaded: Loaded,
    predicted: PredictResult,
    measurement: MeasureConfig,
    config: CompareConfig,
    recorder: Recorder,
    *,
    progress: Progress = silent,
) -> CompareResult:
    """:func:`compare` for a problem that is loaded already, against a limit predicted already."""
    settings = _settings(measurement, config)
    found = _begun(loaded, predicted, settings[0].epsilon, recorder)
    found = _measured(loaded, found, settings, None, Steps(), progress)
    return dataclasses.replace(found, provenance=recorder.finish())


def _settings(measurement: MeasureConfig, config: CompareConfig) -> tuple[MeasureConfig, ...]:
    """One measurement for every method."""
    return tuple(
        dataclasses.replace(
            measurement,
            criterion=each.criterion,
            allocation=each.allocation,
            pattern=each.pattern,
            survivors=each.survivors,
        )
        for each in config.methods
    )


def _begun(
    loaded: Loaded, predicted: PredictResult, epsilon: EpsilonRule, recorder: Recorder
) -> CompareResult:
    """The comparison with the limit, and no method yet."""
    problem = loaded.problem
    train = evaluate(problem, problem.train)
    tolerance = tolerance_of(problem, epsilon, train)
    # The methods take long, so a limit that does not belong to them is refused before.
    require_same(predicted, loaded.model_info, loaded.data_info, tolerance)
    return CompareResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        dense=Dense(loss=train.loss, accuracy=evaluate(problem, problem.test).accuracy),
        epsilon=tolerance,
        limit=predicted.limit,
        limit_cost=Cost(
            products=predicted.curvature.products,
            samples=predicted.curvature.samples,
            epochs=0,
            seconds=predicted.provenance.wall_seconds,
        ),
        reliability=predicted.reliability,
        methods=(),
        interrupted=True,
    )


def _measured(
    loaded: Loaded,
    found: CompareResult,
    settings: tuple[MeasureConfig, ...],
    kept: Resumable | None,
    steps: Steps,
    progress: Progress,
) -> CompareResult:
    """``found`` with the methods of ``settings`` that it lacks: all of them, or those done before
    an interrupt."""
    for number, config in enumerate(settings[len(found.methods) :], len(found.methods) + 1):
        own = steps.under(f"method {number}")
        try:
            method = compared(loaded.problem, config, found.limit, steps=own, progress=progress)
            found = dataclasses.replace(found, methods=(*found.methods, method))
            if kept is not None:
                kept.save(to_json(found))
                steps.discard()
        except KeyboardInterrupt:
            if not found.methods:
                raise
            return found
    return dataclasses.replace(found, interrupted=False)


def compared(
    problem: Problem,
    config: MeasureConfig,
    limit: Limit,
    *,
    steps: Steps | None = None,
    progress: Progress = silent,
) -> MethodResult:
    """The method of ``config`` measured on the network, with the distances of its thresholds to
    ``limit``. Networks that take long are kept in ``steps``."""

    def named(stage: str, done: int, total: int, note: str = "") -> None:
        progress(f"{config.method.name}: {stage}", done, total, note)

    measured = measure(problem, config, steps=steps, progress=named)
    return MethodResult(
        method=config.method.name,
        curve=measured.curve,
        thresholds=distances(limit, measured.thresholds),
        allocation=measured.allocation,
        calibration=measured.calibration,
        cost=measured.cost,
        witness=measured.witness,
    )


def _owner(
    loaded: Loaded,
    config: CompareConfig,
    limit: LimitConfig,
    measurement: MeasureConfig,
    curvature: CurvatureConfig,
) -> dict[str, Any]:
    """The options that the numbers depend on."""
    predicted = None
    if config.predicted is not None:
        predicted = hashlib.sha256(Path(config.predicted).read_bytes()).hexdigest()
    return {
        **curvature.echo(),
        **measurement.echo(),
        **{f"limit's {name}": value for name, value in limit.echo().items()},
        "data set": dataclasses.asdict(loaded.data_info),
        "methods": [each.name for each in config.methods],
        "predicted": predicted,
    }
