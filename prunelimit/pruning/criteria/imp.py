"""Iterative magnitude pruning: train, remove the smallest, rewind, again."""

from __future__ import annotations

import torch
from torch import Tensor

from ...devices import wide, wide_device
from ...inputs.problem import Problem, Split
from ...progress import Progress
from ..criterion import Criterion, Scores
from ..descent import descend
from ..layers import prunable_part
from ..rounds import removal_order, rounds

NAME = "imp"
ORDER = 9
SOURCE = "Frankle, Carbin: The Lottery Ticket Hypothesis. ICLR 2019"
HELP = "Trained, the smallest fifth removed, rewound, and again; reads inputs and labels."

__all__ = ["CRITERION", "KEPT_PER_ROUND", "LEFT"]

KEPT_PER_ROUND = 0.8
"""Share of the weights left that a round keeps."""

PASSES = 2
"""Passes over the training samples in a round."""

LR = 1.2e-3
"""Rate of Adam, and BATCH its mini-batch: those of the paper's fully connected network."""

BATCH = 60

LEFT = 0.002
"""There are no more rounds once less than this share of all weights is left."""


def _imp(problem: Problem, split: Split, seed: int, progress: Progress) -> Scores:
    """The place of each weight in the order of removal.

    Frankle and Carbin 2019, strategy 1. A round trains what is left from the weights that the
    network came with. It removes a fifth of it, the smallest, and sets the others back. So the
    network should be as initialised, or after a few epochs, to find the tickets of the paper. Of a
    trained network it finds what fine-tuning leaves small. Survivors "trained" then train the
    ticket.

    In the paper a round trains as long as the network itself was trained. Here it takes two passes
    over the samples read. Rounds end once 0.2% of the weights are left; those go by their last
    size. The paper prunes all layers at one rate, and output layers at half of it. Here the order
    is global, and the allocation shares among layers. It reads labels.
    """
    prunable = problem.prunable_mask()
    start = problem.vector()
    count = int(prunable.sum())
    least = max(1, int(LEFT * count))
    done = 0

    def judge(kept: Tensor) -> Tensor:
        nonlocal done
        mask = torch.ones_like(prunable)
        mask[prunable] = kept.to(mask.device)
        found = descend(
            problem,
            split,
            start.masked_fill(~mask, 0),
            lambda values: values,
            passes=PASSES,
            lr=LR,
            batch_size=BATCH,
            place=done,
            moving=mask,
        )
        done += 1
        return wide(prunable_part(problem, found).abs())

    every = torch.ones(count, dtype=torch.bool, device=wide_device(problem.device))
    places = removal_order(
        judge,
        every,
        KEPT_PER_ROUND,
        least=least,
        told=f"rounds of training, {rounds(count, KEPT_PER_ROUND, least)} at most",
        progress=progress,
    )
    return Scores(places, passes=PASSES * done)


CRITERION = Criterion(
    NAME,
    SOURCE,
    HELP,
    reads="labels",
    function=_imp,
    samples=lambda problem: len(problem.train),
)
