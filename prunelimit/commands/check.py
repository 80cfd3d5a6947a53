"""``check``: every gate that a job depends on, judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
from ..errors import InputError, UsageError
from ..gate import judge, require_comparable
from ..inputs.load import load
from ..progress import Progress, silent
from ..results.soundness import read
from ..results.types import CheckResult, MeasureResult, PredictResult
from ..storage.files import read_json
from .measure import measure_loaded
from .predict import predict_loaded
from .provenance import Recorder

__all__ = ["check_checkpoint", "check_results", "one_of_each", "read_judged"]

KINDS: dict[str, type[PredictResult] | type[MeasureResult]] = {
    "prunelimit.predict": PredictResult,
    "prunelimit.measure": MeasureResult,
}
"""Results that gates judge, by the name of their schema."""


def read_judged(path: Path) -> PredictResult | MeasureResult:
    """The result of predict or measure in ``path``, whichever it is.

    Raises:
        InputError: it cannot be read, is neither, or holds numbers that make no sense.
    """
    document = read_json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    kind = KINDS.get(str(schema).partition("/")[0])
    if kind is None:
        raise InputError(
            f"{path} is neither a result of predict nor one of measure; give the JSON of one."
        )
    return read(kind, document, str(path))


def one_of_each(
    results: Sequence[PredictResult | MeasureResult], what: str = "results"
) -> tuple[PredictResult | None, MeasureResult | None]:
    """The prediction and the measurement among up to two ``results``, in either order.

    Raises:
        UsageError: both are of one kind; it calls them ``what``.
    """
    predicted = [each for each in results if isinstance(each, PredictResult)]
    measured = [each for each in results if isinstance(each, MeasureResult)]
    if len(predicted) > 1 or len(measured) > 1:
        kind = "predict" if len(predicted) > 1 else "measure"
        raise UsageError(
            f"Both {what} come from {kind}; give one from predict and one from measure."
        )
    return next(iter(predicted), None), next(iter(measured), None)


def check_results(
    predicted: PredictResult | None, measured: MeasureResult | None, config: CheckConfig
) -> CheckResult:
    """The verdict on results made before; either may be missing.

    Raises:
        InputError: they are not about the same checkpoint, data or loss tolerance, or a number
            that a gate needs is not there.
        UsageError: there is nothing to check.
    """
    given = predicted or measured
    if given is None:
        raise InputError("There is nothing to check: no result is given.")
    provenance = given.provenance
    run = RunConfig(seed=provenance.seed, device=provenance.device)
    recorder = Recorder("check", run, config)
    return _verdict(predicted, measured, _baselines(config), config, recorder)


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
) -> tuple[CheckResult, PredictResult | None, MeasureResult]:
    """Predict and measure the network in ``checkpoint``, and judge. Returns the verdict, the
    prediction and the measurement. Nothing is predicted if no gate needs that.

    Raises:
        PruneLimitError: see its subclasses.
    """
    parts = (model, data, curvature, limit, measure, config)
    recorder = Recorder("check", run, *parts)
    if not config.no_agreement:
        require_comparable(measure.method, config)
    baselines = _baselines(config)
    loaded = load(checkpoint, model, data, run)
    predicted = None
    if not config.no_agreement or any(isinstance(each, PredictResult) for each in baselines):
        predicted = predict_loaded(
            loaded,
            curvature,
            limit,
            Recorder("predict", run, *parts[:4]),
            progress=progress,
        )
    wanted = [each.tolerance for each in config.min_sparsity if each.tolerance is not None]
    measure = dataclasses.replace(measure, tolerance=(*measure.tolerance, *wanted))
    also = [each.sparsity for each in config.min_accuracy_at]
    also += [p.sparsity for b in baselines if isinstance(b, MeasureResult) for p in b.curve]
    measured = measure_loaded(
        loaded,
        measure,
        Recorder("measure", run, model, data, measure),
        progress=progress,
        also=also,
    )
    return _verdict(predicted, measured, baselines, config, recorder), predicted, measured


def _baselines(config: CheckConfig) -> tuple[PredictResult | MeasureResult, ...]:
    return tuple(read_judged(Path(each)) for each in config.baseline)


def _verdict(
    predicted: PredictResult | None,
    measured: MeasureResult | None,
    baselines: tuple[PredictResult | MeasureResult, ...],
    config: CheckConfig,
    recorder: Recorder,
) -> CheckResult:
    agreement, gates = judge(predicted, measured, config, baselines)
    given = predicted or measured
    assert given is not None
    return CheckResult(
        provenance=recorder.finish(),
        model=given.model,
        gates=gates,
        passed=all(gate.passed for gate in gates),
        agreement=agreement,
    )
