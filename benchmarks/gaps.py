"""Between the limit and what is measured, one gap at a time, where a dense Hessian fits.

    python benchmarks/gaps.py [--seeds 2]

Networks of about 2,000 parameters on the digits inside scikit-learn; nothing is sampled, so every
limit is exact but for what it leaves out. From left to right one simplification at a time goes:

- *random*: the directional limit as the tool states it (abs(H), a random subspace of the survivors'
  dimension);
- *with gradient*: the same with the loss's linear term at w*;
- *coordinate*: abs(H), the subspace that the magnitude mask really leaves, its least quadratic loss
  solved for exactly;
- *refit*: the true loss, survivors trained for 6, 60 and 600 epochs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from prunelimit.config import MeasureConfig, TrainConfig
from prunelimit.curvature import CurvatureProduct
from prunelimit.epsilon import loss_tolerance
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.measure import measure
from prunelimit.pruning.magnitude import magnitude_order
from prunelimit.training import train

RECIPES = {
    "plain": TrainConfig(l1=0.0, epochs=60),
    "wd 1e-3": TrainConfig(l1=0.0, weight_decay=1e-3, epochs=60),
    "l1 1e-4": TrainConfig(l1=1e-4, epochs=60),
    "l1 3e-4": TrainConfig(l1=3e-4, epochs=60),
}
BUDGETS = (6, 60, 600)
FLAT = 1e-9
"""Ridge, in units of the largest eigenvalue, that keeps solves on the survivors regular."""


def network(recipe: TrainConfig, seed: int) -> Problem:
    """A trained 64-24-16-10 network in float64."""
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16.0)
    both = inputs, torch.tensor(digits.target)
    torch.manual_seed(seed)
    layers = nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 10)
    problem = problem_from_module(nn.Sequential(*layers), both, both, seed=seed, dtype="float64")
    train(problem, recipe, seed=seed)
    return problem


def largest(feasible: Callable[[int], bool], top: int) -> int:
    """The largest feasible m, by bisection."""
    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if feasible(middle) else (low, middle)
    return low


class Dense:
    """Everything about one network that a dense Hessian tells."""

    def __init__(self, problem: Problem) -> None:
        self.weights = problem.vector().numpy()
        self.size = len(self.weights)
        self.order = magnitude_order(problem).numpy()
        product = CurvatureProduct(problem, problem.train)
        self.gradient = product.gradient().numpy()
        identity = torch.eye(self.size, dtype=torch.float64)
        hessian = torch.stack([product(row) for row in identity]).numpy()
        values, self.vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        self.values = np.abs(values)
        self.absolute = (self.vectors * self.values) @ self.vectors.T

    def displacement(self, removed: int) -> np.ndarray:
        """d = w_m - w*."""
        vector = np.zeros(self.size)
        gone = self.order[:removed]
        vector[gone] = -self.weights[gone]
        return vector

    def ridge(self, survivors: int) -> float:
        """k with d_eff(k) = survivors."""
        low, high = -80.0, 40.0
        for _ in range(100):
            middle = (low + high) / 2
            enough = (self.values / (self.values + math.exp(middle))).sum() > survivors
            low, high = (middle, high) if enough else (low, middle)
        return math.exp(low)

    def random(self, removed: int, with_gradient: bool) -> float:
        """The least second-order loss rise on a random subspace."""
        ridge = self.ridge(self.size - removed)
        inner = self.vectors.T @ self.displacement(removed)
        share = ridge / (self.values + ridge)
        rise = 0.5 * (self.values * share) @ inner**2
        if with_gradient:
            slope = self.vectors.T @ self.gradient
            rise += share @ (slope * inner) - 0.5 * (slope**2 / (self.values + ridge)).sum()
        return float(rise)

    def coordinate(self, removed: int) -> float:
        """The least quadratic loss rise over the survivors' own coordinates."""
        vector = self.displacement(removed)
        force = self.absolute @ vector
        kept = np.setdiff1d(np.arange(self.size), self.order[:removed])
        block = self.absolute[np.ix_(kept, kept)] + FLAT * self.values.max() * np.eye(len(kept))
        return float(0.5 * vector @ force - 0.5 * force[kept] @ np.linalg.solve(block, force[kept]))


def row(name: str, seed: int) -> list[float]:
    """All limits of one network, in percent of its prunable weights."""
    problem = network(RECIPES[name], seed)
    dense = Dense(problem)
    epsilon = loss_tolerance(
        evaluate(problem, problem.train).losses, "batch-std", problem.seed
    ).value
    prunable = len(dense.order)
    limits = [
        largest(lambda m: dense.random(m, False) <= epsilon, prunable),
        largest(lambda m: dense.random(m, True) <= epsilon, prunable),
        largest(lambda m: dense.coordinate(m) <= epsilon, prunable),
    ]
    found = [100 * each / prunable for each in limits]
    for epochs in BUDGETS:
        config = MeasureConfig(method="refit", refit_epochs=epochs)
        found.append(100 * measure(problem, config).thresholds[0].sparsity)
    return found


def main() -> None:
    """Print the table and the mean gaps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    titles = ["random", "with gradient", "coordinate", *(f"refit {n} epochs" for n in BUDGETS)]
    print(f"| network | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}")
    rows = []
    for name in RECIPES:
        for seed in range(options.seeds):
            rows.append(row(name, seed))
            cells = " | ".join(f"{value:.1f}" for value in rows[-1])
            print(f"| {name}, seed {seed} | {cells} |", flush=True)
    gaps = np.array(rows) - np.array(rows)[:, :1]
    cells = " | ".join(f"{value:+.1f}" for value in gaps.mean(axis=0))
    print(f"| mean difference from random | {cells} |")


if __name__ == "__main__":
    main()
