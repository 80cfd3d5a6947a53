"""N:M: N of every M weights in a row stay, as sparse tensor cores need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..pattern import MaskPattern

if TYPE_CHECKING:  # a pattern's text is read before torch is needed
    from torch import Tensor

    from ...inputs.problem import Problem

NAME = "n:m"
SOURCE = "Mishra et al.: Accelerating Sparse Deep Neural Networks. 2021"
HELP = "The N highest scores of every M inputs in a row, such as 2:4; other inputs are kept."
FORM = r"\d+:\d+"
METAVAR = "N:M"
LABEL = "N:M with 0 < N < M, such as 2:4"

__all__ = ["PATTERN", "highest_of_groups", "parse"]


def parse(text: str) -> tuple[int, int]:
    """``"2:4"`` -> (2, 4): how many are kept of every group of how many.

    Raises:
        UsageError: it is not of the form N:M with 0 < N < M.
    """
    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})", text)
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise UsageError(f"`pattern` is {text}; give {LABEL}.")
    return int(match[1]), int(match[2])


def highest_of_groups(problem: Problem, scores: Tensor, value: tuple[int, int]) -> Tensor:
    """True for the ``keep`` highest scores of every ``group``, the two of ``value``; bool, (P,).

    Groups are of consecutive input features or channels, as sparse tensor cores want it (Mishra et
    al. 2021). They are formed for every output and, in a convolution, every place of the kernel.
    Ties go by index. The inputs that no whole group is left for are kept.

    Raises:
        UsageError: no layer has a whole group.
    """
    import torch

    from ..layers import prunable_layers, smallest

    keep, group = value
    kept = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    for layer in prunable_layers(problem):
        dimension = layer.input_dimension
        shaped = layer.part(scores).view(layer.shape).movedim(dimension, -1)
        whole = shaped.shape[-1] // group * group
        if not whole:
            continue
        groups = shaped[..., :whole].reshape(-1, group)
        gone = smallest(groups, [group - keep] * len(groups))
        own = layer.part(kept).view(layer.shape).movedim(dimension, -1)
        own[..., :whole] = ~gone.view(*own.shape[:-1], whole)
    if bool(kept.all()):
        raise UsageError(
            f"No layer has {group} inputs, so `pattern` {keep}:{group} removes nothing; give a "
            "smaller pattern."
        )
    return kept


PATTERN = MaskPattern(NAME, SOURCE, HELP, parse=parse, function=highest_of_groups)
