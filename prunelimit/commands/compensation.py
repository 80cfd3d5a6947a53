"""Compensation as ``prune`` has it: from its options to the pruned network, resumable."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ..compensation.options import compensator, parse_stages
from ..compensation.state import State
from ..config import CompensateConfig, PruneConfig
from ..inputs.load import Loaded
from ..inputs.problem import Problem
from ..inputs.splits import fingerprint
from ..progress import Progress, silent
from ..results.types import CompensationResult, StageResult
from ..storage.resume import Unfinished

__all__ = ["Compensated", "compensated"]


@dataclass(frozen=True)
class Compensated:
    """The pruned network as a problem, its state, and what is to be said of it."""

    problem: Problem
    state: State
    result: CompensationResult


def compensated(
    loaded: Loaded,
    config: PruneConfig,
    remove: int,
    epsilon: str,
    *,
    state: Path | None = None,
    progress: Progress = silent,
) -> Compensated:
    """``remove`` weights removed and the survivors moved.

    The state after every stage lies at ``state``; one that is there already is gone on from.

    Raises:
        UsageError: the state is of other inputs or options.
        InputError: it cannot be read.
    """
    problem = loaded.problem
    worker = compensator(
        problem,
        config,
        stages=parse_stages(config.stages),
        epsilon=epsilon,
        min_keep=config.min_keep,
        progress=progress,
    )
    cost = worker.cost(remove)
    about = f"about {_duration(cost.seconds)}, {cost.products} products"
    progress("compensating", 0, max(1, remove), f"{about}, {cost.bytes / 2**20:.0f} MiB of vectors")
    owner = {
        "checkpoint": loaded.model_info.sha256,
        "training data": fingerprint(problem.train),
        "data": dataclasses.asdict(loaded.data_info),
        "seed": problem.seed,
        "dtype": str(problem.dtype),
        "remove": remove,
        "epsilon": worker.epsilon,
        "min_keep": config.min_keep,
        **{f.name: getattr(config, f.name) for f in dataclasses.fields(CompensateConfig)},
    }
    unfinished = None if state is None else Unfinished(state, "pruning", owner)
    left = None if unfinished is None else unfinished.restored(State.of, problem.device)
    start = worker.begin() if left is None else left

    def keep(reached: State) -> None:
        if unfinished is not None:
            unfinished.save(reached.document())

    found = worker.advance(start, remove, on_stage=keep)
    stages = tuple(
        StageResult(
            sparsity=each.removed / worker.prunable,
            unmoved=each.cut,
            moved=each.rise,
            trust=each.trust,
            damping=each.damping,
            steps=each.steps,
        )
        for each in found.stages
    )
    result = CompensationResult(
        epsilon=worker.epsilon,
        calibration=worker.calibration,
        held_out=len(worker.windows.held),
        divergence=found.rise,
        recalibrated=len(found.buffers) // 2,
        undone=found.undone,
        stages=stages,
        expected_seconds=cost.seconds,
        expected_bytes=cost.bytes,
        warnings=worker.warnings(found),
    )
    return Compensated(worker.problem_at(found), found, result)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
