"""Processes that share one estimate: each has a part of the samples and of every long vector."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .devices import chosen
from .errors import PruneLimitError, UsageError

__all__ = ["ALONE", "Group", "LostProcessError", "ShardSpec", "died", "join", "local_device"]

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")

_MESHES: list[DeviceMesh] = []
"""Meshes made since the group was joined."""

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another before it counts as dead."""


class LostProcessError(PruneLimitError):
    """Another process of the group has died, or cannot be reached."""


@dataclass(frozen=True)
class Group:
    """``size`` processes, of which this is number ``rank``; alone it does nothing to a tensor.

    Long vectors (D,) are cut as :class:`ShardSpec` says. Numbers that decide what is done next are
    summed in one order, so that all processes have the same.
    """

    rank: int = 0
    size: int = 1

    def even(self, dimension: int) -> ShardSpec:
        """Vectors (``dimension``,) cut into parts of nearly equal size."""
        return ShardSpec(self, ((dimension, 1),))

    def all_reduce(self, small: Tensor) -> Tensor:
        """The sum of a small tensor over the processes, the same to the last bit in all."""
        if self.size == 1:
            return small
        parts = [torch.empty_like(small) for _ in range(self.size)]
        _together(dist.all_gather, parts, small.contiguous())
        return torch.stack(parts).sum(0)

    def all_reduce_min(self, number: int, device: torch.device) -> int:
        """The smallest of the processes' numbers."""
        if self.size == 1:
            return number
        parts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.size)]
        mine = torch.tensor([number], dtype=torch.int64, device=device)
        _together(dist.all_gather, parts, mine)
        return int(torch.stack(parts).min())

    def samples(self, count: int) -> range:
        """Indices of this process's samples of ``count``, shared as evenly as possible.

        Raises:
            UsageError: there are fewer samples than processes.
        """
        if count < self.size:
            raise UsageError(
                f"{count} samples cannot be shared by {self.size} processes; raise `samples` or "
                "start fewer processes."
            )
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def mesh(self, device: torch.device) -> DeviceMesh:
        """The mesh of the processes for DTensors, with their parts on devices like ``device``."""
        from torch.distributed.device_mesh import init_device_mesh

        _MESHES.append(init_device_mesh(device.type, (self.size,)))
        return _MESHES[-1]

    def of_first(self, tensor: Tensor) -> Tensor:
        """The first process's ``tensor``, in all of them."""
        if self.size == 1:
            return tensor
        found = tensor.detach().clone(memory_format=torch.contiguous_format)
        _together(dist.broadcast, found, 0)
        return found

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            _together(dist.barrier)


@dataclass(frozen=True)
class ShardSpec:
    """Which entries of a vector (D,) each process of ``group`` has.

    ``blocks`` are the stretches that make up the vector, each (rows, entries of a row). Of each
    block, every process has ceil(rows / size) rows in order; the last processes have fewer or none.
    Its part of the vector (``length``,) is its rows of all blocks. If ``device`` is given, parts
    lie there, and whole vectors in host memory. Then no more than one block at a time is whole on
    the device.
    """

    group: Group
    blocks: tuple[tuple[int, int], ...]
    device: torch.device | None = None

    @property
    def dimension(self) -> int:
        """D."""
        return sum(rows * width for rows, width in self.blocks)

    @property
    def length(self) -> int:
        """Entries of this process's part."""
        return sum(self._lengths(self.group.rank))

    @property
    def longest(self) -> int:
        """Entries of the longest part, the first process's."""
        return sum(self._lengths(0))

    @property
    def shortest(self) -> int:
        """Entries of the shortest part, the last process's."""
        return sum(self._lengths(self.group.size - 1))

    def rows(self, block: int, rank: int | None = None) -> range:
        """The rows of a block that this process has, or the one that ``rank`` names."""
        count, _ = self.blocks[block]
        step = -(-count // self.group.size)
        rank = self.group.rank if rank is None else rank
        return range(min(count, rank * step), min(count, (rank + 1) * step))

    def part(self, vector: Tensor) -> Tensor:
        """This process's part of ``vector`` (D,), which all of them have; a copy."""
        if self.group.size == 1:
            return vector.to(self.device)
        pieces, start = [], 0
        for place, (rows, width) in enumerate(self.blocks):
            own = self.rows(place)
            pieces.append(vector[start + own.start * width : start + own.stop * width])
            start += rows * width
        return torch.cat(pieces).to(self.device)

    def all_gather(self, part: Tensor) -> Tensor:
        """The vector (D,) that the processes' parts make up; one exchange per block."""
        if self.group.size == 1:
            return self._home(part)
        found = []
        for place, piece in enumerate(part.split(self._lengths(self.group.rank))):
            step, size = self._padded(place)
            gathered = part.new_empty(step * self.group.size)
            padded = _pad(piece, step)
            _together(_named("all_gather_single", "all_gather_into_tensor"), gathered, padded)
            found.append(self._home(gathered[:size]))
        return found[0] if len(found) == 1 else torch.cat(found)

    def reduce_scatter(self, vector: Tensor) -> Tensor:
        """This process's part of the sum of all processes' vectors (D,)."""
        if self.group.size == 1:
            return vector
        found = []
        for place, piece in enumerate(vector.split([rows * width for rows, width in self.blocks])):
            step, _ = self._padded(place)
            padded = _pad(piece, step * self.group.size)
            own = vector.new_empty(step)
            if dist.get_backend() == "gloo":  # some releases have no reduce-scatter
                _together(dist.all_reduce, padded)
                own = padded[self.group.rank * step : (self.group.rank + 1) * step]
            else:
                _together(_named("reduce_scatter_single", "reduce_scatter_tensor"), own, padded)
            found.append(own[: self._lengths(self.group.rank)[place]])
        return torch.cat(found)

    def _lengths(self, rank: int) -> list[int]:
        return [len(self.rows(place, rank)) * w for place, (_, w) in enumerate(self.blocks)]

    def _padded(self, block: int) -> tuple[int, int]:
        """Entries that every process exchanges of a block, and those that the block has."""
        rows, width = self.blocks[block]
        return -(-rows // self.group.size) * width, rows * width

    def _home(self, tensor: Tensor) -> Tensor:
        return tensor if self.device is None else tensor.cpu()


def _named(name: str, before: str) -> Callable[..., object]:
    """The exchange of that name, or of its name before torch 2.14. torch 2.14 warns of the old
    name."""
    found: Callable[..., object] = getattr(dist, name, None) or getattr(dist, before)
    return found


def _pad(piece: Tensor, length: int) -> Tensor:
    """A copy of ``piece`` (n,), with zeros up to ``length``."""
    padded = piece.new_zeros(length)
    padded[: len(piece)] = piece
    return padded


ALONE = Group()


def local_device(device: str, group: Group) -> str:
    """``device``, and of several GPUs this process's own.

    Raises:
        UsageError: one GPU is named for several processes.
    """
    name = chosen(device)
    if group.size == 1 or not name.startswith("cuda"):
        return name
    if name != "cuda":
        raise UsageError(
            f"{group.size} processes cannot share the device {name}; give `device` cuda, and each "
            "process takes a GPU of its own."
        )
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


@contextmanager
def join(device: str, *, meshes: bool = False) -> Iterator[Group]:
    """The group in which torchrun started this process, for the time of the block; :data:`ALONE`
    without torchrun. GPUs talk by nccl, CPUs by gloo. ``meshes`` says whether :meth:`Group.mesh` is
    going to be called."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    cuda = chosen(device).startswith("cuda")
    if cuda:
        here, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if here >= count:
            raise UsageError(
                f"Process {here} of this machine finds no GPU of its own, as there are only "
                f"{count}; start as many processes as there are GPUs, or give `device` cpu."
            )
        torch.cuda.set_device(here)
    if meshes:
        # DTensor imports it. If that happens after the group is made, functions keep the group as a
        # default argument, and with it the exchange's threads (see below).
        importlib.import_module("torch._dynamo")
    _together(lambda: dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE))
    try:
        yield Group(dist.get_rank(), size)
    except LostProcessError:
        # Leaving the group takes time, and the other processes are gone. torchrun ends this process
        # too, and soon; its message has to come first.
        raise
    except BaseException:
        _leave()
        raise
    _leave()


def _leave() -> None:
    dist.destroy_process_group()
    # DTensor's caches keep meshes, and meshes keep the group. Its threads would then outlive the
    # interpreter. If one of them frees a tensor after the end, the interpreter aborts.
    for mesh in _MESHES:
        getattr(mesh, "_pg_registry", {}).clear()
    _MESHES.clear()


def died(error: RuntimeError) -> LostProcessError | None:
    """The error to raise if ``error``, from an exchange that torch made on its own, tells of a
    process that is gone; None if it tells of something else."""
    if isinstance(error, dist.DistError) or re.search("gloo|nccl", str(error), re.IGNORECASE):
        return _lost(error)
    return None


def _together(call: Callable[..., T], *arguments: object) -> T:
    try:
        return call(*arguments)
    except RuntimeError as error:
        raise _lost(error) from error


def _lost(error: RuntimeError) -> LostProcessError:
    return LostProcessError(
        f"Another process of the run died or cannot be reached ({str(error).splitlines()[0]}); "
        "see its own message, and run the same command with `resume` to go on."
    )
