"""How alike two networks answer: centred kernel alignment of their outputs.

Source: linear CKA (Kornblith, Norouzi, Lee, Hinton 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import wide
from ..inputs.problem import Problem, Split

__all__ = ["cka", "outputs_of"]


def outputs_of(problem: Problem, split: Split) -> Tensor:
    """The network's outputs on ``split``, (n, everything else), float64 on the CPU."""
    with torch.no_grad():
        found = [
            wide(problem.outputs(inputs).flatten(1)).cpu()
            for inputs, _ in split.batches(problem.batch_size)
        ]
    return torch.cat(found)


def cka(first: Tensor, second: Tensor) -> float:
    """Linear CKA of (n, a) and (n, b). It is 1 where one is a rotation and scaling of the other. It
    is 0 where they have nothing in common, or one is constant.

    |Y^T X|^2 / (|X^T X| |Y^T Y|) in Frobenius norms, of the centred X and Y.
    """
    x, y = first - first.mean(0), second - second.mean(0)
    scale = torch.linalg.norm(x.T @ x) * torch.linalg.norm(y.T @ y)
    if not float(scale) > 0:
        return 0.0
    return float(torch.linalg.norm(y.T @ x) ** 2 / scale)
