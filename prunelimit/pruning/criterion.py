"""A pruning criterion gives one score per prunable weight, and at times new survivors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import NumericalError
from ..inputs.problem import Problem, Split
from ..plugins import Plugin
from ..progress import Progress, silent

__all__ = ["SAMPLES", "Criterion", "Scores"]

SAMPLES = 1000
"""Calibration samples if their number is not given."""


@dataclass(frozen=True)
class Scores:
    """The result of a criterion for a network.

    ``scores`` (P,), float64, has one finite number per prunable weight in the order of the flat
    vector; the highest are kept. ``update`` maps a mask (bool, (D,)) to the free parameters (D,),
    as the criterion's own method leaves them. They are exactly zero where the mask is False.
    ``update`` is None if survivors stay as they are. ``products`` counts the curvature products
    spent. ``passes`` counts the passes over the samples that training took.
    """

    scores: Tensor
    update: Callable[[Tensor], Tensor] | None = None
    products: int = 0
    passes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Criterion(Plugin):
    """A pruning criterion: the object CRITERION of a file in ``criteria``.

    ``reads`` says which data it needs: "weights" (none), "inputs" or "labels" (inputs too).
    ``function`` takes the problem, the samples to read, a seed and a callable for progress.
    ``allocation`` is its own one, used if none is asked for. ``samples`` is how many samples it
    reads if their number is not given.
    """

    reads: str
    function: Callable[[Problem, Split, int, Progress], Scores]
    allocation: str = "global"
    samples: Callable[[Problem], int] = lambda problem: SAMPLES

    def judge(
        self, problem: Problem, split: Split, seed: int, progress: Progress = silent
    ) -> Scores:
        """Judge the weights of ``problem`` by the samples of ``split``.

        Raises:
            NumericalError: a score is not finite.
        """
        found = self.function(problem, split, seed, progress)
        wrong = int((~torch.isfinite(found.scores)).sum())
        if wrong:
            raise NumericalError(
                f"{self.name} gives {wrong} of {len(found.scores)} weights a score that is not "
                "finite; check the network's weights, or use `dtype` float64."
            )
        return found

    def scores(self, problem: Problem, split: Split, seed: int) -> Tensor:
        """Scores alone; float64, (P,), higher is kept."""
        return self.judge(problem, split, seed).scores
