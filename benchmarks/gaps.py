"""Between the limit and what is measured, one gap at a time, where a dense matrix fits.

    python benchmarks/gaps.py [--seeds 2] [--kinds perceptron,residual]

Networks on the digits inside scikit-learn (networks.py). Nothing is sampled, so every limit is
exact but for what it leaves out:

- *abs(H)*: the directional limit by the Hessian, negative eigenvalues by magnitude;
- *random*: by the GGN: a random subspace of the survivors' dimension;
- *prunable alone*: the same with biases and the like held;
- *with gradient*: *random* with the slope of the loss at w*, as the tool states it;
- *coordinate*: the subspace that the magnitude mask really leaves, its least quadratic loss solved
  for exactly, without and with the linear term;
- *witness*: the true loss, survivors trained for up to 100, 200 and 400 passes over the data.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch
from networks import DIGITS, SMALL, on_small

from prunelimit.config import MeasureConfig, TrainConfig
from prunelimit.curvature import CurvatureProduct
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.limit.tolerance import loss_tolerance
from prunelimit.measurement import measure
from prunelimit.pruning.magnitude import magnitude_order
from prunelimit.values import EpsilonRule

RECIPES: dict[str, TrainConfig] = DIGITS
PASSES = 100
FLAT = 1e-9
"""Ridge, in units of the largest eigenvalue, that keeps solves on the survivors regular."""


def network(recipe: str, seed: int) -> Problem:
    """A trained 64-24-16-10 network in float64."""
    return on_small(SMALL["perceptron"], recipe, seed)


def largest(feasible: Callable[[int], bool], top: int) -> int:
    """The largest feasible m, by bisection."""
    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if feasible(middle) else (low, middle)
    return low


class Dense:
    """Everything about one network that a dense matrix of ``kind`` tells: of all free parameters,
    or of the prunable ones ``alone``."""

    def __init__(self, problem: Problem, kind: str = "hessian", *, alone: bool = False) -> None:
        mask = problem.prunable_mask() if alone else torch.ones_like(problem.prunable_mask())
        own = mask.nonzero()[:, 0]
        self.weights = problem.vector()[own].double().numpy()
        self.size = len(self.weights)
        place = torch.full((len(mask),), -1)
        place[own] = torch.arange(self.size)
        self.order = place[magnitude_order(problem)].numpy()
        product = CurvatureProduct(problem, problem.train, kind)
        self.gradient = product.gradient()[own].double().numpy()
        identity = torch.eye(len(mask), dtype=problem.dtype)[own]
        matrix = torch.stack([product(row) for row in identity])[:, own].double().numpy()
        values, self.vectors = np.linalg.eigh((matrix + matrix.T) / 2)
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

    def coordinate(self, removed: int, with_gradient: bool) -> float:
        """The least quadratic loss rise over the survivors' own coordinates."""
        vector = self.displacement(removed)
        slope = self.gradient if with_gradient else np.zeros(self.size)
        force = self.absolute @ vector + slope
        kept = np.setdiff1d(np.arange(self.size), self.order[:removed])
        block = self.absolute[np.ix_(kept, kept)] + FLAT * self.values.max() * np.eye(len(kept))
        gained = 0.5 * force[kept] @ np.linalg.solve(block, force[kept])
        return float(0.5 * vector @ self.absolute @ vector + slope @ vector - gained)


TITLES = (
    "abs(H)",
    "random",
    "prunable alone",
    "with gradient",
    "coordinate",
    "coordinate, with gradient",
    "witness 1x",
    "2x",
    "4x",
)


def row(kind: str, name: str, seed: int) -> list[float]:
    """All limits of one network, in percent of its prunable weights."""
    problem = on_small(SMALL[kind], name, seed)
    losses = evaluate(problem, problem.train).losses
    epsilon = loss_tolerance(losses, EpsilonRule.parse("batch-std")).value
    hessian, ggn, alone = (
        Dense(problem, "hessian"),
        Dense(problem, "ggn"),
        Dense(problem, "ggn", alone=True),
    )
    rises: tuple[Callable[[int], float], ...] = (
        lambda m: hessian.random(m, False),
        lambda m: ggn.random(m, False),
        lambda m: alone.random(m, False),
        lambda m: ggn.random(m, True),
        lambda m: ggn.coordinate(m, False),
        lambda m: ggn.coordinate(m, True),
    )
    prunable = len(ggn.order)
    found = [
        100 * largest(lambda m, rise=rise: rise(m) <= epsilon, prunable) / prunable
        for rise in rises
    ]
    witness = measure(problem, MeasureConfig(survivors="trained", refit_passes=PASSES)).witness
    assert witness is not None
    return [*found, *(100 * each.sparsity for each in witness.budgets)]


def main() -> None:
    """Print the table and the mean gaps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    kinds = [kind for kind in SMALL if kind.endswith("perceptron")]
    parser.add_argument("--kinds", default=",".join(kinds))
    options = parser.parse_args()
    print(f"| network | {' | '.join(TITLES)} |\n|---|{'---|' * len(TITLES)}")
    rows = []
    for kind in options.kinds.split(","):
        for name in SMALL[kind].recipes:
            for seed in range(options.seeds):
                rows.append(row(kind, name, seed))
                cells = " | ".join(f"{value:.1f}" for value in rows[-1])
                print(f"| {kind} {name}, seed {seed} | {cells} |", flush=True)
    gaps = np.array(rows) - np.array(rows)[:, -1:]
    cells = " | ".join(f"{value:+.1f}" for value in gaps.mean(axis=0))
    print(f"| mean difference from the last | {cells} |")
    cells = " | ".join(f"{value:.1f}" for value in abs(gaps).mean(axis=0))
    print(f"| mean distance from the last | {cells} |")


if __name__ == "__main__":
    main()
