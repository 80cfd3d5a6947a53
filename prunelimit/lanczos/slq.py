"""Stochastic Lanczos quadrature: the spectrum of any symmetric matvec, with its errors.

Sources: Ubaru, Chen, Saad 2017; Chen, Trogdon, Ubaru 2021. The rules are integrated as they are,
never smoothed or binned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..progress import Progress, silent
from ..randomness import generator
from . import Bracket, LanczosRun, Matvec, Quadrature, lanczos, pool

__all__ = ["Spectrum", "estimate_spectrum", "rademacher"]

Function = Callable[[np.ndarray], np.ndarray]


def rademacher(size: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """A vector (size,) of random signs, of the dtype and on the device of ``like``."""
    signs = torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8)
    return (2 * signs - 1).to(device=like.device, dtype=like.dtype)


@dataclass(frozen=True)
class Spectrum:
    """The spectral measure of a matrix of size ``dimension``, one Lanczos run per probe."""

    dimension: int
    runs: tuple[LanczosRun, ...]

    @cached_property
    def bracket(self) -> Bracket:
        """The brackets of all probes in one (:attr:`LanczosRun.bracket`)."""
        each = [run.bracket for run in self.runs]
        return Bracket(pool([b.gauss for b in each]), pool([b.radau for b in each]))

    @property
    def quadrature(self) -> Quadrature:
        """The averaged Gauss rules of all probes."""
        return self.bracket.gauss

    def mean(self, function: Function) -> float:
        """Estimate of the mean of ``function`` over the eigenvalues by the Gauss rules."""
        rule = self.quadrature
        return float(function(rule.ritz_values) @ rule.weights)

    def probe_deviation(self, function: Function) -> float:
        """Standard deviation of :meth:`mean` over random probes.

        For one Rademacher probe the variance is at most 2 (mean f^2 - (mean f)^2) / D. It follows
        from 2 (||A||_F^2 - sum_i A_ii^2) / D^2 and Jensen's inequality on the diagonal, and needs
        no second probe. With several probes the larger of this and the empirical one is taken.
        """
        return float(self.probe_deviations(function))

    def probe_deviations(self, function: Function) -> np.ndarray:
        """:meth:`probe_deviation` for every row of ``function``'s result, (R, n) for n eigenvalues,
        all at once."""
        rule = self.quadrature
        values = function(rule.ritz_values)
        mean = np.asarray(values @ rule.weights)
        square = (values - mean[..., None]) ** 2 @ rule.weights
        deviation = np.sqrt(2 * square / (self.dimension * len(self.runs)))
        if len(self.runs) > 2:
            rules = [run.bracket.gauss for run in self.runs]
            each = [function(rule.ritz_values) @ rule.weights for rule in rules]
            seen = np.std(each, axis=0, ddof=1) / np.sqrt(len(each))
            deviation = np.maximum(deviation, seen)
        return np.asarray(deviation)

    @property
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest Ritz value."""
        values = self.quadrature.ritz_values
        return float(values[0]), float(values[-1])

    @property
    def negative_mass(self) -> float:
        """Share of eigenvalues below zero, beyond rounding (1e-6 of the largest magnitude)."""
        rule = self.quadrature
        noise = 1e-6 * float(np.abs(rule.ritz_values).max(initial=0.0))
        return float(rule.weights[rule.ritz_values < -noise].sum())


def estimate_spectrum(
    matvec: Matvec,
    like: Tensor,
    *,
    num_probes: int,
    num_steps: int,
    seed: int,
    progress: Progress = silent,
) -> Spectrum:
    """The spectrum of ``matvec``, a symmetric D x D matrix, by Rademacher probes.

    ``like`` (D,) gives size, dtype and device. The spectrum is deterministic for a seed. The first
    probes are the same however many follow.

    Raises:
        UsageError: fewer than one probe or step.
        NumericalError: a product is not finite.
    """
    if num_probes < 1:
        raise UsageError(
            f"The spectrum needs at least one probe, not {num_probes}; raise `probes`."
        )
    draws = generator(seed, "probes")
    depth = min(num_steps, like.numel())
    total = num_probes * depth
    runs = []
    for probe in range(num_probes):
        start = rademacher(like.numel(), draws, like)

        def on_step(step: int, before: int = probe * depth) -> None:
            progress("curvature", before + step, total)

        runs.append(lanczos(matvec, start, num_steps, on_step=on_step))
    progress("curvature", total, total)
    return Spectrum(like.numel(), tuple(runs))
