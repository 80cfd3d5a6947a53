"""``inspect``: the content of a checkpoint. Nothing in it is run, and no network is made from
it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .. import plugins
from ..config import ModelConfig, RunConfig
from ..errors import InputError, PruneLimitError
from ..inputs.checkpoint import Checkpoint, read_checkpoint, weight_files
from ..inputs.known import likely_builtin, network_like
from ..inputs.load import held_parameters
from ..inputs.pickles import wanted_globals
from ..inputs.plain import folded_tensors
from ..inputs.prunable import dense_matrices, prunable_weights
from ..inputs.resolve import parse_arguments
from ..inputs.states import State, choose, strip_prefixes
from ..results.types import InspectResult, StateInfo, TensorInfo
from .provenance import Recorder

__all__ = ["inspect"]

PRUNED = re.compile(
    r"(^|\.)(weight|(in_proj|[qkv]_proj)_weight|weight_([ih]h|hr)_l\w+|weight_[ih]h)$"
)
"""Names of the weights of layers that are pruned."""

EMBEDDING = re.compile(r"(^|[._])(emb\w*|\w+_emb\w*|wte|wpe)\.weight$")
"""Names of the tables of embeddings."""


def inspect(checkpoint: Path, config: ModelConfig | None = None) -> InspectResult:
    """The content of the file or folder ``checkpoint``. If it has several state_dicts, that at
    ``config.key``.

    The network says which matrices are prunable. It is the one that ``config`` names, or a built-in
    one that the file names or looks like. Without one, names and shapes decide.

    Raises:
        InputError: it cannot be read, holds no state_dict, or none at ``key``; or the network that
            is named cannot be made.
        UsageError: there is no such network.
    """
    config = ModelConfig() if config is None else config
    recorder = Recorder("inspect", RunConfig(), config)
    files = weight_files(checkpoint)
    size = sum(file.stat().st_size for file in files)
    try:
        read = read_checkpoint(checkpoint)
    except InputError:
        code = tuple(dict.fromkeys(name for file in files for name in wanted_globals(file)))
        if not code:
            raise
        return InspectResult(
            provenance=recorder.finish(),
            path=str(checkpoint),
            format="torch",
            bytes=size,
            sha256=None,
            code=code,
            states=(),
            state=None,
            prefix="",
            entries=0,
            zeros=0,
            dtypes={},
            tensors=(),
        )
    chosen = choose(list(read.states), config.key, str(checkpoint))[0]
    folded, names = folded_tensors(chosen.tensors)
    tensors = strip_prefixes(folded)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    likely, described = likely_builtin(shapes), _described(read)
    spec = config.model or _builtin(described) or likely
    roles = {} if spec is None else _roles(spec, shapes, config)
    infos = _tensors(tensors, roles)
    first, bare = next(iter(folded)), next(iter(tensors))
    dtypes: dict[str, int] = {}
    for info in infos:
        dtypes[info.dtype] = dtypes.get(info.dtype, 0) + 1
    return InspectResult(
        provenance=recorder.finish(),
        path=str(checkpoint),
        format=read.format,
        bytes=size,
        sha256=read.sha256,
        code=(),
        states=tuple(_state(state) for state in read.states),
        state=chosen.key,
        prefix=first.removesuffix(bare),
        entries=sum(tensor.numel() for tensor in _once(tensors)),
        zeros=sum(info.zeros for info in infos if info.same_as is None),
        dtypes=dtypes,
        tensors=infos,
        folded=tuple(names),
        claimed=read.claimed,
        described=described,
        likely=likely,
        network=spec if roles else None,
    )


def _builtin(described: str | None) -> str | None:
    """The network that a file names, if making it runs no code but that of prunelimit."""
    found = plugins.describe("network")
    own = [e.name for e in found if e.package == "prunelimit" and "form" not in e.facts]
    return described if described in own else None


def _roles(
    spec: str, shapes: Mapping[str, tuple[int, ...]], config: ModelConfig
) -> dict[str, str | None]:
    """Why each matrix of the network ``spec`` is not pruned, by its name in the file. "" if it is
    pruned, None if it is no matrix."""
    try:
        network = network_like(spec, shapes, parse_arguments(config.model_arg))
    except PruneLimitError:
        if config.model is not None:
            raise
        network = None  # the tensors are not those of the network that the file names
    if network is None:
        return {}
    known = prunable_weights(network, embeddings=config.include_embeddings)
    named = dict(network.named_parameters(remove_duplicate=False))
    held = held_parameters(network, config.exclude)
    kept = {name for name, each in named.items() if id(each) in known and id(each) not in held}
    found: dict[str, str | None] = dict.fromkeys(named)
    found |= {name: "" for name in kept}
    why = {id(named[each.name]): each.why for each in dense_matrices(network, kept, held)}
    found |= {name: why[id(each)] for name, each in named.items() if id(each) in why}
    return {name: each for name, each in found.items() if shapes.get(name) == named[name].shape}


def _state(state: State) -> StateInfo:
    return StateInfo(
        key=state.key,
        tensors=len(state.tensors),
        entries=sum(tensor.numel() for tensor in _once(state.tensors)),
    )


def _described(read: Checkpoint) -> str | None:
    model = (read.description or {}).get("model")
    named = model.get("model") if isinstance(model, dict) else None
    return named if isinstance(named, str) else None


def _mark(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    """A mark that is equal for tensors in the same memory."""
    return tensor.data_ptr(), tuple(tensor.shape)


def _once(tensors: dict[str, Tensor]) -> list[Tensor]:
    return list(
        {_mark(each) if each.numel() else id(each): each for each in tensors.values()}.values()
    )


def _tensors(tensors: dict[str, Tensor], roles: Mapping[str, str | None]) -> tuple[TensorInfo, ...]:
    known: dict[tuple[int, tuple[int, ...]], str] = {}
    total = max(1, sum(tensor.numel() for tensor in _once(tensors)))
    found = []
    for name, tensor in tensors.items():
        first = known.setdefault(_mark(tensor), name) if tensor.numel() else name
        why = roles.get(name, _why(name, tensor))
        found.append(
            TensorInfo(
                name=name,
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                zeros=_zeros(tensor),
                share=tensor.numel() / total,
                same_as=None if first == name else first,
                prunable=why == "",
                why=why or None,
            )
        )
    return tuple(found)


def _why(name: str, tensor: Tensor) -> str | None:
    """Why a matrix is not pruned; "" if it is, None for a tensor that is no matrix."""
    called = tensor.ndim > 1 and PRUNED.search(name)
    if sum(length > 1 for length in tensor.shape) < 2:
        # A matrix of one row may be a layer's: one with a single output, or a convolution by
        # channels.
        weight = called and tensor.is_floating_point() and not EMBEDDING.search(name)
        return "" if weight else None
    if not tensor.is_floating_point():
        return "not of floating-point numbers"
    if tensor.ndim == 2 and EMBEDDING.search(name):
        return "of an embedding, by its name, which is pruned when asked for"
    if called:
        return ""
    return "not called as the weight of a layer"


def _zeros(tensor: Tensor) -> int:
    if tensor.dtype.itemsize == 1 and tensor.is_floating_point():  # float8 has no comparison
        tensor = tensor.view(torch.uint8) & 0x7F
    elif tensor.is_quantized:
        tensor = tensor.int_repr()
    return int((tensor == 0).sum())
