"""Derivatives of single samples: J^T c for several c per sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap

from ..curvature.function import NetworkFunction
from ..inputs.problem import Problem, Split
from ..inputs.structure import Inputs, mapped

__all__ = ["CHUNK_BYTES", "batches", "pullbacks"]

CHUNK_BYTES = 2**24
"""Bytes of derivatives that are made at a time. On a CPU more are slower, since they leave the
caches."""


def pullbacks(
    problem: Problem, function: NetworkFunction, inputs: Inputs, cotangents: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """J_i^T c for every sample i and each of its k cotangents, some samples at a time.

    ``inputs`` are of n samples, ``cotangents`` (n, k, ...) in the shape of the outputs. Yields the
    index of a first sample and (b, k, D) of the next b, in the problem's dtype.
    """
    leaves = tuple(p.detach() for p in problem.parameters().values())
    each = cotangents.shape[1] * problem.layout.size * problem.dtype.itemsize
    chunk = max(1, CHUNK_BYTES // each)

    def of_one(sample: Inputs, directions: Tensor) -> Tensor:
        def outputs(*free: Tensor) -> Tensor:
            return function.outputs(free, mapped(lambda x: x[None], sample))[0]

        pull: Any = vjp(outputs, *leaves)[1]

        def flat(direction: Tensor) -> Tensor:
            return torch.cat([piece.reshape(-1) for piece in pull(direction)])

        found: Tensor = vmap(flat)(directions)
        return found

    together: Any = vmap(of_one)
    for start in range(0, len(cotangents), chunk):
        few, directions = _rows(inputs, start, chunk), cotangents[start : start + chunk]
        try:
            found = together(few, directions)
        except (RuntimeError, NotImplementedError):  # an operator that vmap does not know
            found = torch.stack(
                [
                    _one_by_one(function, leaves, _rows(few, place, 1), each)
                    for place, each in enumerate(directions)
                ]
            )
        yield start, found


def _rows(inputs: Inputs, start: int, count: int) -> Inputs:
    return mapped(lambda x: x[start : start + count], inputs)


def _one_by_one(
    function: NetworkFunction, leaves: tuple[Tensor, ...], sample: Inputs, cotangents: Tensor
) -> Tensor:
    """J^T c of one sample, inputs (1, ...), for each of its ``cotangents``."""
    free = [leaf.detach().requires_grad_() for leaf in leaves]
    outputs = function.outputs(free, sample)[0]
    rows = []
    for direction in cotangents:
        pieces = torch.autograd.grad(
            outputs, free, direction, retain_graph=True, materialize_grads=True
        )
        rows.append(torch.cat([piece.reshape(-1) for piece in pieces]))
    return torch.stack(rows)


def batches(
    problem: Problem, function: NetworkFunction, split: Split
) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
    """Inputs, targets and outputs (detached) of every batch of ``split``."""
    leaves = [p.detach() for p in problem.parameters().values()]
    for inputs, targets in split.batches(problem.batch_size):
        with torch.no_grad():
            outputs = function.outputs(leaves, inputs)
        yield inputs, targets, outputs
