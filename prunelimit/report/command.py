"""The command line that obtains a result again."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from ..config import (
    CurvatureConfig,
    DataConfig,
    HeldConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
)
from ..results.types import Provenance

__all__ = ["command_line"]

PROBLEM: tuple[type[Any], ...] = (ModelConfig, DataConfig, RunConfig)
CONFIGS = {
    "spectrum": (*PROBLEM, CurvatureConfig),
    "predict": (*PROBLEM, CurvatureConfig, LimitConfig, HeldConfig),
    "prune": (*PROBLEM, CurvatureConfig, LimitConfig, PruneConfig),
    "measure": (*PROBLEM, MeasureConfig),
}


def command_line(provenance: Provenance, checkpoint: str) -> str:
    """The command that ``provenance`` belongs to, on ``checkpoint``: every option that is not at
    its default, quoted for a shell."""
    words = ["prunelimit", provenance.command, checkpoint]
    for config in CONFIGS.get(provenance.command, ()):
        for field in dataclasses.fields(config):
            value = provenance.config.get(field.name, field.default)
            if isinstance(value, list):
                value = tuple(value)
            if value == field.default:
                continue
            flag = (field.metadata["flags"] or (f"--{field.name.replace('_', '-')}",))[-1]
            if isinstance(value, bool):
                words.append(flag)
            else:
                for each in value if isinstance(value, tuple) else (value,):
                    words += [flag, str(each)]
    return shlex.join(words)
