"""The PyHessian package as a backend: its products behind the same call.

Source: Yao, Gholami, Keutzer, Mahoney, "PyHessian", 2020. Only its products are used.
"""

from __future__ import annotations

import copy
import time
import warnings

import torch
from torch import Tensor

from ..errors import UsageError
from ..inputs.problem import Problem, Split

__all__ = ["PyHessianProduct"]


class PyHessianProduct:
    """v -> H v by the PyHessian package, for the mean loss of ``split``.

    Raises:
        UsageError: ``kind`` is not "hessian", the only matrix PyHessian knows.
    """

    def __init__(self, problem: Problem, split: Split, kind: str = "hessian") -> None:
        if kind != "hessian":
            raise UsageError(
                "PyHessian has no GGN products; use --curvature hessian or --backend prunelimit."
            )
        from pyhessian import hessian

        self.problem = problem
        self.kind = kind
        self.products = 0
        self.seconds = 0.0
        model = copy.deepcopy(problem.model)
        free = set(problem.layout.names)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in free)
        loader = list(split.batches(problem.batch_size))
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

    def __call__(self, vector: Tensor) -> Tensor:
        """The product with ``vector`` (D,)."""
        begin = time.perf_counter()
        pieces = list(self.problem.layout.unflatten(vector).values())
        with warnings.catch_warnings():
            # PyHessian calls backward(create_graph=True) and clears the gradients itself.
            warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph")
            _, product = self._hessian.dataloader_hv_product(pieces)
        self.products += 1
        self.seconds += time.perf_counter() - begin
        return torch.cat([piece.reshape(-1) for piece in product]).to(vector.dtype)
