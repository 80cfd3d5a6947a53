"""Blocks: tiles of a matrix go whole, as block-sparse products need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..pattern import MaskPattern

if TYPE_CHECKING:  # a pattern's text is read before torch is needed
    from torch import Tensor

    from ...inputs.problem import Problem

NAME = "block"
ORDER = 2
SOURCE = (
    "Xu, Wang, Chen, Geng, Lin, Yang, Wu, Li, Lin: LPViT: Low-Power Semi-structured Pruning for "
    "Vision Transformers. ECCV 2024"
)
HELP = (
    "Tiles of R rows and C columns go whole, such as block:4x4, to any amount; those at the end of "
    "a matrix may be smaller, and the last one to go may go in part."
)
FORM = r"block:.*"
METAVAR = "block:RxC"
LABEL = "block:RxC (block:4x4)"
ANY_AMOUNT = True

__all__ = ["PATTERN", "block_order", "parse"]


def parse(text: str) -> tuple[int, int]:
    """``"block:4x16"`` -> (4, 16): rows and columns of a tile.

    Raises:
        UsageError: it is not of the form block:RxC with positive numbers, one of them above 1.
    """
    match = re.fullmatch(r"block:(\d{1,4})x(\d{1,4})", text)
    shape = (0, 0) if match is None else (int(match[1]), int(match[2]))
    if min(shape) < 1 or max(shape) < 2:
        raise UsageError(f"`pattern` is {text}; give {LABEL}.")
    return shape


def block_order(problem: Problem, scores: Tensor, value: tuple[int, int]) -> Tensor:
    """The place of every weight in the order of removal, tile after tile; float64, (P,).

    Xu et al. 2024 decide the mask by tiles of linear layers. Each tile is judged by the criterion's
    scores of its weights together. Here the score of a tile is the mean of their ``scores`` (P,).
    So tiles at the ends of a matrix, which may be smaller, compare with the others. The paper's own
    score is a second-order Taylor term, as the criteria obd and obs are. Its learning objective,
    which weighs tiles by the power that they take, is not used here. A convolution is a matrix of
    outputs by everything else. Tiles go in ascending order, ties by index. The last tile that an
    amount reaches goes weight by weight, smallest first, so that counts are exact.

    Weights of score -inf are gone already: they come first, and then the rest of their tiles.
    """
    import torch

    from ..layers import prunable_layers

    shapes = [(layer.shape[0], layer.size // layer.shape[0]) for layer in prunable_layers(problem)]
    if not any(rows >= value[0] and columns >= value[1] for rows, columns in shapes):
        raise UsageError(
            f"`pattern` block:{value[0]}x{value[1]} is larger than every prunable matrix; give "
            "smaller tiles."
        )

    gone = torch.isneginf(scores)
    owners = torch.empty(len(scores), dtype=torch.int64, device=scores.device)
    tiles = 0
    for layer in prunable_layers(problem):
        rows = layer.shape[0]
        columns = layer.size // rows
        down, across = (
            torch.arange(length, device=scores.device) // side
            for length, side in zip((rows, columns), value, strict=True)
        )
        wide = -(-columns // value[1])
        layer.part(owners)[:] = (tiles + down[:, None] * wide + across).reshape(-1)
        tiles += wide * -(-rows // value[0])
    left = (~gone).to(torch.float64)
    counts = torch.zeros(tiles, dtype=torch.float64, device=scores.device)
    sums = torch.zeros_like(counts)
    counts.index_add_(0, owners, left)
    sums.index_add_(0, owners, torch.where(gone, 0.0, scores.to(torch.float64)))
    means = sums / counts.clamp_min(1)
    begun = torch.zeros(tiles, dtype=torch.bool, device=scores.device)
    begun[owners[gone]] = True
    order = torch.argsort(scores, stable=True)
    for key in (owners, means[owners], ~begun[owners], ~gone):  # the last decides first
        order = order[torch.argsort(key[order].to(torch.float64), stable=True)]
    places = torch.empty(len(scores), dtype=torch.float64, device=scores.device)
    places[order] = torch.arange(len(scores), dtype=torch.float64, device=scores.device)
    return places


PATTERN = MaskPattern(NAME, SOURCE, HELP, parse=parse, order=block_order)
