"""Criteria that look at no data: magnitude, and chance."""

from __future__ import annotations

import torch

from ...inputs.problem import Problem, Split
from ...progress import Progress
from ..layers import prunable_part
from .interface import Criterion, Judgement

__all__ = ["MAGNITUDE", "RANDOM"]


def _magnitude(problem: Problem, split: Split, seed: int, progress: Progress) -> Judgement:
    """|w|."""
    return Judgement(prunable_part(problem, problem.vector()).abs().to(torch.float64))


def _random(problem: Problem, split: Split, seed: int, progress: Progress) -> Judgement:
    """Uniform on [0, 1), drawn by ``seed`` on the CPU."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    count = int(problem.prunable_mask().sum())
    scores = torch.rand(count, dtype=torch.float64, generator=generator)
    return Judgement(scores.to(problem.device))


MAGNITUDE = Criterion(
    "magnitude",
    "Han, Pool, Tran, Dally: Learning both Weights and Connections. NeurIPS 2015",
    "weights",
    _magnitude,
)
RANDOM = Criterion("random", "the baseline that every criterion has to pass", "weights", _random)
