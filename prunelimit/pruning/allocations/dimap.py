"""DIMAP: every weight compared with the larger ones of all layers that play the same part."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ...devices import wide
from ..allocation import Allocation, Ranking, in_one_order
from ..layers import prunable_part

NAME = "dimap"
ORDER = 7
SOURCE = (
    "He, Zhou: Data-independent Module-aware Pruning for Hierarchical Vision Transformers. "
    "ICLR 2024"
)
HELP = "Squared weights beside the larger ones of all layers that play the same part."

__all__ = ["ALLOCATION", "module_of", "module_scores"]

MODULES = {
    "qkv": r"to_qkv|qkv|qkv_proj|in_proj|in_proj_weight|c_attn|query|key|value|(to_)?[qkv](_proj)?",
    "projection": r"out_proj|o_proj|to_out|(attn|attention|self_attn)\.(proj|c_proj|output\.dense)",
    "mlp": r"mlp|ffn|feed_forward|fc[12]|linear[12]|intermediate|output\.dense|(gate|up|down)_proj",
}
"""Parts that layers play in a transformer, and the names that libraries give them. They are tried
in this order."""


def module_of(name: str) -> str:
    """The part that a weight of this name plays: "qkv", "projection", "mlp" or "auxiliary".

    >>> module_of("layers.0.blocks.1.attn.qkv.weight"), module_of("patch_embed.proj.weight")
    ('qkv', 'auxiliary')
    """
    for part, form in MODULES.items():
        if re.search(rf"(^|\.)({form})(\.|$)", name):
            return part
    return "auxiliary"


def module_scores(magnitudes: Tensor) -> Tensor:
    """w_p^2 / (sum of w_i^2 over all i that are not after p in descending order); float64, (n,).

    He and Zhou 2024: Imp, the importance by information distortion, of all weights of one module.
    Their order is read as descending. Imp is monotone in the magnitude, ties by index, and 1 for
    the largest weight. It is zero where all weights are zero.
    """
    squares = wide(magnitudes).square()
    order = torch.argsort(squares, stable=True)
    ascending = squares[order]
    larger = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = torch.where(larger > 0, ascending / larger, torch.zeros_like(larger))
    return scores


def _removable(ranking: Ranking, caps: Sequence[int]) -> list[Tensor]:
    """Sorted, since only counts are read from them. The criterion says which weights of a layer go.

    The paper has four modules: queries, keys and values; projections of attention; perceptrons; and
    the rest. It leaves open how layers of other networks are named. What carries none of the usual
    names is of the rest. So a network without attention is one module, and shares as global
    magnitude pruning does. Modules span all stages of the network, and their scores are compared.
    """
    magnitudes = prunable_part(ranking.problem, ranking.problem.vector())
    members: dict[str, list[int]] = {}
    for place, layer in enumerate(ranking.layers):
        members.setdefault(module_of(layer.name), []).append(place)
    found: dict[int, Tensor] = {}
    for places in members.values():
        layers = [ranking.layers[place] for place in places]
        scores = module_scores(torch.cat([layer.part(magnitudes) for layer in layers]))
        pieces = scores.split([layer.size for layer in layers])
        for place, piece in zip(places, pieces, strict=True):
            found[place] = piece.sort().values[: caps[place]]
    return [found[place] for place in range(len(ranking.layers))]


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=in_one_order(_removable), of_network=True)
