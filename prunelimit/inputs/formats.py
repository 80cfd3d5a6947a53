"""Checkpoints written in the format that their name ends with.

``.safetensors`` is ours: plain names, with a description of network and data beside them. ``.pt``
and ``.pth`` hold a plain state_dict that torch reads with ``weights_only=True``. ``.pt.gz`` is the
same, compressed: zeros take next to no space there, and the file stays one line from a network.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..results.types import Artifact
from ..storage.files import writing
from .checkpoint import write_checkpoint

__all__ = ["SUFFIXES", "check_suffix", "loading_line", "suffix_of", "write_network"]

SUFFIXES = (".safetensors", ".st", ".pt", ".pth", ".pt.gz", ".pth.gz")

OURS = (".safetensors", ".st")
"""The format that holds a description of network and data; the second is short for the first."""

LEVEL = 6
"""Compression: beyond it, files of pruned networks shrink by less than a percent."""


def suffix_of(path: Path) -> str | None:
    """Which of :data:`SUFFIXES` the name ends with; None where none does."""
    name = path.name.lower()
    return next((each for each in sorted(SUFFIXES, key=len)[::-1] if name.endswith(each)), None)


def check_suffix(path: Path, *, sparse: bool = False) -> None:
    """Refuse a name whose format is unknown, or cannot be ``sparse``.

    Raises:
        UsageError: it is one of them.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise UsageError(
            f"A checkpoint cannot be written as {path.name}; end its name with .safetensors, .pt, "
            ".pth or .pt.gz."
        )
    if sparse and suffix not in OURS:
        raise UsageError(
            f"`sparse` is a format of .safetensors files; {path.name} can be .pt.gz instead, which "
            "plain torch reads."
        )


def loading_line(path: Path | str, artifact_format: str = "") -> str:
    """A line of Python that loads the file."""
    suffix, name = suffix_of(Path(path)), str(path)
    if artifact_format == "safetensors, sparse":
        return (
            "from prunelimit.inputs.checkpoint import read_checkpoint; "
            f"state = read_checkpoint({name!r}).tensors"
        )
    if suffix in OURS:
        return f"from safetensors.torch import load_file; state = load_file({name!r})"
    if suffix in (".pt.gz", ".pth.gz"):
        return (
            "import gzip, torch; "
            f"state = torch.load(gzip.open({name!r}), weights_only=True, map_location='cpu')"
        )
    return f"import torch; state = torch.load({name!r}, weights_only=True, map_location='cpu')"


def write_network(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any],
    *,
    sparse: Collection[str] = (),
    force: bool = False,
) -> Artifact:
    """Write ``tensors`` by name, in the format of ``path``'s suffix.

    The ``description`` of network and data goes into .safetensors alone, as do tensors stored
    ``sparse``. ``bytes_dense`` of the result is the size of the file without sparse storage or
    compression.

    Raises:
        UsageError: the suffix is unknown.
        OutputError: ``path`` exists and ``force`` is not given, or cannot be written.
    """
    path = Path(path)
    check_suffix(path, sparse=bool(sparse))
    suffix = suffix_of(path)
    if suffix in OURS:
        return write_checkpoint(path, tensors, description, sparse=sparse, force=force)
    buffer = io.BytesIO()
    torch.save({name: each.detach().cpu().clone() for name, each in tensors.items()}, buffer)
    content = buffer.getvalue()
    dense = len(content)
    packed = str(suffix).endswith(".gz")
    if packed:
        content = gzip.compress(content, compresslevel=LEVEL, mtime=0)
    with writing(path, force=force) as temporary:
        temporary.write_bytes(content)
    return Artifact(
        path=str(path),
        format="torch, gzip" if packed else "torch",
        bytes=len(content),
        bytes_dense=dense,
    )
