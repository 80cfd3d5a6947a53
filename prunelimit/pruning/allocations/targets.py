"""A sparsity for every layer, from a file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError, shown
from ...results.sensitivity import SensitivityResult, SharedCurve, shared
from ...results.soundness import read
from ...storage.files import read_json
from ..allocation import Allocation, Counts, Ranking, apportion
from ..layers import PrunableLayer

NAME = "targets"
ORDER = 20
ARGUMENT = "FILE.json"
SOURCE = "prunelimit"
HELP = (
    "What a file says: the curves of single layers that `measure --per-layer -o` wrote, or a "
    "sparsity for every layer by its name."
)

__all__ = ["ALLOCATION"]

LEAST = 1e-9
"""Stands for zero where a positive number is needed."""

Keep = Callable[[int], Sequence[float]]
"""``keep(remove)``: about how much each layer keeps if ``remove`` weights go in all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Targets(Allocation):
    """The allocation once it has its file."""

    def given(self, file: str) -> Allocation:
        """That of the file, which is read when a network is pruned."""

        def begin(ranking: Ranking) -> Counts:
            return _counts(ranking.layers, _read(file, ranking.layers))

        return dataclasses.replace(self, name=f"{NAME}:{file}", function=begin)


def _counts(layers: Sequence[PrunableLayer], keep: Keep) -> Counts:
    """Whole numbers near those that are to be kept."""
    sizes = [layer.size for layer in layers]

    def counts(caps: Sequence[int], remove: int) -> list[int]:
        lower = [size - cap for size, cap in zip(sizes, caps, strict=True)]
        wanted = [max(each, LEAST) for each in keep(remove)]
        kept = apportion(wanted, lower, sizes, sum(sizes) - remove)
        return [size - count for size, count in zip(sizes, kept, strict=True)]

    return counts


def _read(file: str, layers: Sequence[PrunableLayer]) -> Keep:
    document = read_json(Path(file))
    if document.get("schema") == SensitivityResult.SCHEMA:
        return _measured(file, read(SensitivityResult, document, file), layers)
    return _named(file, document.get("layers", document), layers)


def _measured(file: str, found: SensitivityResult, layers: Sequence[PrunableLayer]) -> Keep:
    """The shares of the least sum of the layers' own loss rises. Beyond the sparsities measured,
    every layer loses the same share of what it has left. A layer whose curve says nothing loses the
    average share."""
    known = {each.name: each for each in found.layers}
    if len(known) < len(found.layers):
        raise InputError(f"{file} names a layer twice; measure the network per layer again.")
    for layer in layers:
        if layer.name not in known or known[layer.name].shape != tuple(layer.shape):
            raise InputError(
                f"{file} has no curve of {layer.name} with shape "
                f"{'x'.join(map(str, layer.shape))}: it is about another network, so measure this "
                "one per layer."
            )
        if known[layer.name].measured and not known[layer.name].curve:
            raise InputError(
                f"{file} has no point of {layer.name}; measure the network per layer again."
            )
        for point in known[layer.name].curve:
            numbers = point.rise, point.accuracy, point.loss
            if not (all(map(math.isfinite, numbers)) and 0 <= point.sparsity <= 1):
                raise InputError(
                    f"{file} holds a sparsity, an accuracy or a loss of {layer.name} that makes "
                    "no sense; measure the network per layer again."
                )
    curves = [SharedCurve.of(known[layer.name]) for layer in layers]
    sizes = [layer.size for layer in layers]
    learnt = [known[layer.name].measured for layer in layers]

    def keep(remove: int) -> list[float]:
        # A layer whose curve says nothing loses the average share.
        share = remove / max(1, sum(sizes))
        unknown = [0.0 if ok else share * size for ok, size in zip(learnt, sizes, strict=True)]
        counts = shared(curves, total=remove - math.fsum(unknown))
        counts = [a + b for a, b in zip(counts, unknown, strict=True)]
        return [size - each for size, each in zip(sizes, counts, strict=True)]

    return keep


def _named(file: str, targets: Any, layers: Sequence[PrunableLayer]) -> Keep:
    """Exactly the sparsities of the file, if they add up to the amount asked for. Else the
    logarithm of what every layer keeps is multiplied by one common factor."""
    if not isinstance(targets, Mapping):
        raise InputError(
            f"{file} has no sparsity for a layer's name; give an object with a sparsity for every "
            "layer."
        )
    if "schema" in targets:
        raise InputError(
            f"{file} holds {shown(str(targets['schema']))}, which has no curves of single layers; "
            "give what measure writes when every layer is measured alone."
        )
    names = [layer.name for layer in layers]
    for name in (*targets, *names):
        if name not in targets:
            raise InputError(f"{file} has no sparsity for {name}; give one for every layer.")
        if name not in names and name != "schema":
            raise InputError(
                f"{file} names {shown(str(name))}, which is not a prunable layer; remove that name."
            )
    for name in names:
        value = targets[name]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:
            raise InputError(
                f"{file} gives {name} {shown(repr(value))[:40]}; give a fraction from 0 to 1."
            )
    if names and all(targets[name] == 1 for name in names):
        raise InputError(
            f"{file} gives every layer a sparsity of 1, so nothing says how the layers share the "
            "weights that stay; give at least one layer less."
        )
    pairs = [(layer.size, 1 - targets[layer.name]) for layer in layers]
    whole = sum(size for size, _ in pairs)

    def kept(factor: float) -> list[float]:
        return [size * share**factor for size, share in pairs]

    def keep(remove: int) -> list[float]:
        if remove == 0:
            return [float(size) for size, _ in pairs]
        low, high = 1e-9, 1e4
        for _ in range(100):
            middle = math.sqrt(low * high)
            if math.fsum(kept(middle)) > whole - remove:
                low = middle
            else:
                high = middle
        return kept(high)

    return keep


def _without(ranking: Ranking) -> Counts:
    raise InputError(f"The allocation {NAME} needs a file; give {NAME}:{ARGUMENT}.")


ALLOCATION = _Targets(NAME, SOURCE, HELP, function=_without)
