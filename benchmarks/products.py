"""Time of one curvature product in units of one gradient, beside PyHessian's, in one run.

    python benchmarks/products.py [--repeats 7]

Networks with fresh weights on random data. The routes take turns, so that whatever else the machine
does falls on all of them alike; each cell is the ratio of medians. *Rebuilt* differentiates the
network anew for every product, as is done where the graphs do not fit into memory. The unit is the
gradient of the network as it is, with its normalisation layers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from prunelimit.curvature import CurvatureProduct, PyHessianProduct
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.networks import build_network
from prunelimit.inputs.problem import Problem

SHAPES = {
    "MLP 784-60-30-10": ((784,), 500),
    "lenet5": ((3, 32, 32), 250),
    "resnet20": ((3, 32, 32), 64),
    "resnet18": ((3, 32, 32), 8),
}


def problem(name: str) -> Problem:
    """One batch of random data for the network called ``name``."""
    torch.manual_seed(0)
    shape, count = SHAPES[name]
    if name.startswith("MLP"):
        layers = [nn.Linear(784, 60), nn.ReLU(), nn.Linear(60, 30), nn.ReLU(), nn.Linear(30, 10)]
        network: nn.Module = nn.Sequential(*layers)
    else:
        network = build_network(name, input_shape=shape, classes=10)
    both = torch.randn(count, *shape), torch.randint(0, 10, (count,))
    return problem_from_module(network, both, both, batch_size=count)


def gradient(given: Problem) -> Callable[[], None]:
    """The gradient of the mean loss, as anyone would take it."""
    (inputs, targets), *_ = given.train.batches(given.batch_size)
    leaves = list(given.parameters().values())

    def run() -> None:
        loss = given.loss(given.model(inputs), targets).mean()
        torch.autograd.grad(loss, leaves)

    return run


def ratios(name: str, repeats: int) -> dict[str, float]:
    """Median seconds of every route over those of the gradient."""
    given = problem(name)
    vector = torch.randn(given.layout.size, generator=torch.Generator().manual_seed(1))
    products = {
        "Hessian": CurvatureProduct(given, given.train, "hessian"),
        "Hessian, rebuilt": CurvatureProduct(given, given.train, "hessian", memory_bytes=0),
        "GGN": CurvatureProduct(given, given.train, "ggn"),
        "PyHessian": PyHessianProduct(given, given.train),
    }
    routes: dict[str, Callable[[], object]] = {"gradient": gradient(given)}
    for route, product in products.items():
        routes[route] = lambda product=product: product(vector)  # type: ignore[misc]
    taken: dict[str, list[float]] = {route: [] for route in routes}
    for turn in range(repeats + 1):
        for route, run in routes.items():
            begin = time.perf_counter()
            run()
            if turn:  # the first turn warms up
                taken[route].append(time.perf_counter() - begin)
    medians = {route: statistics.median(seconds) for route, seconds in taken.items()}
    return {route: medians[route] / medians["gradient"] for route in products}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    header = None
    for name in SHAPES:
        found = ratios(name, options.repeats)
        if header is None:
            header = f"| network | {' | '.join(found)} |\n|---|{'---|' * len(found)}"
            print(header)
        cells = " | ".join(f"{value:.2f}" for value in found.values())
        print(f"| {name}, batch {SHAPES[name][1]} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
