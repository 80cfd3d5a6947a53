"""Checkpoints written in the format that their name ends with.

``.safetensors`` is ours: plain names, with a description of network and data beside them. ``.pt``
and ``.pth`` hold a plain state_dict that torch reads with ``weights_only=True``. ``.pt.gz`` is the
same, compressed. Zeros take almost no space there, and one line of Python loads it. Matrices packed
by :mod:`.packed` go into the first two.
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
from .checkpoint import FORMAT_VERSION, METADATA_KEY, as_tensors, write_checkpoint
from .packed import OF_PACKING, PACKINGS, pack_state, rows_as_torch
from .packing import Group

__all__ = ["PLAIN", "SUFFIXES", "check_suffix", "loading_line", "suffix_of", "write_network"]

SUFFIXES = (".safetensors", ".st", ".pt", ".pth", ".pt.gz", ".pth.gz")

OURS = (".safetensors", ".st")
"""Suffixes of the format that holds a description of network and data; the second is short for the
first."""

PLAIN = (".pt", ".pth")
"""The formats that torch itself reads."""

LEVEL = 6
"""Level of compression. At higher levels, files of pruned networks shrink by less than a
percent."""


def suffix_of(path: Path) -> str | None:
    """Which of :data:`SUFFIXES` the name ends with; None where none does."""
    name = path.name.lower()
    return next((each for each in sorted(SUFFIXES, key=len)[::-1] if name.endswith(each)), None)


def check_suffix(path: Path, *, sparse: bool = False, onnx: bool = False) -> None:
    """Refuse a name whose format is unknown, or cannot be ``sparse``; with ``onnx`` the message
    names .onnx too, which the caller writes itself.

    Raises:
        UsageError: it is one of them.
    """
    suffix = suffix_of(path)
    if suffix is None:
        raise UsageError(
            f"A checkpoint cannot be written as {path.name}; end its name with .safetensors, .pt, "
            + (".pth, .pt.gz or .onnx." if onnx else ".pth or .pt.gz.")
        )
    if sparse and suffix not in (*OURS, *PLAIN):
        raise UsageError(
            f"{path.name} is compressed as a whole and cannot hold packed matrices; end its name "
            "with .safetensors or .pt, or leave the packing out."
        )


def loading_line(path: Path | str, artifact_format: str = "") -> str:
    """A line of Python that loads the file."""
    suffix, name = suffix_of(Path(path)), str(path)
    packing = artifact_format.partition(", ")[2]
    if packing == "csr" and suffix in PLAIN:
        return (
            f"import torch; file = torch.load({name!r}, weights_only=True); state = "
            "{n: t.to_dense().view(file['prunelimit']['sparse'][n]) if t.layout == "
            "torch.sparse_csr else t for n, t in file['state_dict'].items()}"
        )
    if packing in PACKINGS:
        return f"import prunelimit as pl; state = pl.densify({name!r})"
    if artifact_format == "onnx":
        return f"import onnxruntime; session = onnxruntime.InferenceSession({name!r})"
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
    packing: str = "bitmask",
    groups: Mapping[str, Group] | None = None,
    force: bool = False,
) -> Artifact:
    """Write ``tensors`` by name, in the format of ``path``'s suffix.

    Tensors named in ``sparse`` are stored by ``packing``, and ``groups`` those of N:M. The
    ``description`` of network and data goes into .safetensors, and into .pt with packed tensors.
    ``bytes_dense`` of the result is the size of the file without packing or compression.

    Raises:
        UsageError: the suffix is unknown.
        OutputError: ``path`` exists and ``force`` is not given, or cannot be written.
    """
    path = Path(path)
    check_suffix(path, sparse=bool(sparse))
    suffix = suffix_of(path)
    if suffix in OURS:
        return write_checkpoint(
            path,
            tensors,
            description,
            sparse=sparse,
            packing=packing,
            groups=groups,
            force=force,
        )
    plain = {
        name: each.detach().cpu().clone() if isinstance(each, Tensor) else each
        for name, each in tensors.items()
    }
    content, kind = _saved(plain), "torch"
    dense = len(content)
    if sparse:
        content = _saved(_packed(path, plain, description, sparse, packing, groups))
        kind = f"torch, {packing}"
    elif str(suffix).endswith(".gz"):
        content, kind = gzip.compress(content, compresslevel=LEVEL, mtime=0), "torch, gzip"
    with writing(path, force=force) as temporary:
        temporary.write_bytes(content)
    return Artifact(path=str(path), format=kind, bytes=len(content), bytes_dense=dense)


def _saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _packed(
    path: Path,
    tensors: Mapping[str, Any],
    description: Mapping[str, Any],
    sparse: Collection[str],
    packing: str,
    groups: Mapping[str, Group] | None,
) -> dict[str, Any]:
    """A packed state_dict and its description, as torch.save takes them."""
    plain = dict(as_tensors(path, tensors))
    if packing == "csr":
        stored, about = rows_as_torch(plain, sparse)
    else:
        stored, about = pack_state(plain, sparse, packing, groups)
    kept = {name: each for name, each in description.items() if name not in OF_PACKING}
    described = {**kept, "format_version": FORMAT_VERSION, **about}
    return {"state_dict": stored, METADATA_KEY: described}
