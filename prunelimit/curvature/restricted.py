"""Products with the part of a curvature matrix that belongs to some of the parameters."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

__all__ = ["RestrictedProduct"]


class _Own(Protocol):
    @property
    def products(self) -> int: ...

    @property
    def seconds(self) -> float: ...

    @property
    def rounding_error(self) -> float | None: ...

    def __call__(self, vector: Tensor, /) -> Tensor: ...


class RestrictedProduct:
    """v -> P A P v, with P the projection on the entries that ``keep`` holds.

    ``keep`` is 1 where an entry counts and 0 elsewhere; like the vectors, it is this process's
    part. ``dimension`` is the number of entries that count, in all parts.
    """

    def __init__(self, own: _Own, keep: Tensor, dimension: int) -> None:
        self._own = own
        self._keep = keep
        self.dimension = dimension

    @property
    def products(self) -> int:
        """Vectors multiplied, those of the whole matrix too."""
        return self._own.products

    @property
    def seconds(self) -> float:
        """Seconds spent on them."""
        return self._own.seconds

    @property
    def rounding_error(self) -> float | None:
        """Of the whole matrix."""
        return self._own.rounding_error

    def __call__(self, vector: Tensor) -> Tensor:
        """The product."""
        return self._own(vector * self._keep) * self._keep
