"""Checkpoints: ours (safetensors that describe themselves), and those of others.

A file that was only to be read never runs code: torch files are loaded with ``weights_only``.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError, OutputError, shown
from ..results.types import Artifact
from ..storage.files import writing
from .pickles import wanted_globals
from .resolve import reason

__all__ = ["Checkpoint", "read_checkpoint", "strip_prefixes", "write_checkpoint"]

FORMAT_VERSION = 1
METADATA_KEY = "prunelimit"
HOLDERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "ema",
    "weights",
)
PREFIXES = ("module.", "_orig_mod.")
MASK_SUFFIX, VALUES_SUFFIX = ".__mask__", ".__values__"


@dataclass(frozen=True)
class Checkpoint:
    """A state_dict on the CPU; ``description`` is what a file of ours says of itself."""

    path: Path
    tensors: dict[str, Tensor]
    description: dict[str, Any] | None
    format: str
    sha256: str


def read_checkpoint(path: Path | str, *, trust_pickle: bool = False) -> Checkpoint:
    """Read a safetensors file, a plain state_dict, or a training checkpoint that holds one.

    The prefixes ``module.`` and ``_orig_mod.`` are stripped from keys.

    Raises:
        InputError: there is no such file, it is damaged, it wants to run code on loading (and
            ``trust_pickle`` is not given), or it holds no state_dict.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(9)
    except FileNotFoundError:
        raise InputError(f"There is no checkpoint {path}; check the name.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the checkpoint file itself.") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    description = None
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        tensors, description = _read_safetensors(path)
        kind = "safetensors"
    else:
        tensors, kind = _read_torch(path, trust_pickle), "torch"
    # Weights that another pruning tool stored as sparse tensors.
    tensors = {
        name: tensor if tensor.layout == torch.strided else tensor.to_dense()
        for name, tensor in tensors.items()
    }
    return Checkpoint(path, strip_prefixes(tensors), description, kind, _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return (
            hashlib.file_digest(stream, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(stream.read()).hexdigest()
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            stored = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({reason(error)}); get it again."
        ) from error
    if METADATA_KEY in metadata:
        try:
            description = json.loads(metadata[METADATA_KEY])
            newer = description["format_version"] > FORMAT_VERSION
            sparse = dict(description["sparse"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{path} describes itself in a way prunelimit never writes ({reason(error)}); "
                "write it anew."
            ) from error
        if newer:
            raise InputError(f"{path} was written by a newer prunelimit; upgrade to read it.")
        return _unpack(stored, sparse, path), description
    return stored, None


def _read_torch(path: Path, trust_pickle: bool) -> dict[str, Tensor]:
    try:
        # What torch warns of, an unusual pickle protocol, is told below if it matters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except Exception as error:
        if "TorchScript" in str(error):
            raise InputError(
                f"{path} is a TorchScript archive; save the network's state_dict instead."
            ) from None
        wanted = [] if trust_pickle else wanted_globals(path)
        if wanted:
            more = f" and {len(wanted) - 5} more" if len(wanted) > 5 else ""
            raise InputError(
                f"{path} wants to run code on loading ({', '.join(wanted[:5])}{more}); save its "
                "state_dict instead, or give --trust-pickle if you made the file yourself."
            ) from None
        detail = f" ({reason(error)})" if trust_pickle else ""
        raise InputError(
            f"{path} is damaged or not a checkpoint{detail}; give a whole file saved by torch.save "
            "or as safetensors."
        ) from None
    return _find_state(loaded, path)


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) for key in value)
        and all(isinstance(item, Tensor) for item in value.values())
    )


def _find_state(loaded: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, torch.nn.Module):
        return dict(loaded.state_dict())
    if _is_state(loaded):
        return dict(loaded)
    if isinstance(loaded, Mapping):
        for name in HOLDERS:
            if name in loaded and _is_state(loaded[name]):
                return dict(loaded[name])
            if isinstance(loaded.get(name), torch.nn.Module):
                return dict(loaded[name].state_dict())
        states = [value for value in loaded.values() if _is_state(value)]
        if len(states) == 1:
            return dict(states[0])
        keys = ", ".join(str(key) for key in list(loaded)[:5]) or "nothing"
        raise InputError(f"{path} holds no state_dict (it holds {keys}); save one in it.")
    raise InputError(f"{path} holds a {type(loaded).__name__}, not a state_dict; save one instead.")


def strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` without the prefixes that wrappers of the whole network gave every key."""
    while tensors:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
                break
        else:
            break
    return tensors


def _pack(tensors: Mapping[str, Tensor], sparse: Collection[str]) -> tuple[dict[str, Tensor], Any]:
    """Tensors named in ``sparse`` as one bit per entry and the values that are not zero."""
    stored: dict[str, Tensor] = {}
    shapes = {}
    for name, tensor in tensors.items():
        if name not in sparse:
            stored[name] = tensor
            continue
        flat = tensor.reshape(-1)
        # The sign bit keeps negative zeros, so that every tensor reads back bit for bit.
        kept = (flat != 0) | flat.signbit()
        bits = np.packbits(kept.numpy())
        stored[name + MASK_SUFFIX] = torch.from_numpy(bits)
        stored[name + VALUES_SUFFIX] = flat[kept]
        shapes[name] = list(tensor.shape)
    return stored, shapes


def _unpack(
    stored: dict[str, Tensor], shapes: Mapping[str, list[int]], path: Path
) -> dict[str, Tensor]:
    tensors = {
        name: tensor
        for name, tensor in stored.items()
        if not name.endswith((MASK_SUFFIX, VALUES_SUFFIX))
    }
    for name, shape in shapes.items():
        try:
            bits, values = stored[name + MASK_SUFFIX], stored[name + VALUES_SUFFIX]
            if not all(type(length) is int and length >= 0 for length in shape):
                raise ValueError(f"its shape is {shown(shape)}")
            size = math.prod(shape)
            if bits.dtype != torch.uint8 or bits.shape != (-(-size // 8),):
                raise ValueError(f"{bits.numel()} bytes of mask for {size} entries")
            kept = torch.from_numpy(np.unpackbits(bits.numpy(), count=size).astype(bool))
            if values.shape != (int(kept.sum()),):
                raise ValueError(f"{values.numel()} values for {int(kept.sum())} entries not zero")
            flat = torch.zeros(size, dtype=values.dtype)
            flat[kept] = values
            tensors[name] = flat.view(shape)
        except (KeyError, RuntimeError, IndexError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} does not hold {shown(name)} whole ({reason(error)}); get it again."
            ) from error
    return tensors


def write_checkpoint(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any],
    *,
    sparse: Collection[str] = (),
    force: bool = False,
) -> Artifact:
    """Write ``tensors`` with their ``description`` as safetensors.

    Tensors named in ``sparse`` are stored as a bit mask and their nonzero values; they read back
    as the same dense tensors, bit for bit. ``bytes_dense`` of the result is the size of the same
    file without that.

    Raises:
        OutputError: ``path`` exists and ``force`` is not given, or cannot be written.
    """
    path = Path(path)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    plain = {name: tensor.clone() for name, tensor in plain.items()}
    stored, shapes = _pack(plain, sparse)
    full = {**description, "format_version": FORMAT_VERSION, "sparse": shapes}
    try:
        content = _serialised(stored, full)
        dense = len(_serialised(plain, {**full, "sparse": {}})) if shapes else len(content)
    except SafetensorError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}.") from error
    with writing(path, force=force) as temporary:
        temporary.write_bytes(content)
    return Artifact(
        path=str(path),
        format="safetensors, sparse" if shapes else "safetensors",
        bytes=len(content),
        bytes_dense=dense,
    )


def _serialised(tensors: dict[str, Tensor], description: Mapping[str, Any]) -> bytes:
    """A safetensors file, the same bytes for the same content.

    The library writes the metadata in an order that changes from run to run, and the sha256 of a
    checkpoint with it; the header is therefore written again with its keys sorted. Offsets count
    from its end, which stays a multiple of eight bytes.
    """
    content = save(tensors, metadata={METADATA_KEY: json.dumps(description), "format": "pt"})
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
