"""Curvature of a :class:`~prunelimit.inputs.problem.Problem`: products with its Hessian or GGN."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..distributed import ALONE, Group
from ..errors import UsageError
from ..inputs.problem import Problem, Split
from ..inputs.sharded import ShardedProblem
from ..inputs.splits import SplitSubset
from .data_parallel import DataParallelProduct, SummedProduct
from .operator import CurvatureOperator, operator_of
from .products import CurvatureProduct
from .pyhessian import PyHessianProduct
from .restricted import RestrictedProduct
from .sharded import ShardedProduct

__all__ = [
    "CurvatureOperator",
    "CurvatureProduct",
    "DataParallelProduct",
    "Product",
    "PyHessianProduct",
    "RestrictedProduct",
    "ShardedProduct",
    "SummedProduct",
    "curvature_product",
    "operator_of",
]


class Product(Protocol):
    """A counted matvec over the flat free parameters."""

    @property
    def products(self) -> int: ...

    @property
    def seconds(self) -> float: ...

    @property
    def dimension(self) -> int: ...

    @property
    def rounding_error(self) -> float | None: ...

    def __call__(self, vector: Tensor, /) -> Tensor: ...


def curvature_product(
    problem: Problem,
    split: Split,
    kind: str,
    backend: str,
    *,
    memory_bytes: int | None = None,
    group: Group = ALONE,
    precision: str = "full",
    count: int | None = None,
) -> Product:
    """The products that ``kind`` and ``backend`` name (see ``config.CurvatureConfig``). The samples
    of ``split`` and the vectors are shared by ``group``, and the parameters too where those of
    ``problem`` are. ``memory_bytes`` is what :class:`CurvatureProduct` may keep, ``precision`` what
    it computes in. ``count`` is the number of samples that the loss is a mean over, where ``split``
    is a part of them.

    Raises:
        UsageError: there is no such backend, or it has no such matrix or precision, or cannot be
            shared.
    """
    if backend not in ("prunelimit", "pyhessian"):
        raise UsageError(f"There is no backend {backend!r}; choose prunelimit or pyhessian.")
    if backend == "pyhessian":
        if group.size > 1:
            raise UsageError(
                "PyHessian runs in a single process; start one process, or give `backend` "
                "prunelimit."
            )
        if precision != "full":
            raise UsageError(
                "PyHessian takes no `precision`; leave `precision` out, or give `backend` "
                "prunelimit."
            )
        return PyHessianProduct(problem, split, kind)
    if group.size == 1:
        return CurvatureProduct(
            problem, split, kind, memory_bytes=memory_bytes, precision=precision, count=count
        )
    if isinstance(problem, ShardedProblem):
        if precision != "full":
            raise UsageError(
                "`precision` does not work with `shard` parameters; leave one of them out."
            )
        return ShardedProduct(problem, split, kind, memory_bytes=memory_bytes, count=count)
    own = CurvatureProduct(
        problem,
        SplitSubset(split, torch.tensor(group.samples(len(split)))),
        kind,
        memory_bytes=memory_bytes,
        count=count or len(split),
        precision=precision,
    )
    return DataParallelProduct(own, problem.parts(group))
