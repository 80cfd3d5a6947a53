"""How many weights to leave in every layer: the evidence behind the default of `--min-keep`.

    python benchmarks/min_keep.py --work bench [--mnist DIR] [--cifar10 DIR] [--checkpoints DIR]

The networks are those of networks.py. Each is pruned by magnitude to the sparsities given, with
fixed survivors and with survivors fitted layer by layer. That is done under every guard: none, the
default, and a share of each layer. Cells are test accuracy in percent; "-" is a sparsity that the
guard does not let be reached. The JSON of a network stays under ``--work`` and is not made again.
``--table`` prints the table from what is there.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from typing import Any

from networks import arguments, cases, public

from prunelimit.config import PruneConfig
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.measurement.networks import Networks
from prunelimit.storage.files import read_json, write_json
from prunelimit.values import KeepRule

GUARDS = ("0", "auto", "1%", "2%", "5%")
SURVIVORS = ("fixed", "layerwise")


def row(problem: Problem, sparsities: list[float]) -> list[dict[str, Any]]:
    """Test accuracy, and the fewest weights kept in a layer, at every sparsity."""
    found = []
    for survivors in SURVIVORS:
        for guard in GUARDS:
            rule = KeepRule.parse(guard)
            config = PruneConfig(survivors=survivors, min_keep=rule)
            networks = Networks(
                problem, config.method, config, epsilon=0.0, target_loss=0.0, min_keep=rule
            )
            for sparsity in sparsities:
                removed = round(sparsity * networks.prunable)
                if removed > networks.selection.removable:
                    continue
                network = networks.at(removed)
                after = evaluate(network.problem, problem.test, network.weights)
                kept = problem.tensors(network.mask.to(network.weights))
                least = min(int(kept[name].sum()) for name in problem.prunable)
                found.append(
                    {
                        "survivors": survivors,
                        "guard": guard,
                        "sparsity": sparsity,
                        "accuracy": after.accuracy,
                        "least": least,
                    }
                )
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A line for each network, sparsity and kind of survivors that the default guard changes."""
    lines = [
        f"| network | sparsity | survivors | {' | '.join(GUARDS)} | fewest kept, {GUARDS[0]} "
        f"/ {GUARDS[1]} |",
        "|---|---|---|" + "---|" * (len(GUARDS) + 1),
    ]
    same = 0
    for name, cells in found.items():
        for survivors in SURVIVORS:
            own = [each for each in cells if each["survivors"] == survivors]
            for sparsity in sorted({each["sparsity"] for each in own}):
                by = {each["guard"]: each for each in own if each["sparsity"] == sparsity}
                if by["0"]["accuracy"] == by["auto"]["accuracy"]:
                    same += 1
                    continue
                accuracies = " | ".join(
                    f"{100 * by[guard]['accuracy']:.2f}" if guard in by else "-" for guard in GUARDS
                )
                least = " / ".join(str(by[guard]["least"]) for guard in GUARDS[:2])
                lines.append(
                    f"| {name} | {100 * sparsity:g} | {survivors} | {accuracies} | {least} |"
                )
    return "\n".join([*lines, "", f"{same} lines are left out, where the default changes nothing."])


def main() -> None:
    """Run what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sparsities", default="0.9,0.95,0.98,0.99,0.995")
    parser.add_argument("--table", action="store_true")
    options = arguments(parser)
    sparsities = [float(each) for each in options.sparsities.split(",")]
    found = {}
    for case in [*cases(options), *public(options)]:
        if not re.search(options.only, case.name):
            continue
        path = options.work / f"{case.stem}.min_keep.json"
        if not path.exists() and not options.table:
            begin = time.perf_counter()
            write_json(path, {"cells": row(case.problem(options.work), sparsities)})
            print(f"{case.name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        if path.exists():
            found[case.name] = read_json(path)["cells"]
    print(table(found))


if __name__ == "__main__":
    main()
