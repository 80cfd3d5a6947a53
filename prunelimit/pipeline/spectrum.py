"""``spectrum``: checkpoint + data -> the spectrum of its curvature."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from torch import Tensor

from ..config import CurvatureConfig, DataConfig, ModelConfig, RunConfig
from ..curvature import CurvatureProduct, Product, curvature_product
from ..errors import UsageError
from ..inputs.load import load
from ..inputs.problem import Problem, Split
from ..progress import Progress, silent
from ..results import CurvatureSummary, SpectrumResult
from ..spectrum import Spectrum, estimate_spectrum
from .provenance import Recorder

__all__ = ["Curvature", "measure_curvature", "spectrum"]

TIMED_GRADIENTS = 3
"""Gradients that the time of one is the mean of."""


@dataclasses.dataclass(frozen=True)
class Curvature:
    """The spectrum of a problem's curvature, the products it came from and their split.

    ``gradient`` (D,) is that of the mean loss of ``split``; ``gradient_seconds`` what it took.
    """

    product: Product
    split: Split
    spectrum: Spectrum
    gradient: Tensor
    gradient_seconds: float
    config: CurvatureConfig

    def summary(self) -> CurvatureSummary:
        """The spectrum in a few numbers, with the products spent so far."""
        low, high = self.spectrum.extremes
        size = self.spectrum.dimension
        return CurvatureSummary(
            kind=self.config.curvature,
            backend=self.config.backend,
            probes=self.config.probes,
            steps=max(run.num_steps for run in self.spectrum.runs),
            samples=len(self.split),
            products=self.product.products,
            lambda_max=high,
            lambda_min=low,
            trace=size * self.spectrum.mean(lambda values: values),
            trace_standard_error=size * self.spectrum.probe_deviation(lambda values: values),
            negative_mass=self.spectrum.negative_mass,
            gradient_seconds=self.gradient_seconds,
            product_seconds=self.product.seconds / max(1, self.product.products),
        )


def measure_curvature(
    problem: Problem, config: CurvatureConfig, progress: Progress = silent
) -> Curvature:
    """Estimate the spectrum as ``config`` says.

    Raises:
        UsageError: nothing is prunable, or a count is out of range.
        NumericalError: a product is not finite.
    """
    if config.samples < 0:
        raise UsageError(f"--samples is {config.samples}; give 0 for all, or a positive number.")
    if not problem.prunable:
        raise UsageError(
            "The network has no weights to prune: no convolution or linear layer is left free."
        )
    split = problem.train.subset(config.samples, problem.seed)
    product = curvature_product(problem, split, config.curvature, config.backend)
    plain = (
        product
        if isinstance(product, CurvatureProduct)
        else CurvatureProduct(problem, split, memory_bytes=0)
    )
    begin = time.perf_counter()
    for _ in range(TIMED_GRADIENTS):
        gradient = plain.gradient()
    seconds = (time.perf_counter() - begin) / TIMED_GRADIENTS
    estimate = estimate_spectrum(
        product,
        problem.vector(),
        num_probes=config.probes,
        num_steps=config.steps,
        seed=problem.seed,
        progress=progress,
    )
    return Curvature(product, split, estimate, gradient, seconds, config)


def spectrum(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    *,
    progress: Progress = silent,
) -> SpectrumResult:
    """The spectrum of the curvature of ``checkpoint``'s training loss.

    Raises:
        PruneLimitError: see its subclasses.
    """
    recorder = Recorder("spectrum", run, model, data, curvature)
    loaded = load(checkpoint, model, data, run)
    found = measure_curvature(loaded.problem, curvature, progress)
    rules = [each.quadrature() for each in found.spectrum.runs]
    return SpectrumResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=dataclasses.replace(loaded.data_info, samples=len(found.split)),
        curvature=found.summary(),
        ritz_values=tuple(tuple(rule.ritz_values.tolist()) for rule in rules),
        quadrature_weights=tuple(tuple(rule.weights.tolist()) for rule in rules),
        outcomes=tuple(each.outcome.value for each in found.spectrum.runs),
    )
