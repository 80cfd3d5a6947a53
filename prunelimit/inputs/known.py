"""Which built-in network a file's tensors look like, by their names and shapes."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from .. import plugins
from ..errors import PruneLimitError
from ..values import is_attribute
from .build import build_network, family

__all__ = ["likely_builtin", "network_like"]

SHAPES: tuple[tuple[int, ...], ...] = (
    (3, 32, 32),
    (1, 28, 28),
    (1, 8, 8),
    (1, 32, 32),
    (3, 64, 64),
    (3, 224, 224),
)
SHARED = 0.9
"""Two networks count as one family if they have at least this share of names in common."""


def likely_builtin(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The built-in network whose tensors have the names, and where possible the shapes, of
    ``shapes``; None where none does. Nothing is read, and no weights are made."""
    names = {name for name in shapes if not name.endswith("num_batches_tracked")}
    best: tuple[float, str] | None = None
    for name in _own_names():
        for theirs in _built(name, shapes):
            wanted = {n: s for n, s in theirs.items() if not n.endswith("num_batches_tracked")}
            if {n: shapes.get(n) for n in wanted} == wanted and len(names) == len(wanted):
                return name
            shared = len(names & wanted.keys()) / max(1, len(names | wanted.keys()))
            if best is None or shared > best[0]:
                best = shared, name
    return best[1] if best is not None and best[0] >= SHARED else None


def _built(
    name: str, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[dict[str, tuple[int, ...]]]:
    """The shapes of the network ``name``, for the inputs and classes that ``shapes`` imply."""
    matrices = [shape for shape in shapes.values() if len(shape) > 1]
    if not matrices:
        return
    classes = min(matrices[-1][0], 100_000)
    first = matrices[0]
    inputs = SHAPES if len(first) == 4 else ((1, 1, min(first[1], 2**24)),)
    for shape in inputs:
        fitting = (first[1], *shape[1:]) if len(first) == 4 else shape
        found = _shapes(name, fitting, classes)
        if found is not None:
            yield found


def network_like(
    spec: str, shapes: Mapping[str, tuple[int, ...]], arguments: Mapping[str, Any] | None = None
) -> nn.Module | None:
    """The network that ``spec`` names. Inputs and classes are chosen so that its tensors have most
    of ``shapes``. It has no weights if it is built in. None if it takes no such inputs.

    Raises:
        UsageError: there is no such network.
        InputError: a user's own cannot be made.
    """
    matrices = [shape for shape in shapes.values() if len(shape) > 1]
    first, classes = (matrices[0], min(matrices[-1][0], 100_000)) if matrices else ((1, 1), 1)
    inputs = SHAPES if len(first) == 4 else ((1, 1, min(first[1], 2**24)),)
    best: tuple[int, nn.Module] | None = None
    for shape in inputs:
        fitting = (first[1], *shape[1:]) if len(first) == 4 else shape
        if is_attribute(spec):
            return build_network(spec, input_shape=fitting, classes=classes, arguments=arguments)
        try:
            with warnings.catch_warnings(), torch.device("meta"):
                warnings.simplefilter("ignore")
                network = build_network(
                    spec, input_shape=fitting, classes=classes, arguments=arguments
                )
        except PruneLimitError:
            if shape == inputs[-1] and best is None:
                raise
            continue
        own = {n: tuple(t.shape) for n, t in network.state_dict().items()}
        same = sum(shapes.get(name) == each for name, each in own.items())
        if best is None or same > best[0]:
            best = same, network
    return None if best is None else best[1]


@functools.lru_cache(maxsize=128)
def _shapes(name: str, inputs: tuple[int, ...], classes: int) -> dict[str, tuple[int, ...]] | None:
    """The shapes of a built-in network's tensors; None where it takes no such inputs."""
    with contextlib.suppress(Exception), warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # a file may have tensors without entries
        network = family(name).build(inputs, classes)
        return {n: tuple(t.shape) for n, t in network.state_dict().items()}
    return None


def _own_names() -> list[str]:
    """Other packages' networks are not tried."""
    found = plugins.describe("network")
    return [e.name for e in found if e.package == "prunelimit" and "form" not in e.facts]
