"""Compensation for ``prune``: from its options to the pruned network, resumable."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..compensation.options import compensator
from ..compensation.stages import Compensator
from ..compensation.state import State
from ..config import MethodConfig, PruneConfig, SurvivorConfig
from ..distributed import ALONE, Group
from ..inputs.load import Loaded
from ..inputs.owner import owner_of
from ..inputs.problem import Problem
from ..progress import Progress, silent
from ..pruning.selection import Selection
from ..results.types import CompensationResult, StageResult
from ..storage.resume import Resumable
from ..values import EpsilonRule

__all__ = ["Compensated", "compensated", "described"]


OWNED = {
    "min_keep",
    *(each.name for kind in (MethodConfig, SurvivorConfig) for each in dataclasses.fields(kind)),
}
"""Options that a state belongs to."""


@dataclass(frozen=True)
class Compensated:
    """The pruned network as a problem, its state, and the report of its compensation."""

    problem: Problem
    state: State
    result: CompensationResult


def compensated(
    loaded: Loaded,
    selection: Selection,
    config: PruneConfig,
    remove: int,
    epsilon: float | EpsilonRule,
    *,
    state: Path | None = None,
    group: Group = ALONE,
    progress: Progress = silent,
) -> Compensated:
    """``remove`` weights removed and the survivors moved.

    The state after every stage is kept at ``state``. If one is there already, all processes of
    ``group`` go on from it.

    Raises:
        UsageError: the state is of other inputs or options.
        InputError: it cannot be read.
    """
    problem = loaded.problem
    worker = compensator(problem, selection, config, epsilon, group=group, progress=progress)
    cost = worker.cost(remove)
    about = f"about {_duration(cost.seconds)}, {cost.products} products"
    progress("compensating", 0, max(1, remove), f"{about}, {cost.bytes / 2**20:.0f} MiB of memory")
    owner = {
        "checkpoint": loaded.model_info.sha256,
        **owner_of(problem),
        "data": dataclasses.asdict(loaded.data_info),
        "seed": problem.seed,
        "dtype": str(problem.dtype),
        "remove": remove,
        "epsilon": worker.epsilon,
        **{name: value for name, value in config.echo().items() if name in OWNED},
    }
    resumable = None if state is None else Resumable(state, "pruning", owner)
    left = None
    if resumable is not None:
        left = resumable.restored(partial(State.of, like=problem.vector()), problem.device)
    start = worker.begin() if left is None else left
    group.barrier()  # all have read it before the first writes

    def keep(reached: State) -> None:
        if resumable is not None and group.rank == 0:
            resumable.save(reached.document())

    found = worker.advance(start, remove, on_stage=keep)
    result = dataclasses.replace(
        described(worker, found), expected_seconds=cost.seconds, expected_bytes=cost.bytes
    )
    return Compensated(worker.problem_at(found), found, result)


def described(worker: Compensator, found: State) -> CompensationResult:
    """The report of the state ``found``, which ``worker`` reached."""
    return CompensationResult(
        epsilon=worker.epsilon,
        calibration=worker.calibration,
        held_out=len(worker.windows.held),
        divergence=found.rise,
        recalibrated=len(found.buffers) // 2,
        undone=found.undone,
        stages=tuple(
            StageResult(
                sparsity=each.removed / worker.prunable,
                unmoved=each.cut,
                moved=each.rise,
                trust=each.trust,
                damping=each.damping,
                steps=each.steps,
            )
            for each in found.stages
        ),
        expected_seconds=None,
        expected_bytes=None,
        warnings=worker.warnings(found),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
