"""``compare``: methods side by side on one network, against its limit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from ..errors import InputError, OutputError, UsageError
from ..files import read_json, write_json
from ..inputs.load import Loaded, load
from ..inputs.problem import evaluate
from ..measure import check_measure, measure
from ..progress import Progress, silent
from ..results import (
    CompareResult,
    Cost,
    Dense,
    MethodResult,
    PredictResult,
    from_json,
    to_json,
)
from .predict import predict_loaded
from .provenance import Recorder

__all__ = ["compare", "parse_methods"]


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
    state: Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> CompareResult:
    """Measure every method of ``config`` on the network in ``checkpoint``.

    The limit is predicted once, or read from ``config.predicted``, which must be about the same
    network, data and loss tolerance; ``curvature`` and what of ``limit`` is not the loss tolerance
    then have no effect, nor has ``measurement.method`` ever.

    A KeyboardInterrupt ends it with the methods done, where there is one. The limit and every
    method done lie at ``state``, to be removed by the caller once the result is written; ``resume``
    goes on with what lies there, to the same numbers, and ``force`` throws it away.

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
        predicted = from_json(PredictResult, read_json(Path(config.predicted)), config.predicted)
    if state is not None and state.exists() and not resume:
        _remove(state, force=force)
    loaded = load(checkpoint, model, data, run)
    kept = found = None
    if state is not None:
        kept = _State(
            state, _owner(loaded, config, run, model, data, curvature, limit, measurement)
        )
        found = kept.restored()
    if found is None:
        if predicted is None:
            inner = Recorder("predict", run, model, data, curvature, limit)
            predicted = predict_loaded(loaded, curvature, limit, inner, progress=progress)
        found = _begun(loaded, predicted, settings[0].epsilon, recorder)
        if kept is not None:
            kept.save(found)
    found = _measured(loaded, found, settings, kept, progress)
    return dataclasses.replace(found, provenance=recorder.finish())


def _settings(measurement: MeasureConfig, config: CompareConfig) -> tuple[MeasureConfig, ...]:
    """One measurement for every method, each with settings that make sense."""
    methods = parse_methods(config.methods)
    settings = tuple(dataclasses.replace(measurement, method=name) for name in methods)
    for each in settings:
        check_measure(each)
    return settings


def _begun(
    loaded: Loaded, predicted: PredictResult, epsilon: str, recorder: Recorder
) -> CompareResult:
    """The comparison with the limit, and no method yet."""
    problem = loaded.problem
    train = evaluate(problem, problem.train)
    tolerance = loss_tolerance(train.losses, epsilon, problem.seed)
    # The methods take long: what does not belong together is to be told before.
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
    kept: _State | None,
    progress: Progress,
) -> CompareResult:
    """``found`` with the methods of ``settings`` that it lacks: all, or those until an interrupt
    comes."""
    for config in settings[len(found.methods) :]:

        def named(
            stage: str, done: int, total: int, note: str = "", name: str = config.method
        ) -> None:
            progress(f"{name}: {stage}", done, total, note)

        try:
            measured = measure(loaded.problem, config, progress=named)
            method = MethodResult(
                method=config.method,
                curve=measured.curve,
                thresholds=distances(found.limit, measured.thresholds),
                refit_lr=measured.refit_lr,
                allocation=measured.allocation,
                calibration=measured.calibration,
                cost=measured.cost,
            )
            found = dataclasses.replace(found, methods=(*found.methods, method))
            if kept is not None:
                kept.save(found)
        except KeyboardInterrupt:
            if not found.methods:
                raise
            return found
    return dataclasses.replace(found, interrupted=False)


@dataclass(frozen=True)
class _State:
    """Where a comparison lies as far as it has come; ``owner`` describes its inputs and options."""

    path: Path
    owner: str

    def save(self, found: CompareResult) -> None:
        write_json(self.path, {"owner": self.owner, "result": to_json(found)}, force=True)

    def restored(self) -> CompareResult | None:
        """What lies there, if anything.

        Raises:
            UsageError: it is of other inputs or options.
            InputError: it cannot be read.
        """
        if not self.path.exists():
            return None
        try:
            document = read_json(self.path)
            owner, found = document["owner"], from_json(CompareResult, document["result"])
        except (InputError, KeyError) as error:
            raise InputError(
                f"{self.path} cannot be read as the state of a comparison; give --force without "
                "--resume to begin again."
            ) from error
        if owner != self.owner:
            raise UsageError(
                f"{self.path} is left of a comparison with other inputs or options; repeat those "
                "to go on with it, or give --force without --resume to begin again."
            )
        return found


def _owner(loaded: Loaded, config: CompareConfig, *configs: Any) -> str:
    """What has a part in the numbers, as JSON."""
    predicted = None
    if config.predicted is not None:
        predicted = hashlib.sha256(Path(config.predicted).read_bytes()).hexdigest()
    described = {
        "checkpoint": loaded.model_info.sha256,
        "data": dataclasses.asdict(loaded.data_info),
        "methods": parse_methods(config.methods),
        "predicted": predicted,
        **{type(each).__name__: dataclasses.asdict(each) for each in configs},
    }
    return json.dumps(described, sort_keys=True)


def _remove(state: Path, *, force: bool) -> None:
    """Throw the state away, if that is what ``force`` says."""
    if not force:
        raise OutputError(
            f"{state} is left of an interrupted comparison; give --resume to go on with it or "
            "--force to begin again."
        )
    try:
        state.unlink()
    except OSError as error:
        raise OutputError(
            f"{state} cannot be removed ({error.strerror}); remove it, or give the output another "
            "name."
        ) from error
