"""The three regimes of pruning on a grid of small networks: temperature against load.

    python benchmarks/regime.py --work bench [--rate 0.1]

For every mini-batch a dense perceptron is trained on the digits, pruned by magnitude to every
density, and trained again from two seeds with its zeros kept. A row is a mini-batch, from hot to
cool. A cell is the regime with linear-mode connectivity (pp of training error), CKA, and test
accuracy (mean of the two). What a cell gave is kept under ``--work``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sharpness import kept, splits, trained

import prunelimit as pl

BATCHES = (8, 32, 128, 512)
DENSITIES = (0.4, 0.2, 0.1, 0.05, 0.03)
EPOCHS = 40
AGAIN: dict[str, Any] = {"epochs": 40, "l1": 0.0, "train_batch_size": 32}
NAMES = ("I", "II-A", "II-B")


def cell(dense: pl.Problem, data: Any, density: float, rate: float) -> dict[str, float]:
    """One pair of networks; the regime as its place in NAMES."""
    pruned = pl.Problem(pl.prune(dense, 1 - density).model, *data)
    pair = [
        pl.train(pruned, keep_zeros=True, seed=seed, lr=rate, **AGAIN).problem for seed in (1, 2)
    ]
    found = pl.regime(pair, samples=0)
    accuracies = [each.accuracy for each in found.networks]
    return {
        "regime": NAMES.index(found.regime),
        "connectivity": found.connectivity,
        "similarity": found.similarity,
        "accuracy": sum(accuracies) / 2,
    }


def main() -> None:
    """Print the grid."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where results are kept")
    parser.add_argument("--rate", type=float, default=0.1, help="of training again")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data = splits("digits", None)
    print("| mini-batch | " + " | ".join(f"density {each:.0%}" for each in DENSITIES) + " |")
    print("|---" * (len(DENSITIES) + 1) + "|")
    for batch in BATCHES:
        dense = trained(data, 32, 0, epochs=EPOCHS, l1=0.0, train_batch_size=batch, lr=0.05)
        row = []
        for density in DENSITIES:
            found = kept(
                options.work,
                f"regime rate {options.rate} batch {batch} density {density}",
                lambda dense=dense, density=density: cell(dense, data, density, options.rate),  # type: ignore[misc]
            )
            name = NAMES[round(found["regime"])]
            row.append(
                f"{name}: {100 * found['connectivity']:+.1f}, {found['similarity']:.2f}, "
                f"{100 * found['accuracy']:.1f}%"
            )
        print(f"| {batch} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
