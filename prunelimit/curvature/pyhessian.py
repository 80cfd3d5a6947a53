"""The PyHessian package as a backend: its products behind the same call.

Source: Yao, Gholami, Keutzer, Mahoney, "PyHessian", 2020. Only its products are used.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import UsageError
from ..inputs.problem import Problem, Split

__all__ = ["PyHessianProduct"]


class PyHessianProduct:
    """v -> H v by the PyHessian package, for the mean loss of ``split``.

    Raises:
        UsageError: ``kind`` is not "hessian", the only matrix PyHessian knows, or inputs are
            several tensors.
    """

    def __init__(self, problem: Problem, split: Split, kind: str = "hessian") -> None:
        if kind != "hessian":
            raise UsageError(
                "PyHessian has no GGN products; use `curvature` hessian or `backend` prunelimit."
            )
        from pyhessian import hessian

        self.problem = problem
        self.kind = kind
        self.products = 0
        self.rounding_error: float | None = None
        self.seconds = 0.0
        model = copy.deepcopy(problem.model)
        free = set(problem.layout.names)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in free)
        loader = list(split.batches(problem.batch_size))
        if not isinstance(loader[0][0], Tensor):
            raise UsageError(
                "PyHessian gives a network one input tensor, and these data have several; use "
                "`backend` prunelimit, without `cross_check`."
            )
        self._hessian = hessian(
            model,
            lambda outputs, targets: problem.loss(outputs, targets).mean(),
            dataloader=loader,
            cuda=problem.device.type == "cuda",
        )

    @property
    def dimension(self) -> int:
        """D, the length of the vectors."""
        return self.problem.layout.size

    def top(self, seed: int) -> float:
        """The eigenvalue of largest magnitude, by PyHessian's own power iteration."""
        torch.manual_seed(seed)
        with _quiet():
            values, _ = self._hessian.eigenvalues(maxIter=200, tol=1e-4, top_n=1)
        return float(values[0])

    def traces(self, probes: int, seed: int) -> list[float]:
        """Estimates of the trace, one per random probe, by PyHessian's own Hutchinson."""
        torch.manual_seed(seed)
        with _quiet():
            found = self._hessian.trace(maxIter=probes, tol=0.0)
        return [float(each) for each in found]

    def __call__(self, vector: Tensor) -> Tensor:
        """The product with ``vector`` (D,)."""
        begin = time.perf_counter()
        pieces = list(self.problem.layout.unflatten(vector).values())
        with _quiet():
            _, product = self._hessian.dataloader_hv_product(pieces)
        self.products += 1
        self.seconds += time.perf_counter() - begin
        return torch.cat([piece.reshape(-1) for piece in product]).to(vector.dtype)


@contextmanager
def _quiet() -> Iterator[None]:
    """PyHessian calls backward(create_graph=True) and clears the gradients itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph")
        yield
