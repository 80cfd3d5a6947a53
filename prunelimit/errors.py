"""The failures that prunelimit names, the exit code of each, and how messages write names that come
from files."""

from __future__ import annotations

__all__ = [
    "InputError",
    "NumericalError",
    "OutputError",
    "PruneLimitError",
    "UnreliableError",
    "UsageError",
    "one_line",
    "shown",
]

LONGEST_NAME = 120
"""Characters of a name that a message shows."""


def one_line(text: str) -> str:
    """``text`` as one line that a terminal only prints. Characters that would do anything else are
    written as escape sequences."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(name: object, longest: int = LONGEST_NAME) -> str:
    """A name that came from a file, as messages show it. It is one line. If it is longer than
    ``longest`` characters, its middle is left out."""
    # Only the ends of a name are ever shown, so that one of a gigabyte costs nothing to escape.
    text = str(name)
    if len(text) > longest:
        text = f"{text[: longest - 40]}...{text[-30:]}"
    return one_line(text)


class PruneLimitError(Exception):
    """Base of every failure prunelimit raises on purpose.

    The message is one line: what is wrong, with what, and what to do. Line breaks and control
    characters, which names from files may hold, are escaped.
    """

    exit_code: int = 3

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class UsageError(PruneLimitError):
    """An option, a name or a combination of them makes no sense."""

    exit_code = 2


class OutputError(UsageError):
    """An output cannot be written, or exists already."""


class InputError(PruneLimitError):
    """A checkpoint, a network or data cannot be read, or is unsafe to read."""


class NumericalError(InputError):
    """The network or its loss is not finite where a finite value is needed."""


class UnreliableError(PruneLimitError):
    """The estimate is outside its regime and ```strict``` was given."""

    exit_code = 4
