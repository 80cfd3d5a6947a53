"""Weights of archives that torch.export writes (.pt2), read without the program beside them."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, shown
from ..storage.plain import load_plain
from .resolve import reason

__all__ = ["exported_weights"]

CONFIG = "/data/weights/model_weights_config.json"
OLDER = "serialized_state_dict.pt"
"""Ends of file names in an archive: the list of its weights, and in older archives the weights
themselves."""

KINDS = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}
"""Types by their numbers in torch._export.serde.schema."""

STRIDED = 7


def exported_weights(path: Path) -> dict[str, Tensor] | None:
    """Parameters and buffers by name; None where ``path`` is no archive of torch.export.

    Raises:
        InputError: it is one, and not whole.
    """
    try:
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            config = [name for name in names if name.endswith(CONFIG)]
            older = [name for name in names if name.split("/")[-1] == OLDER]
            if len(config) + len(older) != 1:
                return None
            if older:
                return _named(load_plain(io.BytesIO(archive.read(older[0])), what=path))
            return _described(archive, config[0], path)
    except InputError:
        raise
    except Exception as error:  # of a damaged archive zipfile raises almost anything
        raise InputError(
            f"{path} is a damaged archive of torch.export ({reason(error)}); get the file again."
        ) from error


def _described(archive: zipfile.ZipFile, config: str, path: Path) -> dict[str, Tensor]:
    folder = config.rpartition("/")[0]
    order = [name for name in archive.namelist() if name.split("/")[-1] == "byteorder"]
    if order and archive.read(order[0]).strip() != b"little":
        raise ValueError("its numbers are not in little-endian order")
    described = json.loads(archive.read(config))["config"]
    content: dict[str, bytes] = {}
    found = {}
    for name, about in described.items():
        file = about["path_name"]
        if not isinstance(file, str) or "/" in file:
            raise ValueError(
                f"the file of {shown(name)} is {shown(file)}, which is not in its folder"
            )
        if file not in content:
            content[file] = archive.read(f"{folder}/{file}")
        if about["use_pickle"]:
            found[name] = load_plain(io.BytesIO(content[file]), what=path)
        else:
            found[name] = _tensor(content[file], about["tensor_meta"])
    return _named(found)


def _tensor(content: bytes, about: Mapping[str, Any]) -> Tensor:
    kind, layout = KINDS[about["dtype"]], about["layout"]
    sizes, strides = ([_whole(each) for each in about[key]] for key in ("sizes", "strides"))
    offset = _whole(about["storage_offset"])
    if layout != STRIDED or len(sizes) != len(strides):
        raise ValueError("a tensor is not strided")
    needed = 0
    if math.prod(sizes):
        needed = offset + 1 + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if len(content) % kind.itemsize or needed * kind.itemsize > len(content):
        raise ValueError(f"{len(content)} bytes do not fit a tensor of shape {tuple(sizes)}")
    if math.prod(sizes) * kind.itemsize > len(content):
        raise ValueError(f"a tensor of shape {tuple(sizes)} repeats its numbers")
    if not content:
        return torch.empty(sizes, dtype=kind)
    flat = torch.frombuffer(bytearray(content), dtype=kind)
    return torch.as_strided(flat, sizes, strides, offset).contiguous()


def _whole(number: Any) -> int:
    found = number["as_int"]
    if type(found) is not int or not 0 <= found < 2**48:
        raise ValueError(f"a size is {shown(found)}")
    return found


def _named(found: Any) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not found:
        raise ValueError("it holds no weights")
    for name, each in found.items():
        if not isinstance(name, str) or not isinstance(each, Tensor):
            raise ValueError(f"{shown(name)} is not a tensor")
    return {name: each.detach() for name, each in found.items()}
