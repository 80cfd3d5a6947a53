"""Curvature + magnitudes -> every limit, with the error of standing in for all samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import LimitConfig
from ..effective import EffectiveDimension
from ..inputs.problem import Problem
from ..lanczos import LanczosRun, lanczos
from ..limit import (
    DirectionalSearch,
    Geometry,
    Transition,
    between,
    isotropic_transition,
    paper_transition,
    widened,
)
from ..progress import Progress
from ..spectrum import OPERATORS
from .spectrum import Curvature, measure_curvature

__all__ = ["Limits", "PruningPath", "find_limits"]


@dataclass(frozen=True)
class PruningPath:
    """The pruning path of a problem: m -> displacement, on the samples of the curvature."""

    problem: Problem
    order: Tensor
    weights: Tensor

    def displacement(self, removed: int) -> Tensor:
        """d = w_m - w*, shape (D,)."""
        vector = torch.zeros_like(self.weights)
        gone = self.order[:removed]
        vector[gone] = -self.weights[gone]
        return vector


@dataclass(frozen=True)
class Limits:
    """Every limit by (formula, operator), and what it was read from.

    ``products_on_half`` counts the products spent on half of the samples.
    """

    readings: dict[str, EffectiveDimension]
    search: DirectionalSearch
    transitions: dict[tuple[str, str], Transition]
    products_on_half: int = 0


def find_limits(
    path: PruningPath,
    geometry: Geometry,
    found: Curvature,
    config: LimitConfig,
    progress: Progress,
) -> Limits:
    """All limits from ``found``, their intervals holding how far half of its samples would move
    them: a bias that falls like 1/n is as large again beyond n samples as between n/2 and n.
    Where the samples are all there are, nothing is added.
    """
    whole = _limits(path, geometry, found, config, progress)
    used = len(found.split)
    if config.no_drift or used == len(path.problem.train) or used < 2:
        return whole

    def on_half(stage: str, done: int, total: int, note: str = "") -> None:
        progress(f"{stage}, half the samples", done, total, note)

    halved = dataclasses.replace(found.config, samples=used // 2)
    found_on_half = measure_curvature(path.problem, halved, on_half)
    half = _limits(path, geometry, found_on_half, config, on_half, whole)
    transitions = {
        key: widened(each, half.transitions[key], "samples", geometry.prunable)
        for key, each in whole.transitions.items()
    }
    return Limits(whole.readings, whole.search, transitions, found_on_half.product.products)


def _limits(
    path: PruningPath,
    geometry: Geometry,
    found: Curvature,
    config: LimitConfig,
    progress: Progress,
    guess: Limits | None = None,
) -> Limits:
    """All limits from one curvature; the directional search begins at those of ``guess``."""
    readings = {
        name: EffectiveDimension(found.spectrum, name, config.confidence)
        for name in OPERATORS[found.config.curvature]
    }
    search = _search(path, geometry, found, config, progress)
    transitions: dict[tuple[str, str], Transition] = {}
    for operator, effective in readings.items():
        paper = paper_transition(geometry, effective)
        isotropic = isotropic_transition(geometry, effective)
        first = between(geometry, paper, isotropic)
        if guess is not None:
            first = guess.transitions["directional", operator].removed
        transitions["paper", operator] = paper
        transitions["isotropic", operator] = isotropic
        transitions["directional", operator] = search.locate(effective, first)
    return Limits(readings, search, transitions)


def _search(
    path: PruningPath, geometry: Geometry, found: Curvature, config: LimitConfig, progress: Progress
) -> DirectionalSearch:
    runs = 0

    def run_at(removed: int) -> LanczosRun:
        nonlocal runs
        runs += 1
        stage = f"directional {runs}"
        steps = config.directional_steps
        result = lanczos(
            found.product,
            path.displacement(removed),
            steps,
            on_step=lambda step: progress(stage, step, steps),
        )
        progress(stage, steps, steps)
        return result

    return DirectionalSearch(geometry, run_at)
