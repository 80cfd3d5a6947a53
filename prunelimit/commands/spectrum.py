"""``spectrum``: checkpoint + data -> the spectrum of its curvature."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..config import CurvatureConfig, DataConfig, ModelConfig, RunConfig, SharpnessConfig
from ..estimation.curvature import cross_check, measure_curvature
from ..estimation.sharpness import measure_sharpness
from ..inputs.load import Loaded, load
from ..progress import Progress, silent
from ..results.types import SpectrumResult
from .provenance import Recorder

__all__ = ["spectrum", "spectrum_loaded"]


def spectrum(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    sharpness: SharpnessConfig,
    *,
    progress: Progress = silent,
) -> SpectrumResult:
    """The spectrum of the curvature of ``checkpoint``'s training loss.

    Raises:
        PruneLimitError: see its subclasses.
    """
    recorder = Recorder("spectrum", run, model, data, curvature, sharpness)
    return spectrum_loaded(
        load(checkpoint, model, data, run), curvature, sharpness, recorder, progress=progress
    )


def spectrum_loaded(
    loaded: Loaded,
    curvature: CurvatureConfig,
    sharpness: SharpnessConfig,
    recorder: Recorder,
    *,
    progress: Progress = silent,
) -> SpectrumResult:
    """:func:`spectrum` for a problem that is loaded already."""
    found = measure_curvature(loaded.problem, curvature, progress)
    rules = [each.quadrature() for each in found.spectrum.runs]
    checked = cross_check(found) if curvature.cross_check else None
    sharp = measure_sharpness(found, sharpness, progress)
    return SpectrumResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=dataclasses.replace(loaded.data_info, samples=len(found.split)),
        curvature=found.summary(checked=checked),
        ritz_values=tuple(tuple(rule.ritz_values.tolist()) for rule in rules),
        quadrature_weights=tuple(tuple(rule.weights.tolist()) for rule in rules),
        outcomes=tuple(each.outcome.value for each in found.spectrum.runs),
        sharpness=sharp,
    )
