"""Chance: the baseline that every other criterion has to beat."""

from __future__ import annotations

import torch

from ...devices import wide_device
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ...randomness import generator
from ..criterion import Criterion, Scores

NAME = "random"
ORDER = 2
SOURCE = "the baseline that every criterion has to pass"
HELP = "Chance, by the seed; reads no data."

__all__ = ["CRITERION"]


def _random(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """Uniform on [0, 1), drawn by ``seed`` on the CPU."""
    count = int(problem.prunable_mask().sum())
    scores = torch.rand(count, dtype=torch.float64, generator=generator(seed, "random scores"))
    return Scores(scores.to(wide_device(problem.device)))


CRITERION = Criterion(NAME, SOURCE, HELP, reads="weights", function=_random)
