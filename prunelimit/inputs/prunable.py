"""Which tensors of a network can be pruned, and why the other matrices stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy

__all__ = [
    "DenseMatrix",
    "dense_matrices",
    "dense_notice",
    "is_transposed",
    "is_transposed_linear",
    "prunable_weights",
    "zeros_of",
]

NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
RECURRENT = ("weight_ih", "weight_hh", "weight_hr")
ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
NAMED = 5
"""Matrices that a notice names."""


@dataclass(frozen=True)
class DenseMatrix:
    """A tensor of two or more dimensions that stays whole. ``share`` is its share of all
    parameters, from 0 to 1. ``why`` is the reason, in words that follow "it is"."""

    name: str
    shape: tuple[int, ...]
    size: int
    share: float
    why: str


def prunable_weights(network: nn.Module, *, embeddings: bool = False) -> set[int]:
    """Identities of the parameters of ``network`` that are weights of a kind that is pruned.

    Those are the weights of linear layers, of convolutions (also transposed ones), of transformers'
    Conv1D, of the projections of attention, and of recurrent layers and cells. With ``embeddings``
    the tables of embeddings are added. A tied weight has one identity. One without entries is no
    weight.
    """
    found = set()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = not is_lazy(parameter) and not parameter.numel()
            if _is_prunable(module, name, embeddings) and not empty:
                found.add(id(parameter))
    return found


def _is_prunable(module: nn.Module, name: str, embeddings: bool) -> bool:
    if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
        return name == "weight"
    if isinstance(module, nn.MultiheadAttention):
        return name in ATTENTION
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return name.startswith(RECURRENT)
    if embeddings and isinstance(module, EMBEDDINGS):
        return name == "weight"
    return is_transposed_linear(module) and name == "weight"


def is_transposed_linear(module: nn.Module) -> bool:
    """Whether ``module`` is transformers' Conv1D, a linear layer whose weight is (inputs, outputs).
    It is recognised by its name, so that the package need not be installed."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_transposed(module: nn.Module) -> bool:
    """Whether inputs are summed along dimension 0 of the module's weight."""
    return isinstance(module, nn.modules.conv._ConvTransposeNd) or is_transposed_linear(module)


def dense_matrices(
    network: nn.Module, prunable: Collection[str], held: Collection[int] = ()
) -> tuple[DenseMatrix, ...]:
    """The matrices of ``network`` that are not among ``prunable`` names, each once, in order.

    ``held`` are identities of parameters that the user excluded. Those of one row or column, such
    as a class token or a scale, count as vectors.
    """
    owners: dict[int, nn.Module] = {}
    for module in network.modules():
        for _, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), module)
    sizes = {id(each): each.numel() for each in network.parameters()}
    total = max(1, sum(sizes.values()))
    return tuple(
        DenseMatrix(
            name,
            tuple(parameter.shape),
            parameter.numel(),
            parameter.numel() / total,
            _why(owners[id(parameter)], parameter, id(parameter) in held),
        )
        for name, parameter in network.named_parameters()
        if name not in prunable and sum(length > 1 for length in parameter.shape) > 1
    )


def _why(module: nn.Module, parameter: nn.Parameter, excluded: bool) -> str:
    if excluded:
        return "excluded"
    if not parameter.requires_grad:
        return "not trainable"
    if isinstance(module, NORMS):
        return "of a normalisation"
    if isinstance(module, EMBEDDINGS):
        return "of an embedding, which is pruned when asked for"
    if isinstance(module, torch.jit.ScriptModule):
        return "in a scripted module"
    return f"of a {type(module).__name__}, which is not a known layer"


def dense_notice(found: Collection[DenseMatrix]) -> str | None:
    """A notice of the matrices that stay dense; None if there are none."""
    if not found:
        return None
    largest = sorted(found, key=lambda each: -each.size)
    named = "; ".join(_words(each) for each in largest[:NAMED])
    more = f"; and {len(largest) - NAMED} smaller ones" if len(largest) > NAMED else ""
    share = sum(each.share for each in found)
    return f"Matrices with {share:.1%} of the parameters are not pruned: {named}{more}."


def _words(each: DenseMatrix) -> str:
    shape = "x".join(map(str, each.shape))
    return f"{each.name} ({shape}, {each.share:.1%}, {each.why})"


def zeros_of(parameters: Iterable[torch.Tensor]) -> int:
    """Entries that are zero."""
    return sum(int((each == 0).sum()) for each in parameters)
