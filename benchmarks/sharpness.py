"""Which measure of sharpness ranks networks as generalisation does, and what training does to it.

    python benchmarks/sharpness.py --work bench [--mnist DIR]
    python benchmarks/sharpness.py --work bench --training

The first trains 36 perceptrons that differ in width, mini-batch, rate and weight decay. It prints
the Kendall rank correlation of every measure of ``prunelimit spectrum``, and of the limit, with the
generalisation gap. The second trains with l1, weight decay and both, by plain SGD, SAM and
Renyi-regularised. It prints accuracy, sharpness, limit and measured threshold. What a network gave
is kept under ``--work``, so that either can be interrupted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

import prunelimit as pl
from prunelimit.inputs.problem import evaluate

WIDTHS = (16, 48)
BATCHES = (16, 64, 256)
RATES = (0.05, 0.2)
DECAYS = (0.0, 3e-4, 3e-3)
EPOCHS = {"digits": 60, "mnist": 6}
SAMPLES = {"digits": 0, "mnist": 2000}
"""Samples that the spectrum is read from, 0 for all."""

LEARNED = 0.9
"""Training accuracy below which a network is left out: its rate was too high for it."""

PENALTIES: dict[str, dict[str, float]] = {
    "plain": {"l1": 0.0},
    "weight decay 1e-3": {"l1": 0.0, "weight_decay": 1e-3},
    "l1 1e-4": {"l1": 1e-4},
    "both": {"l1": 1e-4, "weight_decay": 1e-3},
}
TRAININGS: dict[str, dict[str, Any]] = {
    "none": {},
    "sam 0.05": {"sharpness": "sam", "rho": 0.05},
    "rsam 0.01": {"sharpness": "rsam", "rho": 0.01},
    "rsam 0.1": {"sharpness": "rsam", "rho": 0.1},
}

Data = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def perceptron(inputs: int, width: int) -> nn.Module:
    """inputs-width-width-10 with ReLU."""
    layers = (nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, 10))
    return nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def splits(name: str, folder: Path | None) -> Data:
    """Training and test split of a built-in data set, each as two tensors."""
    where = {} if folder is None else {"data_dir": str(folder)}
    problem = pl.Problem.new(model="lenet-300-100", data=name, **where).problem
    train, test = (next(iter(each.batches(len(each)))) for each in (problem.train, problem.test))
    return train, test


def trained(data: Data, width: int, seed: int, **options: Any) -> pl.Problem:
    """A perceptron of that width."""
    torch.manual_seed(seed)
    network = perceptron(data[0][0][0].numel(), width)
    return pl.train(pl.Problem(network, *data, seed=seed), **options).problem


def measures(problem: pl.Problem, samples: int) -> dict[str, float]:
    """Every measure of the spectrum by its name."""
    found = pl.spectrum(problem, probes=4, steps=60, samples=samples, by_layer=True)
    assert found.sharpness is not None
    kept = {}
    for each in found.sharpness.measures:
        name = each.name
        if name == "Renyi sharpness":
            name += f" {each.parameter:g}" + (", all layers" if each.layer else "")
        if each.layer in (None, "all layers"):
            kept[name] = each.value
    return kept


def generalising(data: Data, name: str, case: tuple[int, int, float, float]) -> dict[str, float]:
    """What is known of one network of the first table."""
    width, batch, rate, decay = case
    problem = trained(
        data, width, 0, l1=0.0, epochs=EPOCHS[name], train_batch_size=batch, lr=rate,
        weight_decay=decay,
    )  # fmt: skip
    train, test = (evaluate(problem.problem, each) for each in _both(problem))
    return {
        "loss gap": test.loss - train.loss,
        "accuracy gap": train.accuracy - test.accuracy,
        "training accuracy": train.accuracy,
        **measures(problem, SAMPLES[name]),
        "limit": pl.predict(problem).limit.sparsity,
    }


def _both(problem: pl.Problem) -> tuple[Any, Any]:
    return problem.problem.train, problem.problem.test


def flattened(data: Data, penalty: str, training: str, seed: int) -> dict[str, float]:
    """What is known of one network of the second table."""
    options = {**PENALTIES[penalty], **TRAININGS[training]}
    problem = trained(data, 32, seed, epochs=EPOCHS["digits"], train_batch_size=64, **options)
    predicted = pl.predict(problem)
    measured = pl.measure(problem, tolerance="1pp")
    found = measures(problem, 0)
    assert predicted.one_shot is not None
    (threshold,) = (each for each in measured.thresholds if each.rule == "accuracy")
    return {
        "accuracy": predicted.dense.accuracy,
        "largest": found["largest eigenvalue"],
        "renyi": found["Renyi sharpness 2"],
        "by layer": found["Renyi sharpness 2, all layers"],
        "limit": predicted.limit.sparsity,
        "plain": predicted.one_shot.sparsity,
        "threshold": threshold.sparsity,
    }


def kept(work: Path, name: str, made: Callable[[], Mapping[str, float]]) -> dict[str, float]:
    """What ``made`` gives, from the file of an earlier run where there is one."""
    path = work / f"sharpness {re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}.json"
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_text(json.dumps(dict(made())))
        part.rename(path)
    found: dict[str, float] = json.loads(path.read_text())
    return found


def correlations(rows: list[dict[str, float]]) -> Iterator[str]:
    """Kendall's tau of each measure with both gaps, with its p-value."""
    yield "| measure | with the gap of the loss | with the gap of accuracy |\n|---|---|---|"
    gaps = ("loss gap", "accuracy gap")
    for name in rows[0]:
        if name in gaps:
            continue
        cells = []
        for gap in gaps:
            tau, chance = kendalltau([row[name] for row in rows], [row[gap] for row in rows])
            cells.append(f"{tau:+.2f} (p {chance:.2g})")
        yield f"| {name} | {' | '.join(cells)} |"


def first(work: Path, name: str, folder: Path | None) -> None:
    """Print the first table."""
    data, rows = splits(name, folder), []
    for case in itertools.product(WIDTHS, BATCHES, RATES, DECAYS):
        title = f"{name} width {case[0]} batch {case[1]} rate {case[2]} decay {case[3]}"
        rows.append(kept(work, title, lambda case=case: generalising(data, name, case)))  # type: ignore[misc]
    count = len(rows)
    rows = [row for row in rows if row["training accuracy"] >= LEARNED]
    gaps = [row["loss gap"] for row in rows]
    print(
        f"\n{name}: {len(rows)} of {count} networks learned, gap of the loss {min(gaps):.3f} to "
        f"{max(gaps):.3f}\n"
    )
    print("\n".join(correlations(rows)), flush=True)


def second(work: Path, seeds: int) -> None:
    """Print the second table: means over seeds, with the standard deviation over them."""
    data = splits("digits", None)
    print(
        "| penalty | training | accuracy | largest eigenvalue | Renyi 2 | Renyi 2, all layers "
        "| limit | plain | accuracy kept within 1 pp |\n|---|---|---|---|---|---|---|---|---|"
    )
    percent = ("accuracy", "limit", "plain", "threshold")
    for penalty, training in itertools.product(PENALTIES, TRAININGS):
        rows = [
            kept(
                work,
                f"training {penalty} {training} seed {seed}",
                lambda seed=seed, a=(penalty, training): flattened(data, *a, seed),  # type: ignore[misc]
            )
            for seed in range(seeds)
        ]
        cells = []
        for name in rows[0]:
            values = np.array([row[name] for row in rows]) * (100 if name in percent else 1)
            spread = values.std(ddof=1) if seeds > 1 else float("nan")
            cells.append(f"{values.mean():.2f} +- {spread:.2f}")
        print(f"| {penalty} | {training} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where results are kept")
    parser.add_argument("--mnist", type=Path, help="folder of torchvision's MNIST")
    parser.add_argument("--training", action="store_true", help="the second table")
    parser.add_argument("--seeds", type=int, default=3, help="of the second table")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.training:
        second(options.work, options.seeds)
        return
    first(options.work, "digits", None)
    if options.mnist is not None:
        first(options.work, "mnist", options.mnist)


if __name__ == "__main__":
    main()
