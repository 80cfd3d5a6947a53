"""Wanda: weights times the size of what they read."""

from __future__ import annotations

from ...devices import wide
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ..criterion import Criterion, Scores
from ..input_norms import input_norms
from ..layers import prunable_part

NAME = "wanda"
ORDER = 8
SOURCE = (
    "Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models. "
    "ICLR 2024"
)
HELP = "Size of the weight times the norm of its inputs; reads inputs, and shares by rows."

__all__ = ["CRITERION"]


def _wanda(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """|w| times the l2 norm of its input feature over the calibration samples.

    Sun et al. 2024, equation 1. They compare weights within each row of a linear layer, as the
    allocation ``rows`` does; it is this criterion's own. The paper does not treat convolutions. For
    those the norm is over all positions that the weight reads. It reads inputs, no labels.
    """
    weights = wide(prunable_part(problem, problem.vector()).abs())
    return Scores(weights * input_norms(problem, split))


CRITERION = Criterion(NAME, SOURCE, HELP, reads="inputs", function=_wanda, allocation="rows")
