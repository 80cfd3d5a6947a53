"""How the command line spells the fields that the library's messages name in backticks."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any, TypeVar

from prunelimit import config

__all__ = ["spelled", "spelled_result"]

T = TypeVar("T")

OTHERS = ("force", "resume", "strict", "plot", "csv", "output", "json")
"""Options that belong to no configuration."""


@functools.cache
def _flags() -> dict[str, str]:
    found = {name: f"--{name}" for name in OTHERS}
    for kind in vars(config).values():
        if isinstance(kind, type) and issubclass(kind, config.Config) and kind is not config.Config:
            for field in dataclasses.fields(kind):  # type: ignore[arg-type]
                flags = field.metadata["flags"] or ("--" + field.name.replace("_", "-"),)
                found[field.name] = flags[-1]
    return found


def spelled(text: str) -> str:
    """``text`` with flags for fields: ```min_keep``` becomes ``--min-keep``."""
    flags = _flags()
    return re.sub(r"`(\w+)`", lambda match: flags.get(match[1], match[0]), text)


def spelled_result(result: T) -> T:
    """A result with every sentence in it :func:`spelled`."""
    value: Any = result
    if isinstance(value, str):
        return spelled(value) if "`" in value else value  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(spelled_result(each) for each in value)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: spelled_result(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changed)  # type: ignore[return-value]
    return result
