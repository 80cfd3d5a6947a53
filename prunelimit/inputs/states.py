"""State_dicts within what a checkpoint holds: where they lie, and which of them is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, shown

__all__ = [
    "EXTRA_STATE",
    "State",
    "choose",
    "find_states",
    "is_known",
    "ranked",
    "strip_prefixes",
]

EXTRA_STATE = "_extra_state"
"""Last part of the name of a module's state beside its tensors."""

HOLDERS = (
    "",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
"""Names under which a training run holds its network, the surest first."""

AVERAGES = re.compile(r"(^|[._])(ema|swa|avg|averaged?|shadow(_params)?)([._]|$)")
"""Names of an average of the weights, kept beside those that were trained."""

NOT_NETWORKS = re.compile(
    r"(optim|optimizer|scheduler|scaler|rng|amp|callback|loop|loss|criterion|metric)", re.IGNORECASE
)
"""Names under which tensors of no network are held."""

PREFIXES = ("module.", "_orig_mod.")

DEEPEST, MOST = 8, 20_000
"""Depth, and number of values, up to which state_dicts are looked for."""


@dataclass(frozen=True)
class State:
    """One state_dict: ``key`` is the path to it in the file, parts joined by dots ("" at the top).

    ``extra`` holds the state of modules beside tensors, under names that end in ``_extra_state``.
    ``metadata`` are the versions that torch keeps by the names of modules, if there are any.
    """

    key: str
    tensors: dict[str, Tensor]
    extra: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None

    @property
    def average(self) -> bool:
        """Whether its path says that it is an average of the weights."""
        return AVERAGES.search(self.key.lower()) is not None


def find_states(loaded: Any) -> list[State]:
    """Every state_dict in ``loaded``, at any depth of mappings and lists, in the file's order.

    A mapping is one if its keys are text and its values are tensors, except ``_extra_state``. If
    there is none, a mapping that holds tensors beside other values counts, with its tensors alone.
    """
    strict = list(_walk(loaded, (), 0, [MOST], _strict))
    return strict or list(_walk(loaded, (), 0, [MOST], _loose))


def ranked(states: list[State]) -> list[State]:
    """``states``, with those first that are most likely the trained network; else in the file's
    order."""

    def rank(state: State) -> tuple[bool, int, int]:
        last = state.key.rpartition(".")[2].lower()
        known = HOLDERS.index(last) if last in HOLDERS else len(HOLDERS)
        return state.average, known, state.key.count(".")

    return sorted(states, key=rank)


def choose(states: list[State], key: str | None, path: str) -> list[State]:
    """The state at ``key`` of the file at ``path``, or part of one. If ``key`` is None, all states,
    the likeliest first.

    Raises:
        InputError: there is none at ``key``.
    """
    if key is None:
        return ranked(states)
    for state in states:
        if state.key == key:
            return [state]
    for state in sorted(states, key=lambda each: -len(each.key)):
        if state.key and not key.startswith(f"{state.key}."):
            continue
        head = (key[len(state.key) + 1 :] if state.key else key) + "."
        part = {n[len(head) :]: t for n, t in state.tensors.items() if n.startswith(head)}
        if part:
            extra = {n[len(head) :]: e for n, e in state.extra.items() if n.startswith(head)}
            return [State(key, part, extra)]
    known = ", ".join(shown(state.key) or "the file itself" for state in states[:8])
    raise InputError(f"{path} holds no state_dict at `key` {shown(key)}; it holds {known}.")


def is_known(state: State) -> bool:
    """Whether the file's own names say that this is the network that was trained."""
    return state.key.rpartition(".")[2].lower() in HOLDERS and not state.average


def _walk(
    value: Any, path: tuple[str, ...], depth: int, left: list[int], of: Any
) -> Iterator[State]:
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        return
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, Mapping):
        found = of(value, ".".join(path))
        if found is not None:
            yield found
            return
        if "param_groups" in value:  # the state of an optimizer
            return
        items: Any = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return
    for key, inner in items:
        if isinstance(inner, (Mapping, list, tuple, torch.nn.Module)):
            if path == () and NOT_NETWORKS.search(str(key)):
                continue
            yield from _walk(inner, (*path, str(key)), depth + 1, left, of)


def _strict(value: Mapping[Any, Any], key: str) -> State | None:
    if not value or not all(isinstance(name, str) for name in value):
        return None
    tensors = {name: each for name, each in value.items() if isinstance(each, Tensor)}
    extra = {
        name: each
        for name, each in value.items()
        if not isinstance(each, Tensor) and name.rpartition(".")[2] == EXTRA_STATE
    }
    if not tensors or len(tensors) + len(extra) < len(value):
        return None
    metadata = getattr(value, "_metadata", None)
    versions: dict[str, Any] | None = None
    if isinstance(metadata, Mapping) and all(
        isinstance(name, str) and isinstance(each, Mapping) for name, each in metadata.items()
    ):
        versions = {name: dict(each) for name, each in metadata.items()}
    return State(key, tensors, extra, versions)


def _loose(value: Mapping[Any, Any], key: str) -> State | None:
    named = {str(name): each for name, each in value.items() if isinstance(each, Tensor)}
    if not any("." in name or name in ("weight", "bias") for name in named):
        return None
    return State(key, named)


def strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` without the prefixes that wrappers of the whole network gave every key."""
    while tensors:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
                break
        else:
            break
    return tensors
