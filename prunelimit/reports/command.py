"""The command line that obtains a result again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection
from typing import Any

from ..config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
    SharpnessConfig,
    stage_of,
)
from ..results.types import Provenance

__all__ = ["command_line", "predicted_line", "problem_line"]

PROBLEM: tuple[type[Any], ...] = (ModelConfig, DataConfig, RunConfig)
CONFIGS = {
    "spectrum": (*PROBLEM, CurvatureConfig, SharpnessConfig),
    "predict": (*PROBLEM, CurvatureConfig, LimitConfig),
    "prune": (*PROBLEM, CurvatureConfig, LimitConfig, PruneConfig),
    "measure": (*PROBLEM, MeasureConfig),
}


def problem_line(provenance: Provenance, command: str, checkpoint: str) -> str:
    """Another ``command`` on the same network and data as ``provenance``'s, with its loss
    tolerance."""
    words = ["prunelimit", command, checkpoint, *_options(provenance, PROBLEM)]
    return _joined([*words, *_options(provenance, (LimitConfig,), {"epsilon"})])


def predicted_line(provenance: Provenance, command: str, checkpoint: str) -> str:
    """Another ``command`` that predicts for itself just what ``provenance``'s predicted."""
    words = ["prunelimit", command, checkpoint]
    return _joined([*words, *_options(provenance, CONFIGS["predict"])])


def command_line(provenance: Provenance, checkpoint: str) -> str:
    """The command that ``provenance`` belongs to, on ``checkpoint``: every option that is not at
    its default, quoted for a shell."""
    words = ["prunelimit", provenance.command, checkpoint]
    return _joined([*words, *_options(provenance, CONFIGS.get(provenance.command, ()))])


def _joined(words: list[str]) -> str:
    """The words of a command, quoted for a shell. Control characters are escaped, so that a name
    from a file does nothing to a terminal."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    found = (each if each.isprintable() and each not in "\\'" else _escaped(each) for each in word)
    return f"$'{''.join(found)}'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _options(
    provenance: Provenance, kinds: tuple[type[Any], ...], only: Collection[str] = ()
) -> list[str]:
    words = []
    for kind in kinds:
        config, default = kind(**provenance.config.get(stage_of(kind), {})), kind()
        for field in dataclasses.fields(kind):
            value = getattr(config, field.name)
            if value == getattr(default, field.name) or (only and field.name not in only):
                continue
            flag = (field.metadata["flags"] or (f"--{field.name.replace('_', '-')}",))[-1]
            if value is True:
                words.append(flag)
            for each in () if value is True else config.spelled(field.name):
                words += [flag, each]
    return words
