"""Products and seconds until the limit is right, here and with other packages' own quadrature.

    python benchmarks/time_to_limit.py CKPT ... [--depths 20,40,80,160,320] [--reference 640]

The limit is the published formula's, which needs nothing but the spectrum of abs(H): the only one
that the others' output allows. The reference is ours at the depth of ``--reference``, from three
probes. Every route starts from one random vector of its own; its error at a depth is against the
reference, its seconds are those of that depth from nothing. PyHessian 0.1's ``density()`` calls a
function that torch has removed; it is given one here.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from prunelimit.config import DataConfig, ModelConfig, RunConfig
from prunelimit.curvature import CurvatureProduct, PyHessianProduct
from prunelimit.effective import kept
from prunelimit.epsilon import loss_tolerance
from prunelimit.inputs.load import load
from prunelimit.inputs.problem import Problem, Split, evaluate
from prunelimit.lanczos import Bracket, Lanczos, Quadrature, lanczos, pool
from prunelimit.limit import Geometry
from prunelimit.pruning.magnitude import magnitude_order
from prunelimit.spectrum import rademacher

Route = Callable[[int], list[Quadrature]]
"""Depth -> the rules whose readings are averaged."""


def paper_limit(rules: list[Quadrature], geometry: Geometry) -> float:
    """The published formula's limit, in percent of the prunable weights."""

    def feasible(removed: int) -> bool:
        radius = float(geometry.radii[removed])
        if radius == 0:
            return True
        ridge = 2 * geometry.epsilon / radius**2
        share = np.mean([kept(np.abs(r.ritz_values), ridge) @ r.weights for r in rules])
        return bool(geometry.dimension * share <= geometry.dimension - removed)

    low, high = 0, geometry.prunable + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if feasible(middle) else (low, middle)
    return 100 * low / geometry.prunable


def ours(problem: Problem, split: Split, seed: int) -> Route:
    """Averaged Gauss and Gauss-Radau rules."""

    def route(depth: int) -> list[Quadrature]:
        product = CurvatureProduct(problem, split)
        start = rademacher(product.dimension, torch.Generator().manual_seed(seed), problem.vector())
        bracket: Bracket = lanczos(product, start, depth).bracket
        return [bracket.gauss, bracket.radau]

    return route


def pyhessian(problem: Problem, split: Split) -> Route:
    """PyHessian's stochastic Lanczos quadrature."""

    def eig(matrix: Tensor, eigenvectors: bool) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], 1), vectors

    def route(depth: int) -> list[Quadrature]:
        torch.eig = eig
        torch.manual_seed(0)
        peer = PyHessianProduct(problem, split)._hessian
        (values,), (weights,) = peer.density(iter=depth, n_v=1)
        return [Quadrature(np.array(values, dtype=float), np.array(weights, dtype=float))]

    return route


def eigenthings(problem: Problem, split: Split) -> Route:
    """hessian-eigenthings' spectral density, before it is smoothed."""
    from hessian_eigenthings import HessianOperator, spectral_density

    names, loss = set(problem.layout.names), nn.CrossEntropyLoss()
    batches = list(split.batches(problem.batch_size))

    def route(depth: int) -> list[Quadrature]:
        operator = HessianOperator(
            problem.model,
            batches,
            lambda model, batch: loss(model(batch[0]), batch[1]),
            param_filter=lambda name, _: name in names,
        )
        found = spectral_density(operator, num_runs=1, lanczos_steps=depth, seed=0)
        values, weights = found.raw_eigenvalues[0].numpy(), found.raw_weights[0].numpy()
        return [Quadrature(values.astype(float), weights.astype(float))]

    return route


def curvlinops(problem: Problem, split: Split) -> Route:
    """curvlinops' Lanczos, which reorthogonalises nothing."""
    from curvlinops import HessianLinearOperator
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

    batches = list(split.batches(problem.batch_size))

    def route(depth: int) -> list[Quadrature]:
        np.random.seed(0)
        operator = HessianLinearOperator(
            problem.model,
            nn.CrossEntropyLoss(),
            list(problem.parameters().values()),
            batches,
            check_deterministic=False,
        )
        values, vectors = fast_lanczos(operator, depth)
        values, weights = (np.asarray(each, dtype=float) for each in (values, vectors[0]))
        return [Quadrature(values, weights**2)]

    return route


def rows(checkpoint: Path, options: argparse.Namespace) -> None:
    """Print one network's lines."""
    data = DataConfig(data=options.data, train_samples=options.train_samples)
    problem = load(checkpoint, ModelConfig(model=options.model), data, RunConfig()).problem
    split = problem.train.subset(options.samples, 0)
    epsilon = loss_tolerance(evaluate(problem, problem.train).losses, "batch-std", 0).value
    weights = problem.vector()[magnitude_order(problem)]
    geometry = Geometry.of(problem.layout.size, weights.double().numpy(), epsilon)
    product = CurvatureProduct(problem, split)
    brackets = []
    for seed in (11, 12, 13):
        start = rademacher(product.dimension, torch.Generator().manual_seed(seed), problem.vector())
        process = Lanczos(product, start)
        process.advance(options.reference)
        brackets.append(process.run.bracket)
    rules = [pool([b.gauss for b in brackets]), pool([b.radau for b in brackets])]
    reference = paper_limit(rules, geometry)
    low, high = sorted(paper_limit([rule], geometry) for rule in rules)
    found = f"{reference:.2f} ({low:.2f}-{high:.2f})"
    print(f"| {checkpoint.stem} | reference | {options.reference} | | {found} | |")
    del product, process
    routes = {
        "prunelimit": ours(problem, split, 1),
        "PyHessian": pyhessian(problem, split),
        "hessian-eigenthings": eigenthings(problem, split),
        "curvlinops": curvlinops(problem, split),
    }
    for name, route in routes.items():
        for depth in options.depths:
            begin = time.perf_counter()
            found = paper_limit(route(depth), geometry)
            seconds = time.perf_counter() - begin
            print(
                f"| {checkpoint.stem} | {name} | {depth} | {seconds:.1f} | {found:.2f} "
                f"| {found - reference:+.2f} |",
                flush=True,
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--depths", default="20,40,80,160,320")
    parser.add_argument("--reference", type=int, default=640)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--train-samples", type=int)
    options = parser.parse_args()
    options.depths = [int(depth) for depth in options.depths.split(",")]
    warnings.simplefilter("ignore")
    print("| network | package | Lanczos steps | seconds | limit (paper) | error, pp |")
    print("|---|---|---|---|---|---|")
    for checkpoint in options.checkpoints:
        rows(checkpoint, options)


if __name__ == "__main__":
    main()
