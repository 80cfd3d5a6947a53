"""One hash of texts and tensors, by which stored work is recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["digest"]


def digest(pieces: Iterable[Any]) -> str:
    """SHA-256 (hexadecimal) of texts and tensors in order. For a tensor, its type, shape and bytes
    count.

    >>> digest(["a", torch.ones(2)]) == digest(["a", torch.ones(2)])
    True
    >>> digest(["a", torch.ones(2)]) == digest(["a", torch.ones(1, 2)])
    False
    """
    found = hashlib.sha256()
    for piece in pieces:
        if isinstance(piece, Tensor):
            found.update(f"{piece.dtype} {tuple(piece.shape)} ".encode())
            flat = piece.detach().cpu().contiguous().reshape(-1)
            found.update(flat.view(torch.uint8).numpy().data)
        else:
            found.update(repr(piece).encode())
        found.update(b"\n")
    return found.hexdigest()
