"""Matrices with zeros in fewer bytes: a bit per entry, compressed rows, or N of every M.

Each packing turns a tensor into plain tensors of its own, its parts, and back, bit for bit: a
negative zero counts as a value. What is read back may come from anywhere, so parts are checked
whole (types, shapes, counts, order, range, finite values) before a tensor is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "COLUMNS",
    "GROUPS",
    "PARTS",
    "ROWS",
    "VALUES",
    "Group",
    "break_even",
    "can_pack",
    "group_of",
    "pack",
    "packed_bytes",
    "unpack",
]

MASK, VALUES, ROWS, COLUMNS, PLACES, REST = PARTS = (
    ".__mask__",
    ".__values__",
    ".__rows__",
    ".__columns__",
    ".__places__",
    ".__rest__",
)
"""Suffixes that the names of parts have behind the tensor's name."""

GROUPS = (4, 8, 16, 32)
"""Sizes of groups that are tried for N:M masks, if the file does not say its own."""

FULL = 0.95
"""Least share of values in the groups of an N:M mask, since some that it keeps may be zero."""

INT32 = 2**31


@dataclass(frozen=True)
class Group:
    """At most ``keep`` of every ``size`` entries in a row along ``dimension`` are values."""

    keep: int
    size: int
    dimension: int

    @property
    def bits(self) -> int:
        """Bits of a place in a group."""
        return max(1, (self.size - 1).bit_length())


def can_pack(tensor: Tensor) -> bool:
    """Whether ``tensor`` is a matrix, or more, of finite real numbers of 16 bits or more."""
    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return (
        tensor.layout == torch.strided
        and tensor.dtype in floats
        and sum(length > 1 for length in tensor.shape) > 1
        and bool(torch.isfinite(tensor).all())
    )


def _kept(tensor: Tensor) -> Tensor:
    """Where ``tensor`` is a value: the sign bit keeps negative zeros."""
    return (tensor != 0) | tensor.signbit()


def group_of(tensor: Tensor, known: tuple[int, int] | None = None) -> Group | None:
    """The N:M that the values of ``tensor`` keep to; None where there is none.

    ``known`` is N and M as the file says them. Without it M is one of :data:`GROUPS`, and N is at
    most half of it. Nearly every group has N values, as a mask of this kind leaves. Of those that
    fit, the one of fewest bytes is taken. Groups lie along dimension 1, where inputs usually are,
    or else along 0.
    """
    kept = _kept(tensor)
    for dimension in (1, 0):
        found = []
        for size in GROUPS if known is None else (known[1],):
            groups, _ = _grouped(kept, size, dimension)
            if not groups.numel():
                continue
            counts = groups.sum(dim=-1)
            most = max(1, int(counts.max()))
            if known is not None and most <= known[0]:
                return Group(known[0], known[1], dimension)
            full = float(counts.double().mean()) >= FULL * most
            if known is None and 2 * most <= size and full:
                found.append(Group(most, size, dimension))
        if found:
            return min(found, key=lambda each: packed_bytes(tensor, "nm", each))
    return None


def _grouped(tensor: Tensor, size: int, dimension: int) -> tuple[Tensor, Tensor]:
    """Whole groups (groups, size), and the entries that are left of every row, in one list."""
    last = tensor.movedim(dimension, -1)
    whole = last.shape[-1] // size * size
    return last[..., :whole].reshape(-1, size), last[..., whole:].reshape(-1)


def _rows(shape: torch.Size | tuple[int, ...]) -> tuple[int, int]:
    """The shape of a tensor as a matrix of rows and columns."""
    return shape[0], math.prod(shape[1:])


def _index_type(tensor_size: int) -> torch.dtype:
    return torch.int32 if tensor_size < INT32 else torch.int64


def packed_bytes(tensor: Tensor, packing: str, group: Group | None = None) -> int:
    """Bytes of the parts of ``tensor``."""
    each, size = tensor.element_size(), tensor.numel()
    if packing == "dense":
        return each * size
    values = int(_kept(tensor).sum())
    if packing == "bitmask":
        return -(-size // 8) + each * values
    if packing == "csr":
        index = _index_type(size).itemsize
        return index * (tensor.shape[0] + 1 + values) + each * values
    assert group is not None
    groups, rest = _grouped(tensor, group.size, group.dimension)
    places = len(groups) * group.keep
    return each * (places + rest.numel()) + -(-places * group.bits // 8)


def break_even(tensors: Mapping[str, Tensor], packing: str) -> float | None:
    """If ``tensors`` have more than this share of zeros, the packing takes fewer bytes than they
    do. For N:M it is the share for groups of four. None where there are no tensors.
    """
    total = sum(each.nbytes for each in tensors.values())
    if not total:
        return None
    fixed = each_value = 0.0
    for tensor in tensors.values():
        size, width = tensor.numel(), tensor.element_size()
        if packing == "bitmask":
            fixed += -(-size // 8)
            each_value += width * size
        elif packing == "csr":
            index = _index_type(size).itemsize
            fixed += index * (tensor.shape[0] + 1)
            each_value += (width + index) * size
        else:
            each_value += (width + 2 / 8) * size
    return max(0.0, 1 - (total - fixed) / each_value)


def pack(tensor: Tensor, packing: str, group: Group | None = None) -> dict[str, Tensor]:
    """The parts of ``tensor``, contiguous on the CPU, by their suffixes."""
    kept = _kept(tensor)
    if packing == "bitmask":
        flat = tensor.reshape(-1)
        mask = np.packbits(kept.reshape(-1).numpy())
        return {MASK: torch.from_numpy(mask), VALUES: flat[kept.reshape(-1)]}
    if packing == "csr":
        matrix, places = tensor.reshape(_rows(tensor.shape)), kept.reshape(_rows(tensor.shape))
        kind = _index_type(tensor.numel())
        rows = torch.cat([torch.zeros(1, dtype=torch.int64), places.sum(dim=1).cumsum(0)])
        columns = places.nonzero()[:, 1]
        return {ROWS: rows.to(kind), COLUMNS: columns.to(kind), VALUES: matrix[places]}
    assert group is not None
    groups, rest = _grouped(tensor, group.size, group.dimension)
    # Values first, in their order; then the first places that are free.
    places = (~_kept(groups)).to(torch.uint8).argsort(dim=1, stable=True)[:, : group.keep]
    places = places.sort(dim=1).values
    bits = (places[..., None] >> torch.arange(group.bits)) & 1
    packed = np.packbits(bits.to(torch.uint8).numpy().reshape(-1))
    return {
        PLACES: torch.from_numpy(packed),
        VALUES: groups.gather(1, places).reshape(-1),
        REST: rest.contiguous(),
    }


def unpack(
    parts: Mapping[str, Tensor], packing: str, shape: tuple[int, ...], group: Group | None = None
) -> Tensor:
    """The tensor of ``shape`` that ``parts`` belong to.

    Raises:
        ValueError: they are not what :func:`pack` makes of one.
    """
    wanted = {"bitmask": {MASK, VALUES}, "csr": {ROWS, COLUMNS, VALUES}}
    if parts.keys() != wanted.get(packing, {PLACES, VALUES, REST}):
        raise ValueError(f"its parts are {', '.join(sorted(parts)) or 'not there'}")
    values = parts[VALUES]
    if values.layout != torch.strided or values.ndim != 1 or not values.is_floating_point():
        raise ValueError("its values are not a list of real numbers")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("a value is NaN or infinite")
    if packing == "bitmask":
        return _of_mask(parts[MASK], values, shape)
    if packing == "csr":
        return _of_rows(parts[ROWS], parts[COLUMNS], values, shape)
    if group is None:
        raise ValueError("its groups are not described")
    return _of_groups(parts[PLACES], values, parts[REST], shape, group)


def _bits(bits: Tensor, count: int) -> np.ndarray[Any, Any]:
    if bits.dtype != torch.uint8 or tuple(bits.shape) != (-(-count // 8),):
        raise ValueError(f"{bits.numel()} bytes are not the right number for {count} bits")
    found = np.unpackbits(bits.numpy())
    if found[count:].any():
        raise ValueError("bits beyond the last are set")
    return found[:count]


def _of_mask(bits: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    size = math.prod(shape)
    kept = torch.from_numpy(_bits(bits, size).astype(bool))
    if len(values) != int(kept.sum()):
        raise ValueError(
            f"there are {len(values)} values for {int(kept.sum())} entries that are not zero"
        )
    # An index tensor would take eight bytes for every value.
    return torch.zeros(size, dtype=values.dtype).masked_scatter_(kept, values).view(shape)


def _of_rows(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) < 2:
        raise ValueError(f"a tensor of shape {shape} has no rows and columns")
    height, width = _rows(shape)
    for part, length in ((rows, height + 1), (columns, len(values))):
        if part.dtype not in (torch.int32, torch.int64) or tuple(part.shape) != (length,):
            raise ValueError(f"there are {part.numel()} indices instead of {length}")
    starts, columns = rows.to(torch.int64), columns.to(torch.int64)
    counts = starts.diff()
    if int(starts[0]) != 0 or int(starts[-1]) != len(values) or bool((counts < 0).any()):
        raise ValueError("a row does not begin where the row before it ends")
    if len(columns) and (int(columns.min()) < 0 or int(columns.max()) >= width):
        raise ValueError(f"a column index is not below {width}")
    places = torch.repeat_interleave(torch.arange(height), counts) * width + columns
    if bool((places.diff() <= 0).any()):
        raise ValueError("columns of a row are not in order")
    flat = torch.zeros(height * width, dtype=values.dtype)
    flat[places] = values
    return flat.view(shape)


def _of_groups(
    bits: Tensor, values: Tensor, rest: Tensor, shape: tuple[int, ...], group: Group
) -> Tensor:
    if not 0 < group.keep < group.size < 2**16 or group.dimension not in range(min(2, len(shape))):
        raise ValueError(
            f"groups of {group.keep} of {group.size} along dimension {group.dimension} are not "
            "possible"
        )
    moved = torch.empty(shape, device="meta").movedim(group.dimension, -1).shape
    whole = moved[-1] // group.size
    count, left = math.prod(moved[:-1]) * whole, moved[-1] - whole * group.size
    if len(values) != count * group.keep:
        raise ValueError(f"there are {len(values)} values for {count} groups of {group.keep}")
    if rest.dtype != values.dtype or tuple(rest.shape) != (math.prod(moved[:-1]) * left,):
        raise ValueError("the number of entries beside its groups is wrong")
    if not bool(torch.isfinite(rest).all()):
        raise ValueError("a value is NaN or infinite")
    read = torch.from_numpy(_bits(bits, len(values) * group.bits)).view(-1, group.bits)
    places = (read.to(torch.int64) << torch.arange(group.bits)).sum(dim=1).view(-1, group.keep)
    if bool((places >= group.size).any()) or bool((places.diff(dim=1) <= 0).any()):
        raise ValueError("places in a group are not in order")
    groups = torch.zeros((count, group.size), dtype=values.dtype)
    groups.scatter_(1, places, values.view(-1, group.keep))
    rows = torch.cat([groups.view(*moved[:-1], -1), rest.view(*moved[:-1], left)], dim=-1)
    return rows.movedim(-1, group.dimension).clone(memory_format=torch.contiguous_format)
