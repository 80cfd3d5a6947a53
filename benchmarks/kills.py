"""Kill -9 at random moments, then --resume: the same bits, and which work was done twice.

    python benchmarks/kills.py --work bench [--kills 100] [--seed 0] [--only REGEX]

A perceptron 64-30-10 on the digits, trained, predicted, pruned in stages, by an amount that is
predicted first and with survivors that are trained, and compared. Every command runs once
undisturbed. Then it is killed at a moment drawn uniformly from the processor's time that it took,
and run again with --resume. Its output is held to the undisturbed one: checkpoints byte by byte,
results number by number without their times. Steps are epochs, products of the curvature, stages,
passes of a training of survivors, and methods; "done twice" are those that had ended before the
kill and were done again after it. Lanczos processes are made to save after every step. Otherwise
they do so as often as it takes little of the time. So a kill falls into a save more often.

A process is forked from one that has imported everything, so that the moments fall into the work.
What is done stays in ``--work``, and is not done again; moments do not depend on the order.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import prunelimit.commands.compare as comparison
import prunelimit.compensation.stages as stages
import prunelimit.estimation.budget as budget
import prunelimit.lanczos.store as store
import prunelimit.training.l1 as l1
import prunelimit.training.refit as refit
from prunelimit.cli.main import main as command_line
from prunelimit.curvature.products import CurvatureProduct

TIMES = re.compile(r"created|peak_bytes|(.*_)?seconds")
"""Names of what differs between two runs of the same command."""

BEFOREHAND = ("sklearn.datasets", "torch._dynamo", "torch.distributed.fsdp", "scipy.optimize")
"""Modules that commands import once they run."""

NETWORK = "net.safetensors"
SOURCE = """import torch
def network():
    layers = torch.nn.Linear(64, 30), torch.nn.ReLU(), torch.nn.Linear(30, 10)
    return torch.nn.Sequential(torch.nn.Flatten(), *layers)
"""
METHODS = "magnitude,wanda,snip,magnitude/lamp,random,magnitude+compensated,wanda/rows"
OWN = ("-m", "net.py:network")
FEW = ("--samples", "300", "--probes", "1", "--steps", "20", "--directional-steps", "20")


@dataclass(frozen=True)
class Case:
    """A command that ends in ``output``, its steps being the calls of ``step`` of ``owner``."""

    arguments: tuple[str, ...]
    output: str
    owner: Any
    step: str
    unit: str


CASES = {
    "train": Case(
        ("train", *OWN, "-d", "digits", "--epochs", "12"),
        "trained.safetensors", l1, "_epoch", "epochs",
    ),
    "predict": Case(
        ("predict", NETWORK, *OWN, *FEW), "predict.json", CurvatureProduct, "__call__", "products"
    ),
    "prune": Case(
        ("prune", NETWORK, *OWN, "--amount", "0.9", "--survivors", "staged",
         "--calibration", "400"),
        "pruned.safetensors", stages.Compensator, "_stage", "stages",
    ),
    "prune, predicted": Case(
        ("prune", NETWORK, *OWN, *FEW), "predicted.safetensors", CurvatureProduct, "__call__",
        "products",
    ),
    "prune, trained": Case(
        ("prune", NETWORK, *OWN, "--amount", "0.97", "--survivors", "trained",
         "--refit-passes", "20"),
        "refitted.safetensors", refit._Survivors, "_pass", "passes",
    ),
    "compare, trained": Case(
        ("compare", NETWORK, *OWN, "--predicted", "limit.json", "--methods",
         "magnitude+trained,random+trained", "--sparsities", "0.8,0.9,0.95",
         "--refit-passes", "3"),
        "trained.json", refit._Survivors, "_pass", "passes",
    ),
    "compare": Case(
        ("compare", NETWORK, *OWN, "--predicted", "limit.json", "--sparsities", "0,0.5,0.9",
         "--methods", METHODS),
        "compare.json", comparison, "compared", "methods",
    ),
}  # fmt: skip


def run(
    arguments: tuple[str, ...], case: Case, after: float | None = None
) -> tuple[int, int, float]:
    """Exit code of a command line (negative: the signal that ended it), killed ``after`` seconds
    of the processor unless it has ended by then; how many of its steps ended; its seconds."""
    count = get_context("fork").Value("q", 0, lock=False)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            with Path("log.txt").open("a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            counted(case, count)
            budget.WORTH_SAVING = store.SECONDS_BETWEEN_SAVES = 0.0
            code = command_line(list(arguments))
        finally:
            os._exit(code)
    spent = 0.0
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG):
        spent = seconds_of(child)
        if after is not None and spent >= after:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.001)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), count.value, spent


def seconds_of(process: int) -> float:
    """Processor's time of a process, by Linux's number of its clock."""
    return time.clock_gettime((~process << 3) | 2)


def counted(case: Case, count: Any) -> None:
    """Count the steps that end."""
    step: Callable[..., Any] = getattr(case.owner, case.step)

    def counting(*arguments: Any, **options: Any) -> Any:
        found = step(*arguments, **options)
        count.value += 1
        return found

    setattr(case.owner, case.step, counting)


def outcome(path: Path) -> str:
    """A hash of a checkpoint, or of a result without its times."""
    content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(without_times(json.loads(content)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def without_times(value: Any) -> Any:
    """``value`` without what differs between two runs."""
    if isinstance(value, dict):
        return {
            name: without_times(each) for name, each in value.items() if not TIMES.fullmatch(name)
        }
    return [without_times(each) for each in value] if isinstance(value, list) else value


def states(output: str) -> list[Path]:
    """What is there of work that has not ended."""
    return sorted(Path().glob(f"{output}*.resume"))


def empty(output: str) -> None:
    """Remove an output and the state beside it, and what kills have left."""
    for each in [Path(output), *states(output), *Path().glob(".*-*")]:
        shutil.rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)


def reference(name: str) -> dict[str, Any]:
    """The undisturbed run: its outcome, steps and seconds."""
    case = CASES[name]
    empty(case.output)
    code, steps, seconds = run((*case.arguments, "-q", "-o", case.output), case)
    if code:
        raise SystemExit(f"{name} failed; see log.txt")
    return {"outcome": outcome(Path(case.output)), "steps": steps, "seconds": seconds}


def killed(name: str, number: int, seed: int, whole: dict[str, Any]) -> dict[str, Any]:
    """One kill and what came of it."""
    case = CASES[name]
    arguments = (*case.arguments, "-q", "-o", case.output)
    share = random.Random(f"{seed} {name} {number}").random()
    after = share * whole["seconds"]
    while True:
        empty(case.output)
        code, before, _ = run(arguments, case, after)
        if code == -signal.SIGKILL:
            break
        after *= 0.98  # this run was quicker, and had ended
    written, state = Path(case.output).exists(), bool(states(case.output))
    code, again, _ = run((*arguments, "--resume", *(["--force"] if written else [])), case)
    same = code == 0 and outcome(Path(case.output)) == whole["outcome"]
    left = [str(each) for each in states(case.output)]
    return {
        "command": name, "number": number, "share": share, "after": after, "before": before,
        "again": again, "twice": max(0, before + again - whole["steps"]), "state": state,
        "written": written, "code": code, "same": same, "left": left,
    }  # fmt: skip


def table(rows: list[dict[str, Any]], wholes: dict[str, dict[str, Any]]) -> None:
    """Print what came of the kills, one line per command."""
    print(
        "| command | kills | before a state was there | in the work | output was there "
        "| the same bits | steps | done twice: kills | most |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for name, case in CASES.items():
        if name not in wholes:
            continue
        own = [row for row in rows if row["command"] == name]
        early = [row for row in own if not row["state"] and not row["written"]]
        late = [row for row in own if row["written"]]
        cells = (
            name,
            len(own),
            len(early),
            len(own) - len(early) - len(late),
            len(late),
            f"{sum(row['same'] and not row['left'] for row in own)} of {len(own)}",
            f"{wholes[name]['steps']} {case.unit}",
            sum(row["twice"] > 0 for row in own if row["state"] and not row["written"]),
            max([row["twice"] for row in own if row["state"] and not row["written"]], default=0),
        )
        print(f"| {' | '.join(map(str, cells))} |")


def main() -> None:
    """Make what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is done")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands whose names this regex finds")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.chdir(options.work)
    torch.set_num_threads(1)
    for each in BEFOREHAND:
        importlib.import_module(each)
    made = Path("kills.json")
    done = json.loads(made.read_text()) if made.exists() else {"wholes": {}, "rows": []}
    if not Path("limit.json").exists():
        Path("net.py").write_text(SOURCE)
        train, predict = CASES["train"], CASES["predict"]
        run((*train.arguments, "-q", "--force", "-o", NETWORK), train)
        run((*predict.arguments, "-q", "--force", "-o", "limit.json"), predict)
    names = [name for name in CASES if re.search(options.only, name)]
    for number in range(options.kills):
        name = names[number % len(names)]
        if any((row["command"], row["number"]) == (name, number) for row in done["rows"]):
            continue
        if name not in done["wholes"]:
            done["wholes"][name] = reference(name)
        done["rows"].append(killed(name, number, options.seed, done["wholes"][name]))
        made.with_suffix(".new").write_text(json.dumps(done, indent=1))
        made.with_suffix(".new").replace(made)
    table(done["rows"], done["wholes"])
    wrong = [row for row in done["rows"] if not row["same"] or row["left"]]
    for row in wrong:
        print(f"wrong: {json.dumps(row)}")


if __name__ == "__main__":
    main()
