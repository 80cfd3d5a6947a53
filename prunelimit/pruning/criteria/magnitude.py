"""Magnitude: the smallest weights go."""

from __future__ import annotations

from ...devices import wide
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ..criterion import Criterion, Scores
from ..layers import prunable_part

NAME = "magnitude"
ORDER = 1
SOURCE = "Han, Pool, Tran, Dally: Learning both Weights and Connections. NeurIPS 2015"
HELP = "The size of the weight; reads no data."

__all__ = ["CRITERION"]


def _magnitude(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """|w|."""
    return Scores(wide(prunable_part(problem, problem.vector()).abs()))


CRITERION = Criterion(NAME, SOURCE, HELP, reads="weights", function=_magnitude)
