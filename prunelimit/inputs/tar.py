"""Files of torch before 0.1.10, which are tar archives, read without running anything in them.

Torch reads them only where it may run code. Their layout is that of ``_legacy_load`` in
torch/serialization.py. The members ``storages`` and ``tensors`` are each a count and then a pickle
and numbers for every one. In the member ``pickle`` tensors stand by their keys. The pickles are
read by what torch reads ``weights_only`` files with.
"""

from __future__ import annotations

import math
import struct
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch._weights_only_unpickler import Unpickler

from ..storage.plain import check_torch

__all__ = ["MEMBERS", "is_tar", "read_tar", "tar_members"]

MEMBERS = ("storages", "tensors", "pickle")


def is_tar(path: Path) -> bool:
    """Whether the file is a tar archive with what torch put into one."""
    try:
        if not tarfile.is_tarfile(path):
            return False
        with tarfile.open(path, "r:") as archive:
            return set(MEMBERS) <= set(archive.getnames())
    except Exception:  # of a damaged one tarfile raises almost anything
        return False


@contextmanager
def tar_members(path: Path) -> Iterator[list[IO[bytes]]]:
    """The streams of :data:`MEMBERS`, none of which is larger than the file.

    Raises:
        ValueError: one is no ordinary member. Of a damaged archive tarfile raises almost anything.
    """
    size = path.stat().st_size
    with tarfile.open(path, "r:") as archive:
        found = []
        for name in MEMBERS:
            member = archive.getmember(name)
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None or member.issparse() or member.size > size:
                raise ValueError(f"its {name} are not an ordinary member of the archive")
            found.append(stream)
        yield found


def read_tar(path: Path) -> Any:
    """What the file holds, tensors on the CPU.

    Raises:
        InputError: this torch is not safe to read it with. Of one that is damaged, or that holds
            more than tensors and plain types, almost anything else is raised.
    """
    check_torch(path)
    with tar_members(path) as (storages, tensors, content), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unusual protocol stops nothing
        held = _storages(storages)
        known = _tensors(tensors, held)
        unpickler = _unpickler(content)
        unpickler.persistent_load = lambda key: known[_key(key)]
        return unpickler.load()


def _unpickler(stream: IO[bytes]) -> Any:
    return Unpickler(stream, encoding="utf-8")


def _loaded(stream: IO[bytes]) -> Any:
    return _unpickler(stream).load()


def _key(given: Any) -> int:
    """Keys are addresses; those of persistent objects were written as text."""
    if isinstance(given, (str, bytes)):
        return int(given)
    if type(given) is not int:
        raise ValueError("a tensor has no key")
    return given


def _exactly(stream: IO[bytes], count: int) -> bytes:
    found = stream.read(count) if count >= 0 else b""
    if len(found) != count:
        raise ValueError("it is cut off")
    return found


def _numbers(stream: IO[bytes], count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}q", _exactly(stream, 8 * count))


def _storages(stream: IO[bytes]) -> dict[int, Tensor]:
    """The storages, one-dimensional tensors, by their keys. Some are parts of others."""
    found: dict[int, Tensor] = {}
    for _ in range(_loaded(stream)):
        key, _, kind = _loaded(stream)
        (count,) = _numbers(stream, 1)
        dtype: torch.dtype = kind.dtype
        content = bytearray(_exactly(stream, count * dtype.itemsize))
        empty = torch.empty(0, dtype=dtype)
        found[_key(key)] = torch.frombuffer(content, dtype=dtype) if content else empty
    for key, root, offset, count in _loaded(stream):
        whole = found[_key(root)]
        if not 0 <= offset <= offset + count <= len(whole):
            raise ValueError("a part is not within its whole")
        found[_key(key)] = whole[offset : offset + count]
    return found


def _tensors(stream: IO[bytes], storages: dict[int, Tensor]) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    for _ in range(_loaded(stream)):
        key, storage, _ = _loaded(stream)
        ndim, _ = struct.unpack("<ii", _exactly(stream, 8))
        if not 0 <= ndim <= 64:
            raise ValueError(f"a tensor has {ndim} dimensions")
        sizes, strides = _numbers(stream, ndim), _numbers(stream, ndim)
        (offset,) = _numbers(stream, 1)
        held = storages[_key(storage)]
        if min((*sizes, *strides, offset), default=0) < 0:
            raise ValueError("a size is negative")
        last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
        whole = math.prod(sizes) if ndim else len(held)
        if whole and (last >= len(held) or whole > len(held)):
            raise ValueError("a tensor is not within its storage")
        if not whole:
            found[_key(key)] = held.new_empty(sizes if ndim else (0,))  # it had no scalars
        else:
            found[_key(key)] = held.as_strided(sizes, strides, held.storage_offset() + offset)
    return found
