"""Products and seconds until the limit is right and stays right, beside other packages' quadrature.

    python benchmarks/time_to_limit.py CKPT ... [--depths 20,40,80,160,320] [--reference 640]

Two limits need nothing but the spectrum of abs(H), or with ``--curvature ggn`` that of the GGN.
They are the published formula's and the isotropic one, and can be read from any package's output.
Every route starts from one random vector of its own. Its error at a depth is against the reference,
ours from three probes at the depth of ``--reference``. Its seconds are those of that depth from
nothing. A route has *settled* at the first depth from which on all its errors are below
``--within`` percentage points. At a smaller one it may be right, but nobody could know. The last
line is ``predict`` as a user would run it, within ``--max-products``, with the directional limit
and the interval that it states. Where the samples are all of them, it chooses its own. PyHessian
0.1's ``density()`` calls a function that torch has removed; it is given one here. It has no GGN.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from prunelimit import plugins
from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.curvature import CurvatureProduct, PyHessianProduct, operator_of
from prunelimit.inputs.load import load
from prunelimit.inputs.problem import Problem, Split, evaluate
from prunelimit.lanczos import Bracket, Quadrature, lanczos, pool
from prunelimit.lanczos.slq import Spectrum, rademacher
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.formulas.isotropic import isotropic_transition
from prunelimit.limit.formulas.paper import paper_transition
from prunelimit.limit.geometry import Geometry
from prunelimit.limit.tolerance import loss_tolerance
from prunelimit.pruning.magnitude import magnitude_order
from prunelimit.values import EpsilonRule

Route = Callable[[int], list[Quadrature]]
"""Depth -> the rules whose readings are averaged."""


FORMULAS = {"paper": paper_transition, "isotropic": isotropic_transition}


@dataclass(frozen=True)
class Given(Spectrum):
    """A spectrum that is known by rules alone, whosever they are."""

    rules: tuple[Quadrature, ...] = ()

    @property
    def bracket(self) -> Bracket:
        """The mean of the rules, without an error."""
        rule = pool(self.rules)
        return Bracket(Quadrature(rule.ritz_values, rule.weights / rule.weights.sum()), rule)

    def probe_deviation(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """None is known."""
        return 0.0


def limits(rules: list[Quadrature], geometry: Geometry, kind: str) -> dict[str, float]:
    """The limit by each formula, in percent of the prunable weights."""
    spectrum = Given(geometry.dimension, (), tuple(rules))
    reading = EffectiveDimension(
        spectrum, operator_of(kind).readings[operator_of(kind).headline], 0.95
    )
    return {
        name: 100 * find(geometry, reading).removed / geometry.prunable
        for name, find in FORMULAS.items()
    }


def ours(problem: Problem, split: Split, kind: str) -> Route:
    """Averaged Gauss and Gauss-Radau rules."""

    def route(depth: int) -> list[Quadrature]:
        product = CurvatureProduct(problem, split, kind)
        start = rademacher(product.dimension, torch.Generator().manual_seed(1), problem.vector())
        bracket: Bracket = lanczos(product, start, depth).bracket
        return [bracket.gauss, bracket.radau]

    return route


def pyhessian(problem: Problem, split: Split, kind: str) -> Route:
    """PyHessian's stochastic Lanczos quadrature, of the Hessian."""
    assert kind == "hessian"

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


def eigenthings(problem: Problem, split: Split, kind: str) -> Route:
    """hessian-eigenthings' spectral density, before it is smoothed."""
    from hessian_eigenthings import GGNOperator, HessianOperator, spectral_density

    names, loss = set(problem.layout.names), nn.CrossEntropyLoss()
    batches = list(split.batches(problem.batch_size))

    def route(depth: int) -> list[Quadrature]:
        if kind == "ggn":
            operator = GGNOperator(
                problem.model,
                batches,
                lambda model, batch: model(batch[0]),
                lambda outputs, batch: loss(outputs, batch[1]),
                param_filter=lambda name, _: name in names,
            )
        else:
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


def curvlinops(problem: Problem, split: Split, kind: str) -> Route:
    """curvlinops' Lanczos, which reorthogonalises nothing."""
    from curvlinops import GGNLinearOperator, HessianLinearOperator
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

    batches = list(split.batches(problem.batch_size))

    def route(depth: int) -> list[Quadrature]:
        np.random.seed(0)
        linear = GGNLinearOperator if kind == "ggn" else HessianLinearOperator
        operator = linear(
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


def reference(
    problem: Problem, split: Split, geometry: Geometry, steps: int, kind: str
) -> tuple[dict[str, float], float]:
    """The limits from three deep probes, the directional one among them, and half its interval."""
    config = CurvatureConfig(curvature=kind, samples=len(split), steps=steps, probes=3)
    limit = LimitConfig(no_drift=True, directional_steps=steps // 2, epsilon=repr(geometry.epsilon))
    found = predict_problem(problem, config, limit)
    deep = {
        each.formula: 100 * each.sparsity
        for each in found.variants
        if each.operator == operator_of(kind).headline
    }
    low, high = found.limit.interval
    return deep, 50 * (high - low)


def settled(errors: dict[int, float], within: float) -> int | None:
    """The least depth from which on every error is below ``within``."""
    found = None
    for depth in sorted(errors, reverse=True):
        if abs(errors[depth]) >= within:
            break
        found = depth
    return found


def network(checkpoint: Path, options: argparse.Namespace) -> None:
    """Print one network's lines."""
    data = DataConfig(
        data=options.data, data_dir=options.data_dir, train_samples=options.train_samples
    )
    where = RunConfig(batch_size=options.batch_size)
    problem = load(checkpoint, ModelConfig(model=options.model), data, where).problem
    split = problem.train.subset(options.samples, 0)
    epsilon = loss_tolerance(
        evaluate(problem, problem.train).losses, EpsilonRule.parse("batch-std")
    ).value
    weights = problem.vector()[magnitude_order(problem)]
    geometry = Geometry.of(problem.layout.size, weights.double().numpy(), epsilon)
    kind = options.curvature
    deep, half = reference(problem, split, geometry, options.reference, kind)
    name = checkpoint.stem
    cells = " | ".join(f"{deep[formula]:.2f}" for formula in FORMULAS)
    print(f"| {name} | reference | {options.reference} | | {cells} | |", flush=True)
    routes: dict[str, Callable[[Problem, Split, str], Route]] = {
        "prunelimit": ours,
        "PyHessian": pyhessian,
        "hessian-eigenthings": eigenthings,
        "curvlinops": curvlinops,
    }
    if kind == "ggn":
        del routes["PyHessian"]
    for title, make in routes.items():
        if not re.search(options.only, title):
            continue
        route = make(problem, split, kind)
        errors: dict[str, dict[int, float]] = {formula: {} for formula in FORMULAS}
        seconds = {}
        for depth in options.depths:
            begin = time.perf_counter()
            found = limits(route(depth), geometry, kind)
            seconds[depth] = time.perf_counter() - begin
            for formula, value in found.items():
                errors[formula][depth] = value - deep[formula]
            cells = " | ".join(f"{found[f]:.2f} ({errors[f][depth]:+.2f})" for f in FORMULAS)
            print(f"| {name} | {title} | {depth} | {seconds[depth]:.1f} | {cells} | |", flush=True)
        ends = []
        for formula in FORMULAS:
            depth = settled(errors[formula], options.within)
            ends.append(
                "not settled" if depth is None else f"{depth} steps, {seconds[depth]:.1f} s"
            )
        print(f"| {name} | **{title} settled** | | | {' | '.join(ends)} | |", flush=True)
    begin = time.perf_counter()
    whole = len(split) == len(problem.train)
    config = CurvatureConfig(curvature=kind, samples=None if whole else options.samples)
    limit = LimitConfig(
        tolerance=f"{options.within}pp",
        no_drift=not whole,
        epsilon=repr(epsilon),
        max_products=options.max_products,
    )
    found = predict_problem(problem, config, limit)
    seconds_taken = time.perf_counter() - begin
    low, high = found.limit.interval
    value = 100 * found.limit.sparsity
    print(
        f"| {name} | **predict, --tolerance {options.within}pp** | {found.curvature.products} "
        f"products | {seconds_taken:.1f} | | | {value:.2f} +- {50 * (high - low):.2f} "
        f"({value - deep['directional']:+.2f}, reference +- {half:.2f}) |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--depths", default="20,40,80,160,320")
    parser.add_argument("--reference", type=int, default=640)
    parser.add_argument("--samples", type=int, default=1_000)
    parser.add_argument("--batch-size", type=int, help="smaller where a package needs the memory")
    parser.add_argument("--curvature", choices=plugins.names("curvature"), default="hessian")
    parser.add_argument("--max-products", type=int, default=2000)
    parser.add_argument("--within", type=float, default=0.5, help="percentage points")
    parser.add_argument("--only", default="", help="regular expression of packages")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--data-dir")
    parser.add_argument("--train-samples", type=int)
    options = parser.parse_args()
    options.depths = [int(depth) for depth in options.depths.split(",")]
    warnings.simplefilter("ignore")
    print("| network | package | Lanczos steps | seconds | paper | isotropic | directional |")
    print("|---|---|---|---|---|---|---|")
    for checkpoint in options.checkpoints:
        network(checkpoint, options)


if __name__ == "__main__":
    main()
