"""``inspect``: what a checkpoint holds, with nothing of it run and no network made of it."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..config import RunConfig
from ..errors import InputError
from ..inputs.checkpoint import Checkpoint, read_checkpoint, weight_files
from ..inputs.known import likely_builtin
from ..inputs.pickles import wanted_globals
from ..inputs.plain import folded_tensors
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


def inspect(checkpoint: Path, key: str | None = None) -> InspectResult:
    """What the file, or the folder, ``checkpoint`` holds; at ``key``, where there are several
    state_dicts in it.

    Raises:
        InputError: it cannot be read, holds no state_dict, or none at ``key``.
    """
    recorder = Recorder("inspect", RunConfig())
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
    chosen = choose(list(read.states), key, str(checkpoint))[0]
    folded, names = folded_tensors(chosen.tensors)
    tensors = strip_prefixes(folded)
    infos = _tensors(tensors)
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
        described=_described(read),
        likely=likely_builtin({name: tuple(tensor.shape) for name, tensor in tensors.items()}),
    )


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
    """The same for tensors that are the same memory."""
    return tensor.data_ptr(), tuple(tensor.shape)


def _once(tensors: dict[str, Tensor]) -> list[Tensor]:
    return list(
        {_mark(each) if each.numel() else id(each): each for each in tensors.values()}.values()
    )


def _tensors(tensors: dict[str, Tensor]) -> tuple[TensorInfo, ...]:
    known: dict[tuple[int, tuple[int, ...]], str] = {}
    total = max(1, sum(tensor.numel() for tensor in _once(tensors)))
    found = []
    for name, tensor in tensors.items():
        first = known.setdefault(_mark(tensor), name) if tensor.numel() else name
        why = _why(name, tensor)
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
    """Why a matrix is not pruned; "" where it is, and None for what is no matrix."""
    if sum(length > 1 for length in tensor.shape) < 2:
        return None
    if not tensor.is_floating_point():
        return "not of floating-point numbers"
    if tensor.ndim == 2 and EMBEDDING.search(name):
        return "of an embedding, by its name, which is pruned when asked for"
    if PRUNED.search(name):
        return ""
    return "not called as the weight of a layer"


def _zeros(tensor: Tensor) -> int:
    if tensor.dtype.itemsize == 1 and tensor.is_floating_point():  # float8 has no comparison
        tensor = tensor.view(torch.uint8) & 0x7F
    elif tensor.is_quantized:
        tensor = tensor.int_repr()
    return int((tensor == 0).sum())
