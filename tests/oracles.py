"""Second implementations, exact and slow, that tests hold the library against."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from prunelimit.inputs.problem import Problem
from prunelimit.lanczos import lanczos
from prunelimit.lanczos.slq import Spectrum


def exact_spectrum(eigenvalues: np.ndarray) -> Spectrum:
    """The spectral measure of a matrix with these eigenvalues, each of equal weight.

    Lanczos on the diagonal matrix from the vector of ones ends with exactly that measure.
    """
    diagonal = torch.tensor(np.asarray(eigenvalues), dtype=torch.float64)
    ones = torch.ones_like(diagonal)
    run = lanczos(lambda vector: diagonal * vector, ones, len(diagonal))
    return Spectrum(len(diagonal), (run,))


def _loss_of(problem: Problem, inputs: Tensor, targets: Tensor, vector: Tensor) -> Tensor:
    weights = problem.layout.unflatten(vector)
    outputs = torch.func.functional_call(problem.model, weights, (inputs,))
    return problem.loss(outputs, targets).mean()


def all_samples(problem: Problem) -> tuple[Tensor, Tensor]:
    """The training split as one batch."""
    (whole,) = problem.train.batches(len(problem.train))
    return whole


def dense_hessian(problem: Problem) -> Tensor:
    """H of the mean training loss, (D, D), by differentiating twice in one batch."""
    inputs, targets = all_samples(problem)
    return torch.func.hessian(lambda v: _loss_of(problem, inputs, targets, v))(problem.vector())


def dense_ggn(problem: Problem) -> Tensor:
    """G = mean J^T B J, (D, D), from the Jacobian of all outputs."""
    inputs, targets = all_samples(problem)

    def outputs(vector: Tensor) -> Tensor:
        weights = problem.layout.unflatten(vector)
        return torch.func.functional_call(problem.model, weights, (inputs,))

    jacobian = torch.func.jacrev(outputs)(problem.vector())
    at = outputs(problem.vector())
    total = torch.zeros(jacobian.shape[-1], jacobian.shape[-1], dtype=problem.dtype)
    for sample in range(len(targets)):
        target = targets[sample : sample + 1]

        def loss(z: Tensor, y: Tensor = target, shape: torch.Size = at[sample].shape) -> Tensor:
            return problem.loss(z.view(1, *shape), y).sum()

        curvature = torch.func.hessian(loss)(at[sample].reshape(-1))
        rows = jacobian[sample].flatten(0, -2)
        total += rows.T @ curvature @ rows
    return total / len(targets)


def kept(eigenvalues: np.ndarray, ridge: float) -> float:
    """d_eff, term by term."""
    return math.fsum(float(x) / (float(x) + ridge) for x in eigenvalues)


def brute_paper_limit(eigenvalues: np.ndarray, radii: np.ndarray, epsilon: float) -> int:
    """The largest m with m <= sum 1/(1 + R^2 lambda/(2 epsilon)), trying every m."""
    feasible = [
        m
        for m, radius in enumerate(radii)
        if m <= math.fsum(1 / (1 + radius**2 * float(x) / (2 * epsilon)) for x in eigenvalues)
    ]
    return max(feasible)


def random_rotation(size: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """``columns`` orthonormal vectors of a uniformly random subspace, (size, columns)."""
    basis, _ = np.linalg.qr(generator.normal(size=(size, columns)))
    return basis


def least_rise(matrix: np.ndarray, displacement: np.ndarray, basis: np.ndarray) -> float:
    """min over u in span(basis) of (d + u)^T H (d + u) / 2, by Schur complement."""
    product = matrix @ displacement
    inner = basis.T @ matrix @ basis
    side = basis.T @ product
    return 0.5 * float(displacement @ product - side @ np.linalg.solve(inner, side))


def two_layer(inputs: int, hidden: int, outputs: int, activation: nn.Module) -> nn.Sequential:
    """A small fully connected network."""
    return nn.Sequential(nn.Linear(inputs, hidden), activation, nn.Linear(hidden, outputs))
