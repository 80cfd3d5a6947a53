"""How the limit settles with Lanczos depth: the evidence behind averaging rules over depths.

    python benchmarks/depth.py CKPT ... [--steps 480] [--samples 10000] [--directional 60]

One run of the largest depth per checkpoint (one that does not describe itself, as those of
``prunelimit train`` do, needs ``--model`` and ``--data``); shallower depths are read from its
leading steps. Prints two limits for abs(H). One is as the tool reads it, from Gauss and Gauss-Radau
rules averaged over depths. The other is from the single Gauss rule of that depth, as is usual.
Directional runs are as deep as half of the probe's, at most 60.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.estimation.curvature import measure_curvature
from prunelimit.inputs.load import load
from prunelimit.inputs.problem import evaluate
from prunelimit.lanczos import LanczosRun, Outcome, lanczos
from prunelimit.lanczos.slq import Spectrum
from prunelimit.limit.effective_dimension import EffectiveDimension
from prunelimit.limit.formulas.directional import DirectionalSearch
from prunelimit.limit.formulas.paper import paper_transition
from prunelimit.limit.geometry import Geometry, Transition
from prunelimit.limit.tolerance import loss_tolerance
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights

DEPTHS = (30, 60, 90, 120, 160, 240, 320, 480, 640, 1000)


def leading(run: LanczosRun, depth: int, averaged: bool) -> LanczosRun:
    """The first ``depth`` steps of ``run``; not ``averaged``, it is read by its own Gauss rule."""
    outcome = Outcome.COMPLETE if averaged else Outcome.INVARIANT
    return LanczosRun(run.alpha[:depth], run.beta[:depth], run.norm, outcome)


def cell(found: Transition, geometry: Geometry, *, interval: bool) -> str:
    """The limit in percent, with its interval where it has one."""
    low, middle, high = (
        100 * m / geometry.prunable for m in (found.interval[0], found.removed, found.interval[1])
    )
    return f"{middle:.2f} ({low:.2f}-{high:.2f})" if interval else f"{middle:.2f}"


def rows(checkpoint: Path, options: argparse.Namespace) -> None:
    """Print the limits of one checkpoint by depth."""
    data = DataConfig(data=options.data, train_samples=options.train_samples)
    loaded = load(checkpoint, ModelConfig(model=options.model), data, RunConfig())
    problem = loaded.problem
    losses = evaluate(problem, problem.train).losses
    epsilon = loss_tolerance(losses, LimitConfig().epsilon).value
    found = measure_curvature(
        problem,
        CurvatureConfig(curvature="hessian", samples=options.samples, steps=options.steps),
    )
    order, weights = magnitude_order(problem), problem.vector()
    geometry = Geometry.of(problem.layout.size, weights[order].double().numpy(), epsilon)
    deep: dict[int, LanczosRun] = {}

    def run_at(removed: int) -> LanczosRun:
        if removed not in deep:
            displacement = pruned_weights(problem, keep_mask(problem, order, removed)) - weights
            deep[removed] = lanczos(found.product, displacement, options.directional)
        return deep[removed]

    deepest = found.spectrum.runs[0]
    guess = round(0.95 * geometry.prunable)
    for depth in (d for d in DEPTHS if d <= deepest.num_steps):
        cells = []
        for averaged in (True, False):
            spectrum = Spectrum(problem.layout.size, (leading(deepest, depth, averaged),))
            effective = EffectiveDimension(spectrum, np.abs, 0.95)
            inner = min(depth // 2, options.directional)
            search = DirectionalSearch(
                geometry,
                lambda m, inner=inner, averaged=averaged: leading(run_at(m), inner, averaged),  # type: ignore[misc]
            )
            directional = search.locate(effective, guess)
            if averaged:
                guess = directional.removed
            paper = paper_transition(geometry, effective)
            cells += [cell(each, geometry, interval=averaged) for each in (directional, paper)]
        print(f"| {checkpoint.stem} | {depth} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--directional", type=int, default=60)
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--train-samples", type=int)
    options = parser.parse_args()
    print(
        "| network | steps | directional | paper | directional, one Gauss rule "
        "| paper, one Gauss rule |\n|---|---|---|---|---|---|"
    )
    for checkpoint in options.checkpoints:
        rows(checkpoint, options)


if __name__ == "__main__":
    main()
