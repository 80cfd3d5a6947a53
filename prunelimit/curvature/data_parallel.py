"""Products shared by a group of processes: each has its samples, and its part of the vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import wide_device
from ..distributed import ShardSpec
from .products import CurvatureProduct

__all__ = ["DataParallelProduct", "SummedProduct"]


class DataParallelProduct:
    """This process's part of H v from its part of v, cut as ``parts`` says.

    ``own`` multiplies by the share of the process's own samples. One exchange gathers v. Another
    sums the shares of H v and leaves every process its part.
    """

    def __init__(self, own: CurvatureProduct, parts: ShardSpec) -> None:
        self._own = own
        self._parts = parts

    @property
    def products(self) -> int:
        """Vectors multiplied."""
        return self._own.products

    @property
    def seconds(self) -> float:
        """Seconds spent on this process's samples."""
        return self._own.seconds

    @property
    def dimension(self) -> int:
        """D, of the whole vectors."""
        return self._own.dimension

    @property
    def rounding_error(self) -> float | None:
        """Of this process's first batch; see :class:`CurvatureProduct`."""
        return self._own.rounding_error

    def __call__(self, part: Tensor) -> Tensor:
        """The part of the product."""
        return self._parts.reduce_scatter(self._own(self._parts.all_gather(part)))

    def gradient(self) -> Tensor:
        """The gradient (D,) over all processes' samples."""
        return self._parts.all_gather(self._parts.reduce_scatter(self._own.gradient()))


class SummedProduct:
    """G v for vectors that every process has whole. Each multiplies by the share of its own
    samples. The sum is the same to the last bit in all. ``parts`` says who adds up what."""

    def __init__(self, own: CurvatureProduct, parts: ShardSpec) -> None:
        self._own = own
        self._parts = parts

    @property
    def products(self) -> int:
        """Vectors multiplied."""
        return self._own.products

    def __call__(self, vector: Tensor) -> Tensor:
        """The product with ``vector`` (D,)."""
        return self._sum(self._own(vector))

    def gradient(self) -> Tensor:
        """The gradient (D,) over all processes' samples."""
        return self._sum(self._own.gradient())

    @property
    def value(self) -> float:
        """The mean loss over all processes' samples, once the gradient was asked for."""
        where = wide_device(self._own.problem.device)
        own = torch.tensor([self._own.value], dtype=torch.float64, device=where)
        return float(self._parts.group.all_reduce(own))

    def _sum(self, share: Tensor) -> Tensor:
        return self._parts.all_gather(self._parts.reduce_scatter(share))
