"""Time of one curvature product in units of one gradient, beside other packages', in one run.

    python benchmarks/products.py [--repeats 7] [--only REGEX] [--compile]

Networks with fresh weights on one batch of random data, on one thread. What counts is the
processor's time, not the clock's, and the routes take turns, so that whatever else the machine does
falls on all of them alike; each cell is the ratio of medians, per vector where eight are multiplied
at once. The unit is the gradient of the network as it is, with its normalisation layers. Packages
that are not installed (``pip install '.[bench]'``) are left out.

``--compile`` prints something else: the Hessian's product on a first batch compiled by
torch.compile, beside the same uncompiled, with the seconds that compiling took.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunelimit.curvature import CurvatureProduct, PyHessianProduct
from prunelimit.inputs.build import build_network
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem

BLOCK = 8


class Transformer(nn.Module):
    """Two pre-norm encoder layers on 32 positions of width 64, classified by their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, 10) of sequences (n, 32, 16)."""
        outputs: Tensor = self.head(self.encoder(self.embed(inputs)).mean(1))
        return outputs


def perceptron() -> nn.Module:
    """784-60-30-10 with ReLU."""
    layers = [nn.Linear(784, 60), nn.ReLU(), nn.Linear(60, 30), nn.ReLU(), nn.Linear(30, 10)]
    return nn.Sequential(*layers)


NETWORKS: dict[str, tuple[Callable[[], nn.Module] | None, tuple[int, ...], int]] = {
    "MLP 784-60-30-10": (perceptron, (784,), 500),
    "lenet5": (None, (3, 32, 32), 250),
    "resnet20": (None, (3, 32, 32), 64),
    "resnet18": (None, (3, 32, 32), 8),
    "transformer": (Transformer, (32, 16), 64),
}
"""Constructor (None: the built-in network), shape of a sample, batch."""


def problem(name: str) -> Problem:
    """One batch of random data for the network called ``name``."""
    torch.manual_seed(0)
    make, shape, count = NETWORKS[name]
    network = make() if make else build_network(name, input_shape=shape, classes=10)
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


def ours(given: Problem) -> dict[str, Callable[[], object]]:
    """Products by this package."""
    vector, block = vectors(given)
    routes: dict[str, Callable[[], object]] = {}
    for kind, title in (("hessian", "Hessian"), ("ggn", "GGN")):
        product = CurvatureProduct(given, given.train, kind, route="recorded")
        slow = CurvatureProduct(given, given.train, kind, route="double-backward")
        routes[title] = lambda product=product: product(vector)  # type: ignore[misc]
        routes[f"{title} x{BLOCK}"] = lambda product=product: product(block)  # type: ignore[misc]
        routes[f"{title}, double backward"] = lambda product=slow: product(vector)  # type: ignore[misc]
        rounded = CurvatureProduct(given, given.train, kind, route="recorded", precision="bfloat16")
        routes[f"{title}, bfloat16"] = lambda product=rounded: product(vector)  # type: ignore[misc]
    return routes


def peers(given: Problem) -> dict[str, Callable[[], object]]:
    """Products by other packages, of the same parameters on the same batch."""
    vector, block = vectors(given)
    batches = list(given.train.batches(given.batch_size))
    leaves = list(given.parameters().values())
    names = set(given.layout.names)
    loss = nn.CrossEntropyLoss()
    pyhessian = PyHessianProduct(given, given.train)
    routes: dict[str, Callable[[], object]] = {"PyHessian": lambda: pyhessian(vector)}
    if find_spec("curvlinops"):
        from curvlinops import GGNLinearOperator, HessianLinearOperator

        for title, kind in (("Hessian", HessianLinearOperator), ("GGN", GGNLinearOperator)):
            linear = kind(given.model, loss, leaves, batches, check_deterministic=False)
            routes[f"curvlinops {title}"] = lambda op=linear: op @ vector  # type: ignore[misc]
            routes[f"curvlinops {title} x{BLOCK}"] = lambda op=linear: op @ block.T  # type: ignore[misc]
    if find_spec("hessian_eigenthings"):
        from hessian_eigenthings import GGNOperator, HessianOperator

        things: dict[str, Callable[[Tensor], Tensor]] = {
            "Hessian": HessianOperator(
                given.model,
                batches,
                lambda model, batch: loss(model(batch[0]), batch[1]),
                param_filter=lambda name, _: name in names,
            ).matvec,
            "GGN": GGNOperator(
                given.model,
                batches,
                lambda model, batch: model(batch[0]),
                lambda outputs, batch: loss(outputs, batch[1]),
                param_filter=lambda name, _: name in names,
            ).matvec,
        }
        for title, multiply in things.items():
            routes[f"eigenthings {title}"] = lambda multiply=multiply: multiply(vector)  # type: ignore[misc]
    return routes


def vectors(given: Problem) -> tuple[Tensor, Tensor]:
    """One vector (D,) and eight (8, D)."""
    block = torch.randn(BLOCK, given.layout.size, generator=torch.Generator().manual_seed(1))
    return block[0].clone(), block


def compiled(name: str, repeats: int) -> str:
    """What compiling the part of a product that every batch repeats costs and gains."""
    given = problem(name)
    product = CurvatureProduct(given, given.train, route="recorded")
    batch = product._kept[0]
    direction = given.layout.unflatten(vectors(given)[0]).values()
    both = [*batch.values, *batch.recording.transform(*direction)]
    faster = torch.compile(batch.recording.combine)
    begin = time.perf_counter()
    faster(*both)
    seconds = time.perf_counter() - begin
    taken: dict[Callable[..., object], list[float]] = {batch.recording.combine: [], faster: []}
    for _ in range(2 * repeats + 1):
        for run, times in taken.items():
            begin = time.process_time()
            run(*both)
            times.append(time.process_time() - begin)
    plain, quick = (statistics.median(times[1:]) for times in taken.values())
    return f"{name}: {seconds:.0f} s to compile, {1000 * plain:.1f} ms -> {1000 * quick:.1f} ms"


def ratios(name: str, repeats: int) -> dict[str, float]:
    """Median seconds per vector of every route over those of the gradient."""
    given = problem(name)
    routes = {"gradient": gradient(given), **ours(given), **peers(given)}
    taken: dict[str, list[float]] = {route: [] for route in routes}
    for turn in range(repeats + 1):
        for route, run in routes.items():
            begin = time.process_time()
            run()
            if turn:  # the first turn warms up
                many = BLOCK if route.endswith(f"x{BLOCK}") else 1
                taken[route].append((time.process_time() - begin) / many)
    medians = {route: statistics.median(seconds) for route, seconds in taken.items()}
    unit = medians.pop("gradient")
    return {route: seconds / unit for route, seconds in medians.items()}


def main() -> None:
    """Print the table, a column per network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # the processor's time is of all threads together
    chosen = [name for name in NETWORKS if re.search(options.only, name)]
    # Fused attention has no derivatives of these kinds; not every package turns it off itself.
    torch.backends.mha.set_fastpath_enabled(False)
    if options.compile:
        for name in chosen:
            print(compiled(name, options.repeats), flush=True)
        return
    with sdpa_kernel(SDPBackend.MATH):
        columns = {name: ratios(name, options.repeats) for name in chosen}
    heads = [f"{name}, batch {NETWORKS[name][2]}" for name in chosen]
    print(f"| product | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for route in next(iter(columns.values())):
        cells = " | ".join(f"{column[route]:.2f}" for column in columns.values())
        print(f"| {route} | {cells} |")


if __name__ == "__main__":
    main()
