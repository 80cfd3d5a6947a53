"""What --cache saves: commands on one checkpoint without it, with it empty, and with it filled.

    python benchmarks/cache.py LENET.safetensors --data-dir DIR
    python benchmarks/cache.py RESNET.th -m resnet20 -d folder:DIR --evaluations

Seconds are those of the processor. ``--evaluations`` leaves the commands out and times the
evaluation of the training split alone, and what of it the hash of the samples takes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import prunelimit as pl
from prunelimit.inputs.identity import samples_digest
from prunelimit.inputs.problem import evaluate

SETTINGS = ("without", "empty", "filled")


def commands(made: Callable[..., pl.Problem], folder: str, products: int) -> list[list[Any]]:
    """Rows of seconds per command and setting."""
    work: dict[str, Callable[[pl.Problem], Any]] = {
        "predict": lambda problem: pl.predict(problem, max_products=products).to_dict(),
        "prune": lambda problem: pl.prune(problem, amount=0.8).result.to_dict(),
        "measure": lambda problem: pl.measure(problem, sparsities="0.8").to_dict(),
    }
    rows: list[list[Any]] = [[name] for name in work]
    for setting in SETTINGS:
        cache = None if setting == "without" else folder
        for row, (_, call) in zip(rows, work.items(), strict=True):
            problem = made(cache=cache)
            begin = time.process_time()
            call(problem)
            row.append(time.process_time() - begin)
    return rows


def evaluations(made: Callable[..., pl.Problem], folder: str) -> list[list[Any]]:
    """The same for the evaluation of the training split, and for the hash alone."""
    rows: list[list[Any]] = [["evaluating train"]]
    for setting in SETTINGS:
        problem = made(cache=None if setting == "without" else folder).problem
        begin = time.process_time()
        evaluate(problem, problem.train, curvatures=True)
        rows[0].append(time.process_time() - begin)
    problem = made().problem
    begin = time.process_time()
    samples_digest(problem.train)
    taken = time.process_time() - begin
    return [*rows, ["hash of train", 0.0, taken, taken]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("-m", "--model")
    parser.add_argument("-d", "--data")
    parser.add_argument("--data-dir")
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--products", type=int, default=60)
    parser.add_argument("--evaluations", action="store_true")
    options = parser.parse_args()

    def made(cache: str | None = None) -> pl.Problem:
        named = {"model": options.model, "data": options.data, "data_dir": options.data_dir}
        return pl.Problem.from_checkpoint(
            options.checkpoint, cache=cache, train_samples=options.train_samples, **named
        )

    folder = tempfile.mkdtemp()
    try:
        rows = evaluations(made, folder)
        if not options.evaluations:
            rows += commands(made, tempfile.mkdtemp(dir=folder), options.products)
    finally:
        shutil.rmtree(folder)
    print("| | without | empty | filled |\n|---|---|---|---|")
    for name, *taken in rows:
        print(f"| {name} | {' | '.join(f'{each:.1f} s' for each in taken)} |", flush=True)


if __name__ == "__main__":
    main()
