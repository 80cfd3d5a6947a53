"""Compensation as its options describe it."""

from __future__ import annotations

from ..config import CompensateConfig, SurvivorConfig
from ..errors import UsageError
from ..inputs.problem import Problem
from ..progress import Progress, silent
from .stages import Compensator

__all__ = ["check_compensation", "compensator", "parse_stages", "wants_compensation"]

CALIBRATION = 10_000
"""Inputs of a stage of compensation."""


def parse_stages(text: str) -> int | None:
    """How many stages; None for ``auto``.

    Raises:
        UsageError: neither ``auto`` nor a whole number from 1 on.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--stages is {text}; give auto, or a whole number from 1 on.")
    return int(text)


def wants_compensation(config: CompensateConfig) -> bool:
    """Whether the survivors are to be moved."""
    return config.compensate or config.stages != CompensateConfig.stages


def check_compensation(config: SurvivorConfig) -> None:
    """Refuse settings that make no sense before anything is loaded.

    Raises:
        UsageError: one of them does not.
    """
    if config.cg_steps < 1:
        raise UsageError(f"--cg-steps is {config.cg_steps}; give 1 or more.")
    if config.calibration is not None and (config.calibration < 0 or config.calibration == 1):
        raise UsageError(
            f"--calibration is {config.calibration}; give 2 samples or more, or 0 for all."
        )


def compensator(
    problem: Problem,
    config: SurvivorConfig,
    *,
    stages: int | None,
    epsilon: float | str,
    min_keep: int = 0,
    progress: Progress = silent,
) -> Compensator:
    """The :class:`~.stages.Compensator` that the options describe; ``stages`` is None for as many
    as the quadratic model can be trusted for.

    Raises:
        PruneLimitError: see there.
    """
    return Compensator(
        problem,
        epsilon=epsilon,
        calibration=CALIBRATION if config.calibration is None else config.calibration,
        cg_steps=config.cg_steps,
        stages=stages,
        bn_recalibrate=config.bn_recalibrate,
        min_keep=min_keep,
        progress=progress,
    )
