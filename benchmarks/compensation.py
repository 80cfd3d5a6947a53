"""Accuracy against sparsity: magnitude alone, compensated once, and in stages.

    python benchmarks/compensation.py CKPT ... [-m MODEL -d DATA --data-dir DIR] [--bound]

One path of stages gives its whole column; its seconds, of the clock and of all processors, are
those of the stages alone. Accuracies are those of the test split, drops in
percentage points from dense. With ``--bound`` the drops of ResNet-20 on CIFAR-10 in Benbaki et al.
(2023) stand beside; those figures are from memory of the paper.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from prunelimit.compensation.options import compensator
from prunelimit.config import DataConfig, ModelConfig, RunConfig, SurvivorConfig
from prunelimit.inputs.load import load
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights, removal_count
from prunelimit.pruning.selection import Selection
from prunelimit.values import EpsilonRule, Method

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98)
DENSE = 91.36
PUBLISHED = {
    "magnitude": (88.4, 85.2, 78.8, 54.0, 11.8),
    "CHITA": (90.6, 89.2, 84.1, 57.9, 15.6),
    "CHITA++": (91.0, 90.8, 90.4, 88.7, 79.3),
}
"""At 50, 60, 70, 80 and 90%, from memory of Benbaki et al., ICML 2023."""


def accuracy(problem: Problem) -> float:
    """On the test split, percent."""
    return 100 * evaluate(problem, problem.test).accuracy


def table(name: str, problem: Problem, options: argparse.Namespace) -> None:
    """Print one network's table, line by line as it comes."""
    dense = accuracy(problem)
    settings = SurvivorConfig(
        calibration=options.calibration,
        cg_steps=options.cg_steps,
        stages=options.stages,
    )
    epsilon = EpsilonRule.parse(options.epsilon)
    once, path = (
        compensator(problem, Selection(problem, Method(survivors=survivors)), settings, epsilon)
        for survivors in ("compensated", "staged")
    )
    order = magnitude_order(problem)
    known = tuple(PUBLISHED) if options.bound else ()
    titles = ["sparsity", "magnitude", "compensated", "stages", "number", "products"]
    titles += ["seconds", "processor seconds", *known]
    print(f"\n{name}: dense {dense:.2f}%, epsilon {path.epsilon:.3g}; accuracy (drop)\n")
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    state, seconds, processor = path.begin(), 0.0, 0.0
    for sparsity in options.sparsities:
        remove = removal_count(sparsity, path.prunable)
        weights = pruned_weights(problem, keep_mask(problem, order, remove))
        found: list[float | None] = [100 * evaluate(problem, problem.test, weights).accuracy, None]
        if not options.no_single:
            found[1] = accuracy(once.problem_at(once.advance(once.begin(), remove)))
        begin = time.perf_counter(), time.process_time()
        state = path.advance(state, remove)
        seconds += time.perf_counter() - begin[0]
        processor += time.process_time() - begin[1]
        found.append(accuracy(path.problem_at(state)))
        cells = [f"{100 * sparsity:g}"]
        cells += ["" if each is None else f"{each:.2f} ({each - dense:+.2f})" for each in found]
        cells += [str(len(state.stages)), str(path.products), f"{seconds:.0f}", f"{processor:.0f}"]
        place = {0.5: 0, 0.6: 1, 0.7: 2, 0.8: 3, 0.9: 4}.get(sparsity)
        for column in known:
            cells.append("" if place is None else f"({PUBLISHED[column][place] - DENSE:+.2f})")
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print a table for every checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("-m", "--model")
    parser.add_argument("-d", "--data")
    parser.add_argument("--data-dir")
    parser.add_argument("--epsilon", default="batch-std")
    parser.add_argument("--calibration", type=int, default=SurvivorConfig.calibration)
    parser.add_argument("--cg-steps", default="auto")
    parser.add_argument("--stages", type=int, help="from one sparsity to the next")
    parser.add_argument("--sparsities", type=float, nargs="+", default=SPARSITIES)
    parser.add_argument("--bound", action="store_true")
    parser.add_argument("--no-single", action="store_true", help="leave out the middle column")
    options = parser.parse_args()
    for checkpoint in options.checkpoints:
        loaded = load(
            checkpoint,
            ModelConfig(model=options.model),
            DataConfig(data=options.data, data_dir=options.data_dir),
            RunConfig(),
        )
        table(checkpoint.stem, loaded.problem, options)


if __name__ == "__main__":
    main()
