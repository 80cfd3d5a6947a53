"""Processes that share one estimate: each has a part of the samples and of every long vector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import PruneLimitError, UsageError

__all__ = ["ALONE", "Group", "LostProcessError", "join", "local_device"]

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another before it takes it for dead."""


class LostProcessError(PruneLimitError):
    """Another process of the group has died, or cannot be reached."""


@dataclass(frozen=True)
class Group:
    """``size`` processes, of which this is number ``rank``; alone it does nothing to a tensor.

    Long vectors (D,) are cut into parts of equal length, the last one padded with zeros. Numbers
    that decide what is done next come from sums in one order, so that all processes have the same.
    """

    rank: int = 0
    size: int = 1

    def part(self, vector: Tensor) -> Tensor:
        """This process's part of ``vector`` (D,), which all of them have; a copy."""
        if self.size == 1:
            return vector
        length = self._length(vector.numel())
        padded = vector.new_zeros(length * self.size)
        padded[: vector.numel()] = vector
        return padded[self.rank * length : (self.rank + 1) * length].clone()

    def whole(self, part: Tensor, dimension: int) -> Tensor:
        """The vector (``dimension``,) that the processes' parts make up."""
        if self.size == 1:
            return part
        found = part.new_empty(part.numel() * self.size)
        _together(lambda: dist.all_gather_into_tensor(found, part.contiguous()))
        return found[:dimension]

    def part_of_sum(self, vector: Tensor) -> Tensor:
        """This process's part of the sum of all processes' vectors (D,)."""
        if self.size == 1:
            return vector
        length = self._length(vector.numel())
        padded = vector.new_zeros(length * self.size)
        padded[: vector.numel()] = vector
        found = vector.new_empty(length)
        if dist.get_backend() == "gloo":  # which has no reduce-scatter in every release
            _together(lambda: dist.all_reduce(padded))
            return padded[self.rank * length : (self.rank + 1) * length].clone()
        _together(lambda: dist.reduce_scatter_tensor(found, padded))
        return found

    def add_up(self, small: Tensor) -> Tensor:
        """The sum of a small tensor over the processes, the same to the last bit in all."""
        if self.size == 1:
            return small
        parts = [torch.empty_like(small) for _ in range(self.size)]
        _together(lambda: dist.all_gather(parts, small.contiguous()))
        return torch.stack(parts).sum(0)

    def least(self, number: int, device: torch.device) -> int:
        """The smallest of the processes' numbers."""
        if self.size == 1:
            return number
        parts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.size)]
        mine = torch.tensor([number], dtype=torch.int64, device=device)
        _together(lambda: dist.all_gather(parts, mine))
        return int(torch.stack(parts).min())

    def samples(self, count: int) -> range:
        """Indices of this process's samples of ``count``, as even as they come.

        Raises:
            UsageError: there are fewer samples than processes.
        """
        if count < self.size:
            raise UsageError(
                f"{count} samples cannot be shared by {self.size} processes; raise --samples or "
                "start fewer."
            )
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            _together(dist.barrier)

    def _length(self, dimension: int) -> int:
        return -(-dimension // self.size)


ALONE = Group()


def local_device(device: str, group: Group) -> str:
    """``device``, and of several GPUs this process's own."""
    if group.size > 1 and device == "cuda":
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device


@contextmanager
def join(device: str) -> Iterator[Group]:
    """The group that torchrun started this process in, for the time of the block; :data:`ALONE`
    where none did. GPUs talk by nccl, CPUs by gloo."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    _together(lambda: dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE))
    try:
        yield Group(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def _together(call: Callable[[], T]) -> T:
    try:
        return call()
    except RuntimeError as error:
        raise LostProcessError(
            f"Another process of the run died or cannot be reached ({str(error).splitlines()[0]}); "
            "see its own message, and run the same command with --resume to go on."
        ) from error
