"""Files as torch before 0.1.10 wrote them."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["archived", "tar_file"]


def tar_file(entries: dict[str, Any], path: Path, **changes: Any) -> None:
    """Write ``entries`` as torch before 0.1.10 did: its reader, which torch still has, is the
    description. Every tensor is a view of one storage of its type, from its second number on."""
    tensors = {name: each for name, each in entries.items() if isinstance(each, Tensor)}
    kinds = {each.dtype: number for number, each in enumerate(tensors.values())}
    storages, views, about = io.BytesIO(), [], io.BytesIO()

    def put(stream: io.BytesIO, value: Any) -> None:
        pickle.dump(value, stream, protocol=2)

    put(storages, changes.get("count", len(kinds)))
    put(about, len(tensors))
    for dtype, root in kinds.items():
        own = {name: each for name, each in tensors.items() if each.dtype == dtype}
        whole = torch.cat(
            [torch.zeros(1, dtype=dtype), *(each.reshape(-1) for each in own.values())]
        )
        put(storages, (root, "cpu", getattr(torch, f"{KINDS[dtype]}Storage")))
        storages.write(struct.pack("<q", changes.get("numbers", len(whole))))
        storages.write(whole.numpy().tobytes())
        begin = 1
        for name, each in own.items():
            key = 1000 + list(tensors).index(name)
            views.append((2 * key, root, begin + changes.get("shift", 0), each.numel()))
            put(about, (key, 2 * key, getattr(torch, f"{KINDS[dtype]}Tensor")))
            sizes = changes.get("sizes", each.shape)
            strides = changes.get("strides", each.contiguous().stride())
            about.write(struct.pack("<ii", len(sizes), 0))
            about.write(struct.pack(f"<{2 * len(sizes) + 1}q", *sizes, *strides, 0))
            begin += each.numel()
    put(storages, views)
    content = io.BytesIO()
    writer = pickle.Pickler(content, protocol=2)
    keys = {id(each): 1000 + number for number, each in enumerate(tensors.values())}
    writer.persistent_id = lambda value: keys.get(id(value))  # type: ignore[method-assign]
    writer.dump(changes.get("content", collections.OrderedDict(entries)))
    members = {"storages": storages, "tensors": about, "pickle": content}
    path.write_bytes(archived({name: each.getvalue() for name, each in members.items()}))


def archived(members: dict[str, bytes]) -> bytes:
    """A tar archive of files by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


KINDS = {torch.float32: "Float", torch.int64: "Long", torch.float64: "Double", torch.bool: "Bool"}
