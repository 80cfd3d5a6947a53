"""The failures prunelimit names, and the exit code each one ends a command with."""

from __future__ import annotations

__all__ = [
    "InputError",
    "NumericalError",
    "OutputError",
    "PruneLimitError",
    "UnreliableError",
    "UsageError",
]


class PruneLimitError(Exception):
    """Base of every failure prunelimit raises on purpose.

    The message is one sentence: what was wrong, with what, and what to do.
    """

    exit_code: int = 3


class UsageError(PruneLimitError):
    """An option, a name or a combination of them makes no sense."""

    exit_code = 2


class OutputError(UsageError):
    """An output cannot be written, or stands there already."""


class InputError(PruneLimitError):
    """A checkpoint, a network or data cannot be read, or is unsafe to read."""


class NumericalError(InputError):
    """The network or its loss is not finite where a finite value is needed."""


class UnreliableError(PruneLimitError):
    """The estimate is outside its regime and ```strict``` was given."""

    exit_code = 4
