"""What the samples that carry most say of the limit of all, beside a uniform draw as large.

    python benchmarks/samples.py CKPT ... [--samples 500,1000,2000,4000,8000,0] [--model SPEC]
        [--data SPEC] [--data-dir DIR]

Each line has the share of the output curvature that so many samples carry, and three limits for one
loss tolerance. One is by these samples alone, which is an upper bound. One is by ``predict``, which
takes off what is left out and gives the interval. One is by a uniform draw of the same size. 0 is
all samples: the truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from prunelimit.commands.predict import predict
from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from prunelimit.results.types import PredictResult


def read(
    checkpoint: Path,
    options: argparse.Namespace,
    samples: int,
    limit: LimitConfig,
    drawn: int | None = None,
) -> PredictResult:
    """The limit from ``samples`` samples, of ``drawn`` that make up the loss (None: all)."""
    return predict(
        checkpoint,
        ModelConfig(model=options.model),
        DataConfig(data=options.data, data_dir=options.data_dir, train_samples=drawn),
        RunConfig(),
        CurvatureConfig(samples=samples),
        limit,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--samples", default="500,1000,2000,4000,8000,0")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    print("| network | samples | carry | these alone | predict | uniform draw | seconds |")
    print("|---|---|---|---|---|---|---|")
    for checkpoint in options.checkpoints:
        for samples in map(int, options.samples.split(",")):
            found = read(checkpoint, options, samples, LimitConfig())
            fixed = LimitConfig(epsilon=repr(found.epsilon.value), no_drift=True)
            alone = read(checkpoint, options, samples, fixed)
            uniform = read(checkpoint, options, 0, fixed, samples or None)
            low, high = found.limit.interval
            cells = [
                checkpoint.stem,
                f"{found.curvature.samples:,}",
                f"{100 * (found.curvature.carried or 0):.1f}%",
                f"{100 * alone.limit.sparsity:.2f}",
                f"{100 * found.limit.sparsity:.2f} ({100 * low:.2f}-{100 * high:.2f})",
                f"{100 * uniform.limit.sparsity:.2f}",
                f"{found.provenance.wall_seconds:.0f}",
            ]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
