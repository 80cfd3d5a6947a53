"""Files of torch that hold tensors and plain types, and run nothing on loading."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from ..errors import InputError

__all__ = ["check_sums", "check_torch", "load_plain", "save_plain"]

SAFE_FROM = (2, 10)
"""Versions of torch before this one run code in some files, even with ``weights_only``."""


def check_torch(what: object) -> None:
    """Refuse to read ``what``, a pickle, with a torch that lets some pickles run code. The torch
    that is installed with prunelimit lets none.

    Raises:
        InputError: it is such a torch.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < SAFE_FROM:
        raise InputError(
            f"{what} is a pickle, and torch {torch.__version__} does not keep every pickle from "
            "running code; upgrade torch to 2.10, or give the weights as safetensors."
        )


def load_plain(
    file: Path | IO[bytes], device: torch.device | str = "cpu", what: object = None
) -> Any:
    """What ``torch.save`` wrote to ``file``, tensors on ``device``; ``what`` names it in messages.

    Raises:
        InputError: this torch is not safe to read it with. If the file is damaged or holds more,
            torch itself raises almost anything.
    """
    check_torch(file if what is None else what)
    # Warnings of torch, such as one of an unusual pickle protocol, do not matter.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(file, map_location=device, weights_only=True)


def save_plain(state: object, path: Path) -> None:
    """Write ``state``, tensors and plain types, to ``path`` for :func:`load_plain`. A file of which
    only a part could be written is removed.

    Raises:
        OSError: it cannot be written.
    """
    try:
        # Given a name instead of a file, torch refuses some names that are legal.
        with path.open("wb") as file:
            torch.save(state, file)
    except Exception as error:
        path.unlink(missing_ok=True)
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__  # torch raises its own in its place
        if cause is None:
            raise
        raise OSError(cause.errno, cause.strerror) from error


def check_sums(path: Path) -> None:
    """Check every part of a file that ``torch.save`` wrote here against its checksum. torch itself
    does not look at it.

    Raises:
        ValueError: a part does not have its checksum.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
