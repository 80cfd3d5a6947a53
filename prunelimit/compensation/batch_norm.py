"""Statistics of batch normalisation taken anew, since pruning changes the values they describe.

Source: the second pass of stochastic weight averaging (Izmailov et al. 2018), and its use after
pruning (Hubara et al. 2021). No labels are read and nothing is trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..inputs.problem import Split

__all__ = ["norm_layers", "recalibrated", "statistics"]

BATCH = 100
"""Samples that are normalised together. Fixed, so that `batch_size` changes no number."""

KINDS = ("running_mean", "running_var")


def norm_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The batch normalisations of ``model`` that hold running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
    }


def statistics(model: nn.Module, split: Split, samples: int) -> dict[str, Tensor]:
    """``running_mean`` and ``running_var`` of every batch normalisation, by buffer name.

    They are means over the first ``samples`` of ``split``, or over all if there are fewer, in
    batches of nearly equal size. Each batch is normalised by its own statistics. Every other layer
    is in eval mode. ``model`` is unchanged. Empty where there is no such layer.

    Raises:
        UsageError: fewer than two samples.
    """
    if not norm_layers(model):
        return {}
    count = min(samples, len(split))
    if count < 2:
        raise UsageError(
            f"`bn_recalibrate` is {samples}; give 2 samples or more, or 0 to leave batch "
            "normalisation as it is."
        )
    twin = copy.deepcopy(model).eval()
    layers = norm_layers(twin)
    for module in layers.values():
        assert isinstance(module, nn.modules.batchnorm._BatchNorm)
        module.reset_running_stats()
        module.momentum = None  # the mean over batches, each weighing the same
        module.train()
    with torch.no_grad():
        for inputs in _batches(split, count):
            twin(inputs)
    found = dict(twin.named_buffers())
    names = [f"{name}.{kind}".removeprefix(".") for name in layers for kind in KINDS]
    return {name: found[name].clone() for name in names}


def recalibrated(
    model: nn.Module, dense: nn.Module, before: dict[str, Tensor], split: Split, samples: int
) -> dict[str, Tensor]:
    """The statistics that ``dense`` holds, changed as pruning it to ``model`` changes them.

    ``before`` are the :func:`statistics` of ``dense`` on the same samples. The statistics that
    ``dense`` holds differ from them by some ratio of variances, and by some number of standard
    deviations of the mean. The new ones keep these differences. So statistics that training took
    from augmented data stay statistics of augmented data. A network that was not pruned stays as it
    is. A channel without any weight left is exactly constant.

    Raises:
        UsageError: fewer than two samples.
    """
    after, held = statistics(model, split, samples), dict(dense.named_buffers())
    found = {}
    for name in after:
        if name.endswith("running_mean"):
            continue
        mean = name.removesuffix("var") + "mean"
        old = before[name]
        tiny = torch.finfo(old.dtype).tiny
        ratio = torch.where(old > tiny, after[name] / old.clamp_min(tiny), torch.ones_like(old))
        found[mean] = after[mean] + ratio.sqrt() * (held[mean] - before[mean])
        found[name] = held[name] * ratio
    return found


def _batches(split: Split, count: int) -> Iterator[Tensor]:
    pieces: Iterable[Tensor] = torch.arange(count).tensor_split(math.ceil(count / BATCH))
    for order in pieces:
        for inputs, _ in split.batches(len(order), order=order):
            yield inputs
