"""How the limit settles with Lanczos depth: the evidence behind the default of --steps.

    python benchmarks/depth.py CKPT ... [--steps 320] [--samples 10000]

One run of the largest depth per checkpoint (each must describe itself, as those of
``prunelimit train`` do); shallower depths are read from its leading steps. Prints a row per depth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.effective import EffectiveDimension
from prunelimit.epsilon import loss_tolerance
from prunelimit.inputs.load import load
from prunelimit.inputs.problem import evaluate
from prunelimit.lanczos import LanczosRun, Outcome, lanczos
from prunelimit.limit import (
    DirectionalSearch,
    Geometry,
    isotropic_transition,
    paper_transition,
)
from prunelimit.pipeline.spectrum import measure_curvature
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights
from prunelimit.spectrum import OPERATORS, Spectrum

DEPTHS = (60, 100, 160, 240, 320, 480, 640)


def shallow(run: LanczosRun, depth: int) -> LanczosRun:
    """The first ``depth`` steps of ``run``."""
    return LanczosRun(run.alpha[:depth], run.beta[:depth], run.norm, Outcome.COMPLETE)


def rows(checkpoint: Path, kind: str, options: argparse.Namespace) -> None:
    """Print the limits of one checkpoint by depth."""
    loaded = load(checkpoint, ModelConfig(), DataConfig(), RunConfig())
    problem = loaded.problem
    losses = evaluate(problem, problem.train).losses
    epsilon = loss_tolerance(losses, LimitConfig().epsilon, problem.seed).value
    config = CurvatureConfig(curvature=kind, samples=options.samples, steps=options.steps)
    found = measure_curvature(problem, config)
    order, weights = magnitude_order(problem), problem.vector()
    geometry = Geometry.of(problem.layout.size, weights[order].double().numpy(), epsilon)

    def run_at(removed: int) -> LanczosRun:
        displacement = pruned_weights(problem, keep_mask(problem, order, removed)) - weights
        return lanczos(found.product, displacement, LimitConfig().directional_steps)

    search = DirectionalSearch(geometry, run_at)
    deepest = found.spectrum.runs[0]
    for operator in OPERATORS[kind]:
        for depth in (d for d in DEPTHS if d <= deepest.num_steps):
            spectrum = Spectrum(problem.layout.size, (shallow(deepest, depth),))
            effective = EffectiveDimension(spectrum, operator, 0.95)
            isotropic = isotropic_transition(geometry, effective)
            found_limits = [
                search.locate(effective, isotropic.removed),
                isotropic,
                paper_transition(geometry, effective),
            ]
            cells = []
            for each in found_limits:
                low, middle, high = (
                    100 * m / geometry.prunable
                    for m in (each.interval[0], each.removed, each.interval[1])
                )
                cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
            print(f"| {checkpoint.stem} | {operator} | {depth} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--samples", type=int, default=10_000)
    options = parser.parse_args()
    print(
        "| network | operator | steps | directional | isotropic | paper |\n"
        "|---|---|---|---|---|---|"
    )
    for checkpoint in options.checkpoints:
        for kind in OPERATORS:
            rows(checkpoint, kind, options)


if __name__ == "__main__":
    main()
