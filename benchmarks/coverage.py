"""How often the stated interval holds the limit from the exact spectrum.

    python benchmarks/coverage.py [--seeds 2]

The networks of gaps.py, trained by four recipes from ``--seeds`` seeds each; three loss tolerances
(a third, once and three times the default); ``--seeds`` draws of probes. The truth is the limit
from the gradient and the dense GGN of all samples, by its eigenvectors; the prediction sees
products only, of all samples or of the 40 or 20 percent that carry most, at --tolerance 0.5pp and
95% confidence.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial

import numpy as np
from gaps import RECIPES, Dense, largest, network

from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, LimitConfig
from prunelimit.inputs.problem import evaluate
from prunelimit.limit.tolerance import loss_tolerance
from prunelimit.values import EpsilonRule


def main() -> None:
    """Print one line per network, then the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print("| network | samples | inside | error, pp | half interval, pp | products |")
    print("|---|---|---|---|---|---|")
    shares = {"all": 0.0, "40%": 0.4, "20%": 0.2}
    every: dict[str, list[tuple[bool, float, float, int]]] = {each: [] for each in shares}
    for name in RECIPES:
        for training_seed in range(options.seeds):
            problem = network(name, training_seed)
            dense = Dense(problem, "ggn")
            top = len(dense.order)
            losses = evaluate(problem, problem.train).losses
            usual = loss_tolerance(losses, EpsilonRule.parse("batch-std")).value
            rows: dict[str, list[tuple[bool, float, float, int]]] = {each: [] for each in shares}
            for epsilon in (usual / 3, usual, 3 * usual):
                truth = largest(partial(within, dense, epsilon), top)
                for seed in range(options.seeds):
                    for samples in rows:
                        count = int(shares[samples] * len(problem.train))
                        found = predict_problem(
                            dataclasses.replace(problem, seed=seed),
                            CurvatureConfig(samples=count),
                            LimitConfig(epsilon=repr(epsilon), tolerance="0.5pp"),
                        )
                        low, high = found.limit.interval
                        rows[samples].append(
                            (
                                low <= truth / top <= high,
                                100 * abs(found.limit.sparsity - truth / top),
                                50 * (high - low),
                                found.curvature.products,
                            )
                        )
            for samples, found_rows in rows.items():
                every[samples] += found_rows
                print(
                    f"| {name}, seed {training_seed} | {samples} | {cells(found_rows)} |",
                    flush=True,
                )
    for samples, found_rows in every.items():
        print(f"| together | {samples} | {cells(found_rows)} |")


def within(dense: Dense, epsilon: float, removed: int) -> bool:
    """Whether removing so many weights can be made up for."""
    return dense.random(removed, True) <= epsilon


def cells(rows: list[tuple[bool, float, float, int]]) -> str:
    """Inside of how many, mean error, mean half interval, mean products."""
    inside, error, half, products = (
        np.array(column, dtype=float) for column in zip(*rows, strict=True)
    )
    return (
        f"{inside.sum():.0f} of {len(rows)} | {error.mean():.2f} | {half.mean():.2f} "
        f"| {products.mean():.0f}"
    )


if __name__ == "__main__":
    main()
