"""Where the seconds of staged survivors go.

    python benchmarks/seconds.py CKPT --sparsity 0.8 [-m MODEL -d DATA --data-dir DIR]

Functions of the package are timed while the network is pruned in stages. Seconds are of the clock
and do not overlap: what a function calls is counted there alone, if it is a row too.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prunelimit.compensation import stages
from prunelimit.compensation.student import Student
from prunelimit.config import DataConfig, ModelConfig, RunConfig, SurvivorConfig
from prunelimit.inputs.load import load
from prunelimit.measurement.networks import Networks
from prunelimit.pruning.magnitude import removal_count
from prunelimit.pruning.selection import Selection
from prunelimit.values import EpsilonRule, Method


class Clock:
    """Seconds by name, each counted once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last, self._open = time.perf_counter(), ["everything else"]

    def _count(self) -> None:
        now = time.perf_counter()
        name = self._open[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now

    def timed(self, owner: Any, attribute: str, name: str) -> None:
        """Replace a function of ``owner`` by itself and a clock."""
        own: Callable[..., Any] = getattr(owner, attribute)

        @functools.wraps(own)
        def wrapped(*given: Any, **named: Any) -> Any:
            self._count()
            self._open.append(name)
            try:
                return own(*given, **named)
            finally:
                self._count()
                self._open.pop()

        setattr(owner, attribute, wrapped)

    def stop(self) -> None:
        """Count what is open."""
        self._count()


def main() -> None:
    """Prune in stages and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--sparsity", type=float, required=True)
    parser.add_argument("-m", "--model")
    parser.add_argument("-d", "--data")
    parser.add_argument("--data-dir")
    parser.add_argument("--epsilon", default="batch-std")
    parser.add_argument("--calibration", type=int)
    parser.add_argument("--cg-steps", default="auto")
    parser.add_argument("--stages", default="auto")
    options = parser.parse_args()
    problem = load(
        options.checkpoint,
        ModelConfig(model=options.model),
        DataConfig(data=options.data, data_dir=options.data_dir),
        RunConfig(),
    ).problem
    config = SurvivorConfig(
        calibration=options.calibration, cg_steps=options.cg_steps, stages=options.stages
    )
    clock = Clock()
    clock.timed(Selection, "following", "which weights go")
    clock.timed(stages, "layerwise", "layers fitted")
    clock.timed(stages, "descent", "minibatches")
    clock.timed(stages.Compensator, "_solve", "conjugate gradients")
    clock.timed(Student, "rise", "judging on held-out inputs")
    clock.timed(Student, "anew", "statistics of batch normalisation")
    epsilon = EpsilonRule.parse(options.epsilon)
    method = Method(survivors="staged")
    networks = Networks(problem, method, config, epsilon=epsilon, target_loss=0.0)
    found = networks.at(removal_count(options.sparsity, networks.prunable))
    clock.stop()
    total = sum(clock.seconds.values())
    assert found.state is not None
    print(f"{100 * options.sparsity:g}% in {len(found.state.stages)} stages, {total:.0f} s\n")
    print("| part | seconds | share |\n|---|---|---|")
    for name, seconds in sorted(clock.seconds.items(), key=lambda each: -each[1]):
        print(f"| {name} | {seconds:.1f} | {seconds / total:.0%} |")


if __name__ == "__main__":
    main()
