"""How the limit moves with the samples whose Hessian stands in for that of the training set.

    python benchmarks/samples.py CKPT ... [--most 16000] [--model SPEC] [--data SPEC]

Nested samples, doubled from 250 on, each time 60 Lanczos steps from a probe and 30 from the removed
weights, so that the depth's own error is alike in all. Prints the limit by the Hessian and by the
GGN, how far it moved since half the samples, and that distance over the one before: 1/2 where the
bias falls like 1/n.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.pipeline.predict import predict

FIRST = 250


def limit(checkpoint: Path, options: argparse.Namespace, kind: str, samples: int) -> float:
    """The limit from ``samples`` samples, in percent."""
    result = predict(
        checkpoint,
        ModelConfig(model=options.model),
        DataConfig(data=options.data, train_samples=options.train_samples),
        RunConfig(),
        CurvatureConfig(curvature=kind, samples=samples, steps=60, probes=1),
        LimitConfig(directional_steps=30, no_drift=True),
    )
    return 100 * result.limit.sparsity


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=16_000)
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--train-samples", type=int)
    options = parser.parse_args()
    print("| network | matrix | samples | limit | moved, pp | over the last |")
    print("|---|---|---|---|---|---|")
    for checkpoint in options.checkpoints:
        for kind in ("hessian", "ggn"):
            samples, before, moved = FIRST, None, None
            while samples <= options.most:
                found = limit(checkpoint, options, kind, samples)
                cells = ["", ""]
                if before is not None:
                    last, moved = moved, found - before
                    cells = [f"{moved:+.2f}", "" if not last else f"{moved / last:+.2f}"]
                print(
                    f"| {checkpoint.stem} | {kind} | {samples:,} | {found:.2f} "
                    f"| {' | '.join(cells)} |",
                    flush=True,
                )
                before, samples = found, 2 * samples


if __name__ == "__main__":
    main()
