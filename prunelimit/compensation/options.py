"""Compensation as its options describe it."""

from __future__ import annotations

from ..config import SurvivorConfig
from ..distributed import ALONE, Group
from ..inputs.problem import Problem
from ..progress import Progress, silent
from ..pruning.selection import Selection
from ..values import EpsilonRule
from .stages import Compensator

__all__ = ["compensator"]

CALIBRATION = 10_000
"""Inputs of a stage of compensation."""


def compensator(
    problem: Problem,
    selection: Selection,
    config: SurvivorConfig,
    epsilon: float | EpsilonRule,
    *,
    group: Group = ALONE,
    progress: Progress = silent,
) -> Compensator:
    """The :class:`~.stages.Compensator` that the options describe, for the masks of ``selection``.

    If its method says "compensated" there is one stage; if "staged", as many as ``config`` says.

    Raises:
        PruneLimitError: see :class:`~.stages.Compensator`.
    """
    return Compensator(
        problem,
        epsilon=epsilon,
        calibration=CALIBRATION if config.calibration is None else config.calibration,
        cg_steps=config.cg_steps,
        stages=1 if selection.method.survivors == "compensated" else config.stages,
        bn_recalibrate=config.bn_recalibrate,
        selection=selection,
        group=group,
        progress=progress,
    )
