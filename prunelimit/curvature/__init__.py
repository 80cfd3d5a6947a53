"""Curvature of a :class:`~prunelimit.inputs.problem.Problem`: products with its Hessian or GGN."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..errors import UsageError
from ..inputs.problem import Problem, Split
from .products import CurvatureProduct
from .pyhessian import PyHessianProduct

__all__ = ["CurvatureProduct", "Product", "PyHessianProduct", "curvature_product"]


class Product(Protocol):
    """A counted matvec over the flat free parameters."""

    products: int
    seconds: float

    @property
    def dimension(self) -> int: ...

    def __call__(self, vector: Tensor, /) -> Tensor: ...


def curvature_product(problem: Problem, split: Split, kind: str, backend: str) -> Product:
    """The products that ``kind`` and ``backend`` name (see ``config.CurvatureConfig``).

    Raises:
        UsageError: there is no such backend, or it has no such matrix.
    """
    if backend == "prunelimit":
        return CurvatureProduct(problem, split, kind)
    if backend == "pyhessian":
        return PyHessianProduct(problem, split, kind)
    raise UsageError(f"There is no backend {backend!r}; choose prunelimit or pyhessian.")
