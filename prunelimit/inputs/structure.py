"""Inputs of any form: one tensor, or several in a tuple or a dict, one row per sample."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from ..errors import InputError, shown

__all__ = [
    "Inputs",
    "Spread",
    "cloned",
    "equal",
    "leaves",
    "mapped",
    "plain",
    "rebuilt",
    "shape_of",
    "words_of_shape",
]

Inputs: TypeAlias = Any
"""The inputs of a batch: a tensor (n, ...), or a tuple, list or dict of such, nested."""


def plain(inputs: Any, count: int) -> Inputs:
    """``inputs`` as tensors in tuples and dicts, each with ``count`` rows; None is left out.

    Raises:
        InputError: something in there is no tensor, or has other rows.
    """
    if isinstance(inputs, Mapping):
        found = {str(k): plain(each, count) for k, each in inputs.items() if each is not None}
        if not found:
            raise InputError("The inputs are an empty dict; give at least one tensor.")
        return found
    if isinstance(inputs, (tuple, list)):
        if not inputs:
            raise InputError("The inputs are empty; give at least one tensor.")
        return tuple(plain(each, count) for each in inputs)
    try:
        tensor = torch.as_tensor(inputs)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"The inputs hold a {shown(type(inputs).__name__)}; give tensors, in a tuple or a dict "
            "where there are several."
        ) from None
    if tensor.ndim < 1 or len(tensor) != count:
        raise InputError(
            f"The inputs hold a tensor of shape {tuple(tensor.shape)} for {count} samples; give "
            "every tensor one row per sample. Where samples differ in size, pad them and give a "
            "mask, or let the DataLoader have batch size 1."
        )
    return tensor


def leaves(inputs: Inputs) -> list[Tensor]:
    """The tensors in ``inputs``, in their order."""
    if isinstance(inputs, Tensor):
        return [inputs]
    found: list[Tensor] = tree_flatten(inputs)[0]
    return found


def rebuilt(tensors: Sequence[Tensor], like: Inputs) -> Inputs:
    """``tensors`` in the form of ``like``."""
    if isinstance(like, Tensor):
        return tensors[0]
    return tree_unflatten(list(tensors), tree_flatten(like)[1])


def mapped(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """``function`` of every tensor, in the same form."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    return tree_map_only(Tensor, function, inputs)


def cloned(inputs: Inputs) -> Inputs:
    """A copy of every tensor."""
    return mapped(lambda each: each.clone(), inputs)


def equal(left: Inputs, right: Inputs) -> bool:
    """Whether form and numbers are the same; NaN is equal to nothing."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return torch.equal(left, right)
    mine, theirs = tree_flatten(left), tree_flatten(right)
    return mine[1] == theirs[1] and all(map(torch.equal, mine[0], theirs[0]))


def shape_of(inputs: Inputs) -> tuple[int, ...]:
    """The shape of one sample; () where there are several tensors."""
    return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else ()


def words_of_shape(inputs: Inputs) -> str:
    """The shapes of one sample, as errors state them."""
    if isinstance(inputs, Tensor):
        return str(tuple(inputs.shape[1:]))
    if isinstance(inputs, Mapping):
        inner = [f"{shown(name)}: {words_of_shape(each)}" for name, each in inputs.items()]
        return "{" + ", ".join(inner) + "}"
    return "(" + ", ".join(map(words_of_shape, inputs)) + ")"


@dataclass(frozen=True)
class Spread:
    """A hook before a network's forward: a dict is passed by keywords, a tuple by places.

    ``names`` are the arguments of the forward. ``positional`` counts those that can be passed by
    place. ``anything`` says whether it takes any keyword. A forward with fewer arguments gets the
    dict or tuple as it is.
    """

    names: frozenset[str]
    positional: float
    anything: bool

    @staticmethod
    def of(network: nn.Module) -> Spread:
        """The hook that suits the forward of ``network``."""
        try:
            found = inspect.signature(network.forward).parameters.values()
        except (TypeError, ValueError):
            return Spread(frozenset(), 1, False)
        kinds = [each.kind for each in found]
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        endless = inspect.Parameter.VAR_POSITIONAL in kinds
        return Spread(
            frozenset(each.name for each in found if each.kind in by_name),
            float("inf") if endless else sum(kind in by_place for kind in kinds),
            inspect.Parameter.VAR_KEYWORD in kinds,
        )

    def __call__(
        self, network: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as the forward takes them.

        Raises:
            InputError: it knows some keys of a dict, and others not.
        """
        if len(given) != 1 or named:
            return given, named
        (inputs,) = given
        if isinstance(inputs, Mapping):
            unknown = [] if self.anything else [key for key in inputs if key not in self.names]
            if not unknown:
                return (), dict(inputs)
            if len(unknown) < len(inputs):
                raise InputError(
                    f"The inputs hold {shown(unknown[0])}, and the network's forward has no such "
                    "argument; leave it out of the data, or add it to the forward."
                )
        elif isinstance(inputs, (tuple, list)) and len(inputs) <= self.positional:
            return tuple(inputs), named
        return given, named
