"""Checkpoints: ours (safetensors that describe themselves), and those of others.

A file that was only to be read never runs code: torch files are loaded with ``weights_only``.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from ..storage.files import read_json, writing
from ..storage.plain import load_plain
from .compressed import is_compressed, unpacked
from .exported import exported_weights
from .packed import OF_PACKING, fits_in, pack_state, state_in, unpack_state
from .packing import PARTS, Group
from .pickles import script_pickle, wanted_globals
from .resolve import reason
from .states import State, find_states, ranked, strip_prefixes
from .tar import is_tar, read_tar

__all__ = [
    "FORMAT_VERSION",
    "METADATA_KEY",
    "Checkpoint",
    "as_tensors",
    "digest",
    "read_checkpoint",
    "weight_files",
    "write_checkpoint",
]

FORMAT_VERSION = 1
METADATA_KEY = "prunelimit"

OBJECT_SUFFIX = ".__object__"
"""Suffix of an entry's name if it is no tensor but plain types, as torch.save writes them."""

LFS = b"version https://git-lfs"
FOREIGN = {
    LFS: "a Git LFS pointer, not the file itself; fetch the file with git lfs pull",
    b"<!DOCTYPE": "a web page, not a checkpoint; download the file again",
    b"<html": "a web page, not a checkpoint; download the file again",
    b"\x89HDF": "an HDF5 file, as Keras writes them; save a state_dict of torch instead",
    b"GGUF": "a GGUF file, whose weights are quantised; give the weights that it was made from",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it with unzstd first",
    b"BZh": "compressed by bzip2; unpack it with bunzip2 first",
    b"\xfd7zXZ": "compressed by xz; unpack it with unxz first",
}
"""First bytes of files that are no checkpoints, and what these files are."""

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WHOLES = ("model.safetensors", "pytorch_model.bin")
"""Files of a Hugging Face folder that hold its weights, or say which files do."""

CLAIMS = (
    "best_prec1",
    "best_acc1",
    "best_acc",
    "best_accuracy",
    "prec1",
    "acc1",
    "acc",
    "accuracy",
)
"""Names under which training checkpoints state their accuracy, in percent or as a fraction."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file, on the CPU; ``description`` is what a file of ours says of itself.

    ``states`` are the state_dicts in it, unchanged. ``tensors`` are those of the likeliest, without
    the prefixes ``module.`` and ``_orig_mod.`` of their names. Once the file is loaded into a
    network, they are the tensors that the network was given, by its own names. ``claimed`` is the
    accuracy, from 0 to 1, that the file says its network has.
    """

    path: Path
    tensors: dict[str, Tensor]
    description: dict[str, Any] | None
    format: str
    sha256: str
    states: tuple[State, ...] = ()
    claimed: float | None = None


def read_checkpoint(
    path: Path | str, *, trust_pickle: bool = False, main: Sequence[Path] = ()
) -> Checkpoint:
    """Read a safetensors file, a state_dict, or a training checkpoint that holds some.

    ``path`` may also be a folder of Hugging Face, or the index of weights in several files. With
    ``trust_pickle``, classes that a pickle names as those of its own script are looked for in the
    files ``main``.

    Raises:
        InputError: there is no such file, it is damaged, it wants to run code on loading (and
            ``trust_pickle`` is not given), or it holds no state_dict.
    """
    path = Path(path)
    files = weight_files(path)
    description = None
    states: list[State] = []
    kind = "torch"
    claimed: float | None = None
    size = 0
    for file in files:
        with unpacked(file) as whole:
            size += whole.stat().st_size
            kind, found, described, stated = _read(whole, trust_pickle, main)
        kind += ", gzip" if is_compressed(file) else ""
        description, claimed = described or description, stated or claimed
        states = _joined(path, states, found) if len(files) > 1 else found
    states = [_dense(state, path, size) for state in states]
    first = ranked(states)[0]
    return Checkpoint(
        path,
        strip_prefixes(first.tensors),
        description,
        kind,
        _sha256(files),
        tuple(states),
        claimed,
    )


def _read(
    file: Path, trust_pickle: bool, main: Sequence[Path]
) -> tuple[str, list[State], dict[str, Any] | None, float | None]:
    """Format, state_dicts, description and claim of one file, which is not compressed."""
    _refuse_foreign(file)
    if file.suffix == ".safetensors" or _head(file)[8:9] == b"{":
        tensors, extra, description = _read_safetensors(file)
        return "safetensors", [State("", tensors, extra)], description, None
    exported = _read_exported(file)
    if exported is not None:
        return "torch.export", [State("", exported)], None, None
    loaded = _load_torch(file, trust_pickle, main)
    ours = state_in(loaded)
    if ours is None:
        return "torch", _states(file, loaded), None, _claimed(loaded)
    tensors, extra, description = _ours(file, *ours)
    return "torch", [State("", tensors, extra)], description, None


def _joined(path: Path, before: list[State], found: list[State]) -> list[State]:
    """The state of a file in several parts, with one more of them."""
    if len(found) != 1:
        raise InputError(
            f"A part of {path} does not hold exactly one state_dict; get the files again."
        )
    if not before:
        return found
    twice = before[0].tensors.keys() & found[0].tensors.keys()
    if twice:
        raise InputError(
            f"{path} has {shown(min(twice))} in two of its files; get the files again."
        )
    return [State("", {**before[0].tensors, **found[0].tensors})]


def weight_files(path: Path) -> list[Path]:
    """The files that hold the weights: ``path`` itself, or those that it leads to.

    Raises:
        InputError: there is no such file, or it is known to be something else.
    """
    try:
        if path.is_dir():
            for name in (*INDEXES, *WHOLES):
                if (path / name).is_file():
                    return weight_files(path / name)
            raise InputError(
                f"{path} is a folder without {', '.join(WHOLES)} or an index of them; give the "
                "checkpoint file itself."
            )
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is not an ordinary file; give a checkpoint file.")
        _refuse_foreign(path)
    except FileNotFoundError:
        raise InputError(f"There is no checkpoint {path}; check the name.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path} cannot be read ({why}); check its name and its permissions."
        ) from error
    if path.name.endswith(".index.json"):
        return _indexed(path)
    return [path]


def digest(path: Path) -> str:
    """The sha256 of a checkpoint, or of the files that it leads to, as results name it.

    Raises:
        InputError: there is no such file, or it is known to be something else.
    """
    try:
        return _sha256(weight_files(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error


def _indexed(path: Path) -> list[Path]:
    """The files that an index of weights names, each in the same folder."""
    named = read_json(path).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise InputError(f"{path} names no files (it has no weight_map); get the file again.")
    files = []
    for name in dict.fromkeys(named.values()):
        beside = isinstance(name, str) and name == Path(name).name and name.isprintable()
        if not beside or name.endswith(".index.json") or (path.parent / name).is_dir():
            raise InputError(
                f"{path} names {shown(name)}, and there is no such file beside it; get the files "
                "again."
            )
        files += weight_files(path.parent / name)
    return files


def _refuse_foreign(path: Path) -> None:
    head = _head(path).lower()
    for begins, what in FOREIGN.items():
        if head.startswith(begins.lower()):
            raise InputError(f"{path} is {what}.")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(64)


def _sha256(files: list[Path]) -> str:
    """The hash of a single file. For several files, the hash of their hashes, in order."""
    sums = []
    for path in files:
        found = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(2**20):
                found.update(block)
        sums.append(found.hexdigest())
    if len(sums) == 1:
        return sums[0]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _dense(state: State, path: Path, size: int) -> State:
    """``state`` with sparse tensors of other tools turned into the weights that they stand for."""
    needed = 0
    for name, tensor in state.tensors.items():
        if tensor.is_meta or tensor.is_nested:
            what = (
                "only a shape and no numbers (device meta)" if tensor.is_meta else "a nested tensor"
            )
            raise InputError(
                f"{path} has {what} for {shown(name)}; save a network whose weights are in "
                "memory, each in one plain tensor."
            )
        needed += tensor.numel() * tensor.element_size()
        if not fits_in(needed, size):
            raise InputError(
                f"{path} says that {shown(name)} has shape {shown(tuple(tensor.shape))}, far more "
                f"than its {size:,} bytes can hold; get the file again."
            )
    tensors = {}
    for name, tensor in state.tensors.items():
        try:
            plain = tensor if tensor.layout == torch.strided else tensor.to_dense()
        except RuntimeError as error:
            raise InputError(
                f"{shown(name)} in {path} is damaged ({reason(error)}); get the file again."
            ) from error
        tensors[name] = plain.detach()
    return State(state.key, tensors, state.extra, state.metadata)


def _read_safetensors(
    path: Path,
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any] | None]:
    """Tensors, other entries, and our own description, if there is one."""
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            stored = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({reason(error)}); get the file again."
        ) from error
    if METADATA_KEY not in metadata:
        if not stored:
            raise InputError(f"{path} holds no tensors; give the file with the weights.")
        return stored, {}, None
    try:
        description = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"The description in {path} is not one that prunelimit writes ({reason(error)}); "
            "write the file again."
        ) from error
    return _ours(path, stored, description)


def _ours(
    path: Path, stored: dict[str, Tensor], description: Any
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """The same for a file that has the ``description``."""
    try:
        newer = description["format_version"] > FORMAT_VERSION
        dict(description["sparse"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"The description in {path} is not one that prunelimit writes ({reason(error)}); "
            "write the file again."
        ) from error
    if newer:
        raise InputError(f"{path} was written by a newer prunelimit; upgrade to read it.")
    tensors = unpack_state(stored, description, path, path.stat().st_size)
    extra = {}
    for name in [name for name in tensors if name.endswith(OBJECT_SUFFIX)]:
        try:
            content = io.BytesIO(tensors.pop(name).numpy().tobytes())
            extra[name.removesuffix(OBJECT_SUFFIX)] = load_plain(content, what=path)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{shown(name)} in {path} is damaged ({reason(error)}); get the file again."
            ) from error
    return tensors, extra, description


def _read_exported(path: Path) -> dict[str, Tensor] | None:
    """The weights of an archive of torch.export; None where ``path`` is none."""
    _check_archive(path)
    return exported_weights(path)


def _load_torch(path: Path, trust_pickle: bool, main: Sequence[Path]) -> Any:
    """What torch reads from the file."""
    try:
        if not trust_pickle:
            return read_tar(path) if is_tar(path) else load_plain(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = script_pickle(main)
            return torch.load(path, "cpu", pickle_module=found, weights_only=False)
    except InputError:
        raise
    except Exception as error:
        if "TorchScript" in str(error):
            raise InputError(
                f"{path} is a TorchScript archive; save the network's state_dict instead."
            ) from None
        wanted = [] if trust_pickle else wanted_globals(path)
        if wanted:
            more = f" and {len(wanted) - 5} more" if len(wanted) > 5 else ""
            raise InputError(
                f"{path} wants to run code on loading ({', '.join(map(shown, wanted[:5]))}{more}); "
                "save its state_dict instead, or give `trust_pickle` if you made the file yourself."
            ) from None
        detail = f" ({reason(error)})" if trust_pickle else ""
        raise InputError(
            f"{path} is damaged or not a checkpoint{detail}; give a whole file saved by torch.save "
            "or as safetensors."
        ) from None


def _states(path: Path, loaded: Any) -> list[State]:
    """The state_dicts in what the file holds."""
    states = find_states(loaded)
    if states:
        return states
    if isinstance(loaded, Mapping):
        keys = ", ".join(shown(key, 60) for key in list(loaded)[:5]) or "nothing"
        raise InputError(f"{path} holds no state_dict (it holds {keys}); save a state_dict in it.")
    raise InputError(
        f"{path} holds a {type(loaded).__name__}, not a state_dict; save a state_dict instead."
    )


def _claimed(loaded: Any) -> float | None:
    """The accuracy, from 0 to 1, that a training checkpoint states, if it does."""
    if not isinstance(loaded, Mapping):
        return None
    for name in CLAIMS:
        value = loaded.get(name)
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
            value = value.item()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
            return float(value) / (100 if value > 1 else 1)
    return None


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to far more than its size: torch itself never deflates."""
    size = path.stat().st_size
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(each.file_size for each in archive.infolist())
    except Exception:  # of a damaged archive zipfile raises almost anything
        return  # torch reports that itself
    if not fits_in(unpacked, size):
        raise InputError(
            f"{path} would unpack to {unpacked:,} bytes from {size:,}; give a file that torch.save "
            "wrote, which is not compressed."
        )


def write_checkpoint(
    path: Path | str,
    tensors: Mapping[str, Any],
    description: Mapping[str, Any],
    *,
    sparse: Collection[str] = (),
    packing: str = "bitmask",
    groups: Mapping[str, Group] | None = None,
    force: bool = False,
) -> Artifact:
    """Write ``tensors`` with their ``description`` as safetensors.

    Tensors named in ``sparse`` are stored in parts, by default a bit mask and their nonzero values.
    They read back as the same dense tensors, bit for bit. ``packing`` and ``groups`` are those of
    :func:`.packed.pack_state`. Entries that are no tensors (``_extra_state``) read back too, if
    they are of plain types. ``bytes_dense`` of the result is the size of the same file unpacked.

    Raises:
        OutputError: ``path`` exists and ``force`` is not given, or cannot be written.
    """
    path = Path(path)
    entries = dict(as_tensors(path, tensors))
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in entries.items()}
    plain = {name: tensor.clone() for name, tensor in plain.items()}
    stored, about = pack_state(plain, sparse, packing, groups)
    full = {name: each for name, each in description.items() if name not in OF_PACKING}
    full |= {"format_version": FORMAT_VERSION, "sparse": {}}
    try:
        content = _serialised(stored, {**full, **about})
        dense = len(_serialised(plain, full)) if about["sparse"] else len(content)
    except SafetensorError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}.") from error
    with writing(path, force=force) as temporary:
        temporary.write_bytes(content)
    return Artifact(
        path=str(path),
        format=f"safetensors, {packing}" if about["sparse"] else "safetensors",
        bytes=len(content),
        bytes_dense=dense,
    )


def as_tensors(path: Path, entries: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """``entries`` as tensors. An entry that is no tensor becomes the bytes that torch.save writes
    for it.

    Raises:
        OutputError: one has a name that the format keeps for its own, or is of no plain types.
    """
    for name, value in entries.items():
        if name.endswith((*PARTS, OBJECT_SUFFIX)):
            raise OutputError(
                f"{path} cannot be written: the name {shown(name)} ends like the names that the "
                "format makes itself; write a plain .pt, or rename that entry in the network."
            )
        if isinstance(value, Tensor):
            yield name, value
            continue
        content = io.BytesIO()
        try:
            torch.save(value, content)
            load_plain(io.BytesIO(content.getvalue()), what=path)
        except Exception as error:
            raise OutputError(
                f"{path} cannot be written: the format cannot hold {shown(name)} "
                f"({reason(error)}); let get_extra_state return plain types and tensors."
            ) from error
        found = np.frombuffer(content.getvalue(), dtype=np.uint8).copy()
        yield name + OBJECT_SUFFIX, torch.from_numpy(found)


def _serialised(tensors: dict[str, Tensor], description: Mapping[str, Any]) -> bytes:
    """A safetensors file, the same bytes for the same content.

    The library writes the metadata in an order that changes from run to run. That would change the
    sha256 of a checkpoint. So the header is written again with its keys sorted. Offsets count from
    its end, which stays a multiple of eight bytes.
    """
    content = save(tensors, metadata={METADATA_KEY: json.dumps(description), "format": "pt"})
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
