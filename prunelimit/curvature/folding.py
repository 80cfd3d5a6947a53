"""Folding of batch normalisation in eval mode: the same function of the same weights, cheaper.

A normalisation may read a convolution or linear layer, and nothing else. It is then an affine map
of that layer's output with fixed coefficients: s = gamma / sqrt(variance + eps) and t = beta - mean
s. Scaling the layer's weight by s and setting its bias to b s + t gives the same outputs. Both are
differentiable in the weight, so derivatives of every order are the same too. The normalisation's
own passes over the activations are saved.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ..devices import wide
from ..inputs.call import call
from ..inputs.structure import Inputs

__all__ = ["CLOSE", "Folded", "fold"]

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CLOSE = 1e3
"""Outputs may differ by this many units of rounding, relative to the largest."""


@dataclass(frozen=True)
class _Pair:
    """One layer and the affine map, each (channels,), that its normalisation applies."""

    layer: str
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Folded:
    """A network without the normalisations that could be folded.

    ``model`` is to be called with the tensors that :meth:`tensors` makes of the original ones.
    """

    model: nn.Module
    pairs: tuple[_Pair, ...]

    def tensors(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters of ``model``, as differentiable functions of the original ``given``."""
        own = {name for name, _ in self.model.named_parameters()}
        found = {name: tensor for name, tensor in given.items() if name in own}
        for pair in self.pairs:
            weight, bias = f"{pair.layer}.weight", f"{pair.layer}.bias"
            shape = (-1,) + (1,) * (given[weight].ndim - 1)
            found[weight] = given[weight] * pair.scale.view(shape)
            found[bias] = pair.shift
            if bias in given:
                found[bias] = given[bias] * pair.scale + pair.shift
        return found


def fold(model: nn.Module, free: set[str], example: Inputs) -> Folded | None:
    """``model`` (in eval mode) with every normalisation folded that can be; None where none can.

    ``free`` names the parameters that derivatives are taken in: a normalisation with one of them
    stays. A network whose calls cannot be traced, or whose outputs for ``example`` change, is left
    as it is.
    """
    chosen = _foldable(model, free)
    if not chosen:
        return None
    named = dict(model.named_modules())
    twin = copy.deepcopy(model)
    pairs = []
    for layer_name, norm_name in chosen:
        norm, layer = named[norm_name], twin.get_submodule(layer_name)
        scale, shift = _affine(norm)
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros_like(shift))
        parent, _, attribute = norm_name.rpartition(".")
        setattr(twin.get_submodule(parent), attribute, nn.Identity())
        pairs.append(_Pair(layer_name, scale, shift))
    folded = Folded(twin, tuple(pairs))
    return folded if _same(model, folded, example) else None


def _foldable(model: nn.Module, free: set[str]) -> list[tuple[str, str]]:
    """Names of (layer, normalisation) that are called once each, where only the normalisation reads
    the layer."""
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # a forward may leave it switched
            graph = fx.symbolic_trace(model).graph
    except Exception:  # whatever a user's forward raises when its inputs are not tensors
        return []
    named = dict(model.named_modules(remove_duplicate=False))
    calls = Counter(id(named[str(n.target)]) for n in graph.nodes if n.op == "call_module")
    read = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    shared = _shared(model)
    found = []
    for node in graph.nodes:
        if node.op != "call_module" or type(named[str(node.target)]) not in NORMS:
            continue
        before = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        norm_name, layer_name = str(node.target), str(before.target)
        norm, layer = named[norm_name], named[layer_name]
        weights = [f"{norm_name}.{n}" for n, _ in norm.named_parameters()]
        if (
            type(layer) in LAYERS
            and len(before.users) == 1
            and calls[id(layer)] == calls[id(norm)] == 1
            and norm.running_mean is not None
            and not free.intersection(weights)
            and not any(name.startswith(layer_name + ".") for name in read | shared)
            and _channels_agree(layer, norm)
            and not _hooked(layer)
            and not _hooked(norm)
        ):
            found.append((layer_name, norm_name))
    return found


def _channels_agree(layer: nn.Module, norm: nn.Module) -> bool:
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return bool(outputs == norm.num_features)


def _hooked(module: nn.Module) -> bool:
    """Whether calling ``module`` does more than its forward, or its weight is made elsewhere."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    return any(hooks) or nn.utils.parametrize.is_parametrized(module)


def _shared(model: nn.Module) -> set[str]:
    """Names of parameters that more than one module holds."""
    named = list(model.named_parameters(remove_duplicate=False))
    holders = Counter(id(parameter) for _, parameter in named)
    return {name for name, parameter in named if holders[id(parameter)] > 1}


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """s and t of the normalisation, computed in float64."""
    assert isinstance(norm, NORMS) and norm.running_mean is not None
    assert norm.running_var is not None
    scale = (wide(norm.running_var) + norm.eps).rsqrt()
    shift = -wide(norm.running_mean)
    if norm.affine:
        scale = scale * wide(norm.weight.detach())
    shift = shift * scale
    if norm.affine:
        shift = shift + wide(norm.bias.detach())
    return scale.to(norm.running_mean), shift.to(norm.running_mean)


def _same(model: nn.Module, folded: Folded, example: Inputs) -> bool:
    with torch.no_grad():
        expected = model(example)
        given = {n: p.detach() for n, p in model.named_parameters()}
        found = call(folded.model, folded.tensors(given), example)
    if not isinstance(expected, Tensor) or expected.shape != found.shape:
        return False
    slack = CLOSE * torch.finfo(expected.dtype).eps * float(expected.abs().max())
    return bool((expected - found).abs().max() <= slack)
