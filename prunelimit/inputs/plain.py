"""Networks and state_dicts made plain. Wrappers are removed. Masks and parametrizations are folded
into the weights that the network computes with."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ..errors import InputError

__all__ = ["copied", "fold_network", "folded_names", "folded_tensors", "unwrapped"]

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
ORIGINAL = "parametrizations."
SLOTS = ("__dict__", "__weakref__")
"""What Python adds to every class itself."""


def unwrapped(network: nn.Module) -> nn.Module:
    """``network`` without DataParallel, DistributedDataParallel, averaging and torch.compile.

    Modules inside that are compiled are replaced in place by those they were compiled from.
    """
    from torch.optim.swa_utils import AveragedModel

    # No module is compiled where the compiler is not loaded, which would take seconds.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    compiled = () if compiler is None else (compiler.OptimizedModule,)
    while True:
        inner = network
        if isinstance(network, (*WRAPPERS, AveragedModel)):
            inner = network.module
        elif isinstance(network, compiled):
            inner = network._orig_mod
        if inner is network:
            break
        network = inner
    for module in list(network.modules()):
        module._compiled_call_impl = None  # of module.compile()
        for name, child in list(module.named_children()):
            if isinstance(child, compiled):
                setattr(module, name, unwrapped(child))
    return network


def copied(network: nn.Module) -> nn.Module:
    """A deep copy of ``network``, also of one whose weights are computed anew in every forward. Of
    those, what was computed last is first cut off from the graph that made it."""
    for module in network.modules():
        for hook in filter(_of_a_weight, _hooks(module)):
            name = str(getattr(hook, "name", None) or getattr(hook, "_tensor_name", ""))
            if isinstance(module.__dict__.get(name), Tensor):
                module.__dict__[name] = module.__dict__[name].detach()
    return copy.deepcopy(network)


def fold_network(network: nn.Module) -> list[str]:
    """Make every parametrized, normalised or masked tensor of ``network`` a plain one, in place.

    Such tensors come from torch.nn.utils.parametrize (weight_norm and spectral_norm among them),
    its older forms, and torch.nn.utils.prune. The outputs in eval mode stay the same. Returns the
    names of the tensors that were folded.
    """
    network.eval()
    found = []
    for prefix, module in network.named_modules():
        names = _parametrized(module) + _hooked(module)
        found += [f"{prefix}.{name}" if prefix else name for name in names]
    return found


def folded_names(network: nn.Module) -> bool:
    """Whether :func:`fold_network` would change ``network``."""
    return any(
        parametrize.is_parametrized(module) or any(map(_of_a_weight, _hooks(module)))
        for module in network.modules()
    )


def _parametrized(module: nn.Module) -> list[str]:
    if not parametrize.is_parametrized(module):
        return []
    names = list(module.parametrizations)  # type: ignore[arg-type]
    _own_class(module)
    for name in names:
        # Gradients are on, since they tell torch whether the result is to be a parameter.
        with torch.enable_grad():
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        _keep(module, name)
    return names


def _own_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own. torch makes one for it, which copies share. It
    takes the parametrized tensors out of that class when they are made plain."""
    shared = type(module)
    own = {key: value for key, value in vars(shared).items() if key not in SLOTS}
    module.__class__ = type(shared.__name__, shared.__bases__, own)


def _keep(module: nn.Module, name: str) -> None:
    """Register the tensor ``name``, which torch may leave as a mere attribute."""
    if name in module._parameters or name in module._buffers:
        return
    tensor = getattr(module, name)
    delattr(module, name)
    module.register_parameter(
        name, nn.Parameter(tensor.detach().clone(), requires_grad=tensor.requires_grad)
    )


def _hooks(module: nn.Module) -> Iterable[Any]:
    return list(module._forward_pre_hooks.values())


def _of_a_weight(hook: Any) -> bool:
    return isinstance(hook, (WeightNorm, SpectralNorm, prune.BasePruningMethod))


def _hooked(module: nn.Module) -> list[str]:
    names = []
    for hook in _hooks(module):
        if isinstance(hook, WeightNorm):
            names.append(hook.name)
            torch.nn.utils.remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            names.append(hook.name)
            torch.nn.utils.remove_spectral_norm(module, hook.name)
            _forget_spectral_hooks(module)
        elif isinstance(hook, prune.BasePruningMethod):
            names.append(hook._tensor_name)
            # From the tensors that are loaded now. The masked tensor itself is that of the last
            # forward.
            prune.remove(module, hook._tensor_name)
    return names


def _forget_spectral_hooks(module: nn.Module) -> None:
    """Remove the hooks on reading and writing, which torch wraps and then does not find again."""
    for hooks in (module._load_state_dict_pre_hooks, module._state_dict_hooks):
        for key, hook in list(hooks.items()):
            inner = getattr(hook, "hook", hook)
            if type(inner).__module__ == SpectralNorm.__module__:
                del hooks[key]


def folded_tensors(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """``tensors`` with the parts that the tools above left of a tensor folded into it, and the
    names of the folded tensors.

    Raises:
        InputError: parts of a tensor do not belong together.
    """
    found = dict(tensors)
    folded = []
    for name in tensors:
        for parts in (_pruned, _spectral, _normed, _spectral_parametrized, _normed_parametrized):
            names = parts(name)
            if names is None or not all(each in found for each in names[1:]):
                continue
            target, *sources = names
            if target in tensors:
                continue
            try:
                value = _combined(parts, [found[each] for each in sources])
            except RuntimeError as error:
                raise InputError(
                    f"{sources[0]} and {sources[1]} in the file do not belong together "
                    f"({' '.join(str(error).split())}); save the network again."
                ) from error
            for each in sources:
                del found[each]
            found[target] = value
            folded.append(target)
            break
    return found, folded


def _pruned(name: str) -> tuple[str, ...] | None:
    """torch.nn.utils.prune: ``weight_orig`` and ``weight_mask``."""
    if not name.endswith("_orig"):
        return None
    base = name.removesuffix("_orig")
    return base, name, f"{base}_mask"


def _normed(name: str) -> tuple[str, ...] | None:
    """torch.nn.utils.weight_norm: ``weight_g`` and ``weight_v``."""
    if not name.endswith("_g"):
        return None
    base = name.removesuffix("_g")
    return base, name, f"{base}_v"


def _spectral(name: str) -> tuple[str, ...] | None:
    """torch.nn.utils.spectral_norm: ``weight_orig``, ``weight_u`` and ``weight_v``."""
    if not name.endswith("_orig"):
        return None
    base = name.removesuffix("_orig")
    return base, name, f"{base}_u", f"{base}_v"


def _normed_parametrized(name: str) -> tuple[str, ...] | None:
    """torch.nn.utils.parametrizations.weight_norm: ``original0`` and ``original1``."""
    head, _, tail = name.rpartition(ORIGINAL)
    inner, _, last = tail.rpartition(".")
    if last != "original0" or f"{ORIGINAL}{inner}" not in name:
        return None
    return head + inner, name, f"{head}{ORIGINAL}{inner}.original1"


def _spectral_parametrized(name: str) -> tuple[str, ...] | None:
    """torch.nn.utils.parametrizations.spectral_norm: ``original``, ``0._u`` and ``0._v``."""
    head, _, tail = name.rpartition(ORIGINAL)
    inner, _, last = tail.rpartition(".")
    if last != "original" or f"{ORIGINAL}{inner}" not in name:
        return None
    place = f"{head}{ORIGINAL}{inner}"
    return head + inner, name, f"{place}.0._u", f"{place}.0._v"


def _combined(kind: Any, parts: list[Tensor]) -> Tensor:
    if kind is _pruned:
        if parts[0].shape != parts[1].shape:
            raise RuntimeError(f"their shapes are {tuple(parts[0].shape)}, {tuple(parts[1].shape)}")
        # With 0 added there is no negative zero, which is stored as a value.
        return parts[0] * parts[1].to(parts[0].dtype) + 0
    if kind in (_normed, _normed_parametrized):
        size, direction = parts
        if size.ndim not in (0, direction.ndim):
            raise RuntimeError(f"their shapes are {tuple(size.shape)}, {tuple(direction.shape)}")
        axes = range(direction.ndim)
        over = [axis for axis in axes if size.numel() == 1 or size.shape[axis] == 1]
        length = torch.linalg.vector_norm(direction, dim=over, keepdim=size.ndim > 0)
        return torch.mul(direction, size / length)
    weight, u, v = parts
    # Transposed convolutions have their outputs second. The sizes of the vectors tell the
    # dimension.
    axis = 0 if len(u) == weight.shape[0] and len(v) == weight[0].numel() else 1
    matrix = weight.movedim(axis, 0).flatten(1)
    return weight / torch.dot(u.to(weight.dtype), matrix.mv(v.to(weight.dtype)))
