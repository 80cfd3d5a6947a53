"""Files of torch that hold tensors and plain types, and run nothing on loading."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from ..errors import InputError

__all__ = ["check_sums", "check_torch", "load_plain"]

SAFE_FROM = (2, 10)
"""Versions of torch before this one run code that some files hold, for all ``weights_only``."""


def check_torch(what: object) -> None:
    """Refuse to read ``what``, a pickle, by a torch that does not keep all of them from running
    code. Installing prunelimit brings one that does.

    Raises:
        InputError: it is such a torch.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < SAFE_FROM:
        raise InputError(
            f"{what} is a pickle, and torch {torch.__version__} does not keep all of them from "
            "running code; upgrade torch to 2.10, or give the weights as safetensors."
        )


def load_plain(
    file: Path | IO[bytes], device: torch.device | str = "cpu", what: object = None
) -> Any:
    """What ``torch.save`` wrote to ``file``, tensors on ``device``; ``what`` names it in messages.

    Raises:
        InputError: this torch is not safe to read it with; torch itself raises almost anything else
            where the file is damaged or holds more.
    """
    check_torch(file if what is None else what)
    # What torch warns of, such as an unusual pickle protocol, stops nothing.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(file, map_location=device, weights_only=True)


def check_sums(path: Path) -> None:
    """Hold every part of a file that ``torch.save`` wrote here to its checksum, which torch itself
    does not look at.

    Raises:
        ValueError: a part is another.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
