"""What `prune` reaches: by default, and within half a point of accuracy.

    python benchmarks/sparsest.py --work bench [--mnist DIR] [--cifar10 DIR] [--checkpoints DIR]

The networks are those of networks.py. For each the table has the plain threshold and the limit that
are predicted, and what plain pruning to the former loses. It has the sparsest network within 0.5
points with fixed and with staged survivors. That is chosen on training samples held out, and judged
once on the test split. Beside it is 2:4: fixed by magnitude and by Wanda, and staged. Every step's
JSON stays under ``--work`` and is not made again. ``--table`` prints the table from what is there.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from networks import Case, arguments, cases, public

from prunelimit.commands.predict import predict_problem
from prunelimit.config import PruneConfig
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.measurement.drop import paired_drop
from prunelimit.measurement.networks import Network, Networks
from prunelimit.measurement.sparsest import sparsest
from prunelimit.storage.files import read_json, write_json
from prunelimit.values import EpsilonRule, Method

WITHIN = 0.005
PATTERNS = ("magnitude/2:4", "wanda/2:4", "magnitude/2:4+staged")


def judged(problem: Problem, network: Network) -> dict[str, Any]:
    """Accuracy lost on the test split, with its paired error; sparsity of the prunable weights."""
    before = evaluate(problem, problem.test)
    after = evaluate(network.problem, problem.test, network.weights)
    drop = paired_drop(before, after)
    prunable = int(problem.prunable_mask().sum())
    return {
        "sparsity": int((~network.mask).sum()) / prunable,
        "dense": before.accuracy,
        "accuracy": after.accuracy,
        "drop": drop.mean,
        "standard_error": drop.standard_error,
    }


def default(problem: Problem) -> dict[str, Any]:
    """What `prune` does with nothing said."""
    predicted = predict_problem(problem)
    assert predicted.one_shot is not None
    config = PruneConfig()
    networks = Networks(
        problem,
        config.method,
        config,
        epsilon=0.0,
        target_loss=0.0,
        min_keep=config.min_keep,
    )
    removed = round(predicted.one_shot.sparsity * networks.prunable)
    return {
        "plain": predicted.one_shot.sparsity,
        "limit": predicted.limit.sparsity,
        **judged(problem, networks.at(removed)),
    }


def within(problem: Problem, survivors: str) -> dict[str, Any]:
    """The sparsest network within :data:`WITHIN`."""
    found = sparsest(
        problem, PruneConfig(survivors=survivors), EpsilonRule.parse("batch-std"), WITHIN
    )
    held_out = {"held_out": found.held_out, "held_out_drop": found.drop.mean}
    return {**held_out, **judged(problem, found.network)}


def pattern(problem: Problem, name: str) -> dict[str, Any]:
    """All that the pattern lets go."""
    method = Method.parse(name)
    networks = Networks(
        problem, method, PruneConfig(), epsilon=EpsilonRule.parse("batch-std"), target_loss=0.0
    )
    return judged(problem, networks.at(networks.top))


STAGES = {
    "default": default,
    "within-fixed": lambda problem: within(problem, "fixed"),
    "within-staged": lambda problem: within(problem, "staged"),
    **{
        re.sub(r"\W+", "-", name): lambda problem, name=name: pattern(problem, name)
        for name in PATTERNS
    },
}


def run(case: Case, work: Path, stages: str) -> None:
    """Make what is missing of one network."""
    missing = [
        (stage, path)
        for stage in STAGES
        for path in [work / f"{case.stem}.{stage}.json"]
        if re.search(stages, stage) and not path.exists()
    ]
    problem = case.problem(work) if missing else None
    for stage, path in missing:
        begin = time.perf_counter()
        found = STAGES[stage](problem)
        seconds = time.perf_counter() - begin
        write_json(path, {"name": case.name, **found, "seconds": seconds})
        print(f"{case.name}: {stage}, {seconds:.0f} s", file=sys.stderr, flush=True)


HEADER = (
    "| network | plain / limit | default: drop | within 0.5, fixed: sparsity, drop "
    "| within 0.5, staged: sparsity, drop, s | 2:4 drop: magnitude / Wanda / staged |\n"
    "|---|---|---|---|---|---|"
)


def line(case: Case, work: Path) -> str | None:
    """One row; None where nothing is there."""
    found = {
        stage: read_json(path)
        for stage in STAGES
        for path in [work / f"{case.stem}.{stage}.json"]
        if path.exists()
    }
    if not found:
        return None

    def drop(stage: str) -> str:
        each = found.get(stage)
        if each is None:
            return "-"
        return f"{100 * each['drop']:.2f} +- {100 * each['standard_error']:.2f}"

    def reached(stage: str) -> str:
        each = found.get(stage)
        return "-" if each is None else f"{100 * each['sparsity']:.1f}, {drop(stage)}"

    plain = found.get("default")
    staged = found.get("within-staged")
    cells = [
        case.name,
        "-" if plain is None else f"{100 * plain['plain']:.1f} / {100 * plain['limit']:.1f}",
        drop("default"),
        reached("within-fixed"),
        reached("within-staged") + ("" if staged is None else f", {staged['seconds']:.0f}"),
        " / ".join(drop(re.sub(r"\W+", "-", name)) for name in PATTERNS),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stages", default="", help="regular expression of steps")
    parser.add_argument("--table", action="store_true")
    options = arguments(parser)
    chosen = [
        case for case in [*cases(options), *public(options)] if re.search(options.only, case.name)
    ]
    if not options.table:
        for case in chosen:
            run(case, options.work, options.stages)
    rows = [row for case in chosen if (row := line(case, options.work)) is not None]
    print("\n".join([HEADER, *rows]))


if __name__ == "__main__":
    main()
