"""Rare Gems: scores are learned, with the weights held, until rounding them makes a good mask."""

from __future__ import annotations

import torch
from torch import Tensor

from ...devices import wide, wide_device
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ...randomness import generator
from ..criterion import Criterion, Scores
from ..descent import descend
from ..rounds import removal_order, rounds

NAME = "rare-gems"
ORDER = 10
SOURCE = (
    "Sreenivasan, Sohn, Yang, Grinde, Nagle, Wang, Xing, Lee, Papailiopoulos: Rare Gems: Finding "
    "Lottery Tickets at Initialization. NeurIPS 2022"
)
HELP = "A score learned for every weight, the lowest frozen in rounds; reads inputs and labels."

__all__ = ["CRITERION", "KEPT_PER_ROUND", "LEFT", "rounded"]

KEPT_PER_ROUND = 0.8
"""Share of the scores left that a round keeps from being frozen."""

PASSES = 2
"""Passes over the training samples in a round."""

LR = 0.05
"""Rate of Adam on scores from 0 to 1."""

BATCH = 128
PENALTY = 1e-6
"""Weight of the sum of squared scores in the loss: the lambda of the paper."""

LEFT = 0.002
"""There are no more rounds once less than this share of all weights is left."""


def rounded(scores: Tensor) -> Tensor:
    """1 where a score is at least 0.5, else 0; its derivative is taken to be 1."""
    hard = (scores >= 0.5).to(scores.dtype)
    return scores + (hard - scores).detach()


def _gem_miner(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """The place of each weight in the order in which its score is frozen at zero.

    Sreenivasan et al. 2022, algorithm 1 (Gem-Miner): scores p begin uniform on [0, 1]. The
    objective is the loss of the network with w r(p), r rounding and w held, plus lambda ||p||^2. It
    falls by descent straight through r, with p clipped to [0, 1]. At the end of every period the
    smallest are frozen at zero. They freeze as many as reach one sparsity at the last period. Here
    a round freezes a fifth of what is left, which makes one order for every sparsity; rounds end
    once 0.2% is left, which goes by its score. They choose SGD's rate and lambda for every data
    set; here it is Adam and 1e-6 for all. Their networks are as initialised, without biases; here
    what is not prunable is held as it is. Survivors "trained" then train the gem. Reads labels.
    """
    prunable = problem.prunable_mask()
    count = int(prunable.sum())
    held = problem.vector()
    draws = generator(seed, "gem scores")
    values = torch.rand(count, generator=draws, dtype=torch.float64).to(held)
    least = max(1, int(LEFT * count))
    done = 0

    def weights(scores: Tensor) -> Tensor:
        gates = torch.ones_like(held).masked_scatter(prunable, rounded(scores))
        return held * gates

    def judge(kept: Tensor) -> Tensor:
        nonlocal done, values
        kept = kept.to(values.device)
        values = descend(
            problem,
            split,
            values.masked_fill(~kept, 0),
            weights,
            passes=PASSES,
            lr=LR,
            batch_size=BATCH,
            place=done,
            moving=kept,
            penalty=lambda scores: PENALTY * scores.square().sum(),
            within=(0.0, 1.0),
        )
        done += 1
        # Weights of score zero go by index, but rounds go on.
        return wide(values) + 1

    every = torch.ones(count, dtype=torch.bool, device=wide_device(problem.device))
    places = removal_order(
        judge,
        every,
        KEPT_PER_ROUND,
        least=least,
        told=f"rounds of scores, {rounds(count, KEPT_PER_ROUND, least)} at most",
        progress=progress,
    )
    return Scores(places, passes=PASSES * done)


CRITERION = Criterion(
    NAME,
    SOURCE,
    HELP,
    reads="labels",
    function=_gem_miner,
    samples=lambda problem: len(problem.train),
)
