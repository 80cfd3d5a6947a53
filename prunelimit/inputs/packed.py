"""Tensors of a file of ours, packed and unpacked: which ones, how, and whether they are whole."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, shown
from .packing import COLUMNS, PARTS, ROWS, VALUES, Group, pack, unpack
from .resolve import reason

__all__ = [
    "OF_PACKING",
    "PACKINGS",
    "fits_in",
    "pack_state",
    "rows_as_torch",
    "state_in",
    "unpack_state",
]

PACKINGS = ("bitmask", "csr", "nm")

OF_PACKING = ("sparse", "packing", "groups", "format_version")
"""Key of a description for how its own file is written; it holds for no other file."""

MOST_BYTES, MOST_TIMES = 2**28, 64
"""Bytes, and times the size of its file, that the tensors of a file may take. A bit of a mask can
stand for a number of eight bytes."""


def fits_in(needed: int, size: int) -> bool:
    """Whether tensors of ``needed`` bytes may come out of a file of ``size``."""
    return needed <= max(MOST_BYTES, MOST_TIMES * size)


def pack_state(
    tensors: Mapping[str, Tensor],
    names: Collection[str],
    packing: str = "bitmask",
    groups: Mapping[str, Group] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """``tensors`` with those of ``names`` as parts, and the description of the parts. ``groups``
    are those of N:M, by name.
    """
    stored: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    places: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        if name not in names:
            stored[name] = tensor
            continue
        group = (groups or {}).get(name)
        parts = pack(tensor, packing, group)
        stored.update({name + suffix: part.contiguous() for suffix, part in parts.items()})
        shapes[name] = list(tensor.shape)
        if group is not None:
            places[name] = [group.keep, group.size, group.dimension]
    about: dict[str, Any] = {"sparse": shapes}
    if shapes and packing != "bitmask":
        about["packing"] = packing
    if places:
        about["groups"] = places
    return stored, about


def unpack_state(
    stored: Mapping[str, Tensor], about: Mapping[str, Any], path: object, size: int
) -> dict[str, Tensor]:
    """The tensors that ``stored`` stands for, as the description ``about`` says, in its order.

    ``size`` is that of the file, in bytes.

    Raises:
        InputError: a part is missing, is one too many, or does not fit the tensor that it belongs
            to.
    """
    shapes, packing = about.get("sparse", {}), about.get("packing", "bitmask")
    groups = about.get("groups", {})
    if not (
        isinstance(shapes, Mapping) and isinstance(groups, Mapping) and packing in PACKINGS
    ) or set(groups) - set(shapes):
        raise InputError(
            f"The description of the packing in {path} is not one that prunelimit writes; write "
            "the file again."
        )
    tensors = {name: each for name, each in stored.items() if not name.endswith(PARTS)}
    left = {name for name in stored if name.endswith(PARTS)}
    needed = 0
    for name, shape in shapes.items():
        left -= {name + part for part in PARTS}
        try:
            if not all(type(length) is int and length >= 0 for length in shape):
                raise ValueError(f"its shape is {shown(shape)}")
            needed += math.prod(shape) * 8
            if not fits_in(needed, size):
                raise ValueError(f"its shape is {shown(shape)}, more than the file can hold")
            own = _parts(name, stored, tensors, shape)
            tensors[name] = unpack(own, packing, tuple(shape), _group(groups.get(name)))
        except (KeyError, RuntimeError, IndexError, ValueError, TypeError) as error:
            raise InputError(
                f"{shown(name)} in {path} is damaged ({reason(error)}); get the file again."
            ) from error
    if left:
        raise InputError(
            f"{path} holds {shown(min(left))}, which belongs to no tensor that the file "
            "describes; get the file again."
        )
    return tensors


def _group(given: Any) -> Group | None:
    if given is None:
        return None
    if not (isinstance(given, list) and len(given) == 3 and all(type(e) is int for e in given)):
        raise ValueError(f"its groups are {shown(given)}")
    return Group(*given)


def state_in(file: Any) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and description of what torch reads from a packed file of ours; None for others."""
    if not isinstance(file, Mapping) or set(file) != {"state_dict", "prunelimit"}:
        return None
    tensors, about = file["state_dict"], file["prunelimit"]
    if not isinstance(tensors, Mapping) or not isinstance(about, dict):
        return None
    if not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in tensors.items()):
        return None
    return dict(tensors), about


def rows_as_torch(
    tensors: Mapping[str, Tensor], names: Collection[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """``tensors`` with those of ``names`` as matrices of torch's compressed rows, and the
    description of these. Dimensions behind the first are joined into one."""
    found = dict(tensors)
    for name in names:
        tensor = tensors[name]
        parts = pack(tensor, "csr")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls them a beta
            found[name] = torch.sparse_csr_tensor(
                parts[ROWS],
                parts[COLUMNS],
                parts[VALUES],
                (tensor.shape[0], tensor[0].numel()),
                check_invariants=True,
            )
    return found, {"sparse": {n: list(tensors[n].shape) for n in names}, "packing": "csr"}


def _parts(
    name: str, stored: Mapping[str, Tensor], tensors: dict[str, Tensor], shape: Any
) -> dict[str, Tensor]:
    """The parts of a tensor, also if they lie in a tensor of torch's compressed rows."""
    own = {part: stored[name + part] for part in PARTS if name + part in stored}
    rows = tensors.get(name)
    if rows is None or own:
        if rows is not None:
            raise ValueError("it is stored twice, packed and not packed")
        return own
    if rows.layout != torch.sparse_csr:
        raise ValueError("it is not packed")
    if list(rows.shape) != [shape[0], math.prod(shape[1:])]:
        raise ValueError(f"its rows and columns are {tuple(rows.shape)}")
    del tensors[name]
    return {ROWS: rows.crow_indices(), COLUMNS: rows.col_indices(), VALUES: rows.values()}
