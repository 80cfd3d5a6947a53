"""Files of tensors that carry their checksum. safetensors itself has none."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..hashing import digest

__all__ = ["read_summed", "write_summed"]

SUM = "sha256"

NUMBER = re.compile(r"os error (\d+)")
"""Where a message of safetensors names the error of the system."""


def write_summed(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write ``tensors`` to ``path`` (.safetensors) in one move, with their checksum.

    Raises:
        OSError: it cannot be written.
    """
    found = {name: tensor.contiguous() for name, tensor in tensors.items()}
    temporary = path.with_suffix(".new")
    try:
        save_file(found, temporary, {SUM: _sum(found)})
    except SafetensorError as error:
        told = NUMBER.search(str(error))
        if told is None:
            raise
        raise OSError(int(told[1]), os.strerror(int(told[1])), str(path)) from error
    temporary.replace(path)


def read_summed(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The tensors that :func:`write_summed` wrote to ``path``, on ``device``.

    Raises:
        ValueError: they do not have the checksum.
        OSError, SafetensorError: it cannot be read.
    """
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        expected = (file.metadata() or {}).get(SUM)
    if expected != _sum(found):
        raise ValueError(f"{path.name} is damaged")
    return {name: tensor.to(device) for name, tensor in found.items()}


def _sum(tensors: Mapping[str, Tensor]) -> str:
    return digest(each for name in sorted(tensors) for each in (name, tensors[name]))
