"""How sharp the minimum of a problem is, by all measures, from a spectrum taken before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..config import SharpnessConfig
from ..errors import UsageError
from ..inputs.problem import Problem, evaluate
from ..lanczos.slq import Spectrum
from ..limit import sharpness as measures
from ..limit.effective_dimension import EffectiveDimension
from ..limit.formulas.isotropic import isotropic_transition
from ..limit.geometry import Geometry
from ..progress import Progress, silent
from ..results.types import SharpnessMeasure, SharpnessSummary
from .curvature import DEFAULT_STEPS, Curvature
from .epsilon import tolerance_of

__all__ = ["CONFIDENCE", "measure_sharpness"]

CONFIDENCE = 0.95
"""Confidence of every interval."""


def measure_sharpness(
    curvature: Curvature, config: SharpnessConfig, progress: Progress = silent
) -> SharpnessSummary:
    """Every measure of the spectrum of ``curvature``, whose probes are taken already.

    With ``config.by_layer`` a further Lanczos process per probe and prunable weight tensor gives
    the Renyi sharpness of its block alone.

    Raises:
        UsageError: the loss tolerance makes no sense, or processes share the work by layer.
        NumericalError: the dense loss or a product is not finite.
    """
    if config.by_layer and curvature.budget.group.size > 1:
        raise UsageError(
            "`by_layer` works only in a single process; leave `by_layer` out, or start one process."
        )
    problem, spectrum = curvature.problem, curvature.spectrum
    found = [
        _named("largest eigenvalue", measures.largest(spectrum)),
        _named("trace", measures.trace(spectrum, CONFIDENCE)),
        _named("Frobenius norm", measures.frobenius(spectrum, CONFIDENCE)),
    ]
    ridge, note = None, None
    try:
        ridge = _pruning_ridge(curvature, config, progress)
    except UsageError as error:
        if config.epsilon.kind != "batch-std":
            raise
        note = str(error)
    if ridge is not None:
        effective = EffectiveDimension(spectrum, _reading(curvature), CONFIDENCE)
        found.append(
            _named("effective dimension", measures.effective_dimension(effective, ridge), ridge)
        )
    found += _renyi(curvature, config, spectrum)
    if config.by_layer:
        found += _by_layer(curvature, config, problem)
    name = curvature.operator.headline
    return SharpnessSummary(
        measures=tuple(found), confidence=CONFIDENCE, reading=name, ridge=ridge, note=note
    )


def _reading(curvature: Curvature) -> measures.Reading:
    return curvature.operator.readings[curvature.operator.headline]


def _pruning_ridge(
    curvature: Curvature, config: SharpnessConfig, progress: Progress
) -> float | None:
    """The ridge where the `isotropic` limit lies; None where nothing can go or all can."""
    problem = curvature.problem
    train = evaluate(problem, problem.train)
    epsilon = tolerance_of(problem, config.epsilon, train, progress=progress).value
    weights = problem.vector()[problem.prunable_mask()].cpu().double().numpy()
    geometry = Geometry.of(problem.layout.size, weights, epsilon)
    effective = EffectiveDimension(curvature.spectrum, _reading(curvature), CONFIDENCE)
    removed = isotropic_transition(geometry, effective).removed
    ridge = effective.ridge(problem.layout.size - removed)
    return ridge if 0 < ridge < np.inf else None


def _renyi(
    curvature: Curvature, config: SharpnessConfig, spectrum: Spectrum, layer: str | None = None
) -> Iterator[SharpnessMeasure]:
    noise = 8 * torch.finfo(curvature.problem.dtype).eps
    for alpha in config.alpha:
        measure = measures.renyi(spectrum, _reading(curvature), alpha, CONFIDENCE, noise=noise)
        yield _named("Renyi sharpness", measure, alpha, layer)


def _by_layer(
    curvature: Curvature, config: SharpnessConfig, problem: Problem
) -> Iterator[SharpnessMeasure]:
    """The sharpness of the block of every prunable weight tensor, and their sum for every order."""
    masks = problem.layout.unflatten(torch.arange(problem.layout.size, device=problem.device))
    steps = curvature.config.steps or DEFAULT_STEPS
    by_order: dict[float, list[SharpnessMeasure]] = {alpha: [] for alpha in config.alpha}
    for name in problem.prunable:
        mask = torch.zeros(problem.layout.size, dtype=torch.bool, device=problem.device)
        mask[masks[name].reshape(-1)] = True
        block = curvature.of_some(mask, name)
        for _ in curvature.probes:
            block.add_probe(min(steps, int(mask.sum())))
        for each in _renyi(curvature, config, block.spectrum, name):
            by_order[float(each.parameter or 0)].append(each)
            yield each
    for alpha, each_layer in by_order.items():
        value = float(sum(each.value for each in each_layer))
        errors = [each.interval[1] - each.value for each in each_layer]
        error = float(np.sqrt(np.square(errors).sum()))  # probes are independent
        yield _named("Renyi sharpness", measures.Measure.even(value, error), alpha, "all layers")


def _named(
    name: str,
    measure: measures.Measure,
    parameter: float | None = None,
    layer: str | None = None,
) -> SharpnessMeasure:
    return SharpnessMeasure(
        name=name, value=measure.value, interval=measure.interval, parameter=parameter, layer=layer
    )
