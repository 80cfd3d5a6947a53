"""The loss along the pruning path: evidence for a prediction, and where plain one-shot stops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from ..devices import wide
from ..inputs.problem import Split, evaluate
from ..limit.one_shot import Rise, find_crossing, modelled_crossing
from ..limit.reliability import nonquadraticity
from ..progress import Progress
from ..results.types import OneShot, PathPoint
from .curvature import Curvature
from .removal import PruningPath

__all__ = ["PLANNED", "LossPath", "follow_loss"]

PLANNED = 35
"""Evaluations and products that a path takes, about, for the progress line."""


@dataclass(frozen=True)
class LossPath:
    """``path`` is in order of sparsity. ``crossing`` is its point where the actual rise first
    reaches epsilon, or where all is removed. It is None where the loss does not rise at all."""

    crossing: PathPoint | None
    path: tuple[PathPoint, ...]
    one_shot: OneShot


class _Losses:
    """Losses and products at places of the path, each computed once."""

    def __init__(
        self, path: PruningPath, found: Curvature, judged: Split, progress: Progress
    ) -> None:
        self._path, self._found, self._progress = path, found, progress
        self._judged = judged
        self._everything = len(path.problem.train)
        self._dense: np.ndarray = evaluate(path.problem, judged).losses
        self._rises: dict[int, Rise] = {0: Rise(0.0, 0.0)}
        self._modelled: dict[int, tuple[float, float]] = {0: (0.0, 0.0)}

    def rise(self, removed: int) -> Rise:
        """The actual rise, on the samples that are judged."""
        if removed not in self._rises:
            path = self._path
            weights = path.weights + path.displacement(removed)
            after = evaluate(path.problem, self._judged, weights).losses
            self._rises[removed] = Rise.of(self._dense, after, self._everything)
            self._tell()
        return self._rises[removed]

    def parts(self, removed: int) -> tuple[float, float]:
        """Quadratic and linear part of the modelled rise: one product."""
        if removed not in self._modelled:
            vector = self._path.displacement(removed)
            product = self._found.multiply(f"product {removed}", vector)
            self._modelled[removed] = (
                0.5 * float(wide(vector) @ wide(product)),
                float(wide(vector) @ wide(self._gradient)),
            )
            self._tell()
        return self._modelled[removed]

    @cached_property
    def _gradient(self) -> Tensor:
        """The gradient of the mean loss of the samples that are judged; (D,)."""
        if self._judged is self._found.split:
            return self._found.gradient
        return self._found.gradient_of(self._judged)

    def point(self, removed: int) -> PathPoint:
        quadratic, linear = self.parts(removed)
        return PathPoint(
            sparsity=removed / len(self._path.order),
            loss_rise=self.rise(removed).mean,
            quadratic_rise=quadratic,
            linear_rise=linear,
        )

    def _tell(self) -> None:
        done = len(self._rises) + len(self._modelled) - 2
        self._progress("loss path", done, max(PLANNED, done + 1))


def follow_loss(
    path: PruningPath,
    found: Curvature,
    epsilon: float,
    limit: int,
    confidence: float,
    progress: Progress,
    *,
    judged: Split,
    hurried: bool = False,
) -> LossPath:
    """Actual and modelled loss along the pruning path, up to ``limit`` removed weights, and the
    plain threshold at the loss tolerance ``epsilon`` (nats).

    All losses are means over the samples ``judged``. They take some thirty forward passes of those,
    and at most fifteen products. If ``hurried``, it is at most four products, and the model's own
    threshold is left out.
    """
    losses, prunable = _Losses(path, found, judged, progress), len(path.order)
    crossed = find_crossing(losses.rise, prunable, epsilon, confidence)
    at = prunable if crossed.failing is None else crossed.failing
    crossing = losses.point(at) if losses.rise(at).mean > 0 else None
    places = sorted({limit // 2, (at + limit) // 2, limit} - {0, at})
    points = [losses.point(removed) for removed in places]
    if crossing is not None:
        points.append(crossing)
    modelled = None
    if not hurried:
        modelled, _ = modelled_crossing(lambda m: sum(losses.parts(m)), prunable, epsilon)
    progress("loss path", PLANNED, PLANNED)
    one_shot = OneShot(
        sparsity=crossed.holding / prunable,
        of="prunable",
        interval=(crossed.lowest / prunable, crossed.beyond / prunable),
        confidence=confidence,
        modelled=None if modelled is None else modelled / prunable,
        ratio=nonquadraticity(crossing),
        samples=len(judged),
        of_samples=len(path.problem.train),
        errors={
            "samples": (crossed.highest - crossed.lowest) / 2 / prunable,
            "path": (at - crossed.holding) / prunable,
        },
    )
    return LossPath(crossing, tuple(sorted(points, key=lambda each: each.sparsity)), one_shot)
