"""Work that was interrupted: its state on disk, whose it is, and what becomes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from .. import __version__
from ..errors import InputError, OutputError, UsageError
from .files import writing

__all__ = ["Unfinished", "owned", "require_owner", "settle", "unreadable"]

T = TypeVar("T")


class Unfinished:
    """The state of some ``work`` ("training") at ``path``.

    ``owner`` describes its inputs and options in plain JSON, by the names that a user is told where
    a state turns out to be another's; another version's is too.
    """

    def __init__(self, path: Path, work: str, owner: Mapping[str, Any]) -> None:
        self.path = path
        self.work = work
        self._owner = owned(owner)

    def save(self, state: Mapping[str, Any]) -> None:
        """Put ``state`` there: tensors and plain types, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        # Given a name instead of a file, torch refuses some names that are legal.
        with writing(self.path, force=True) as temporary, temporary.open("wb") as file:
            torch.save({"owner": json.dumps(self._owner), "state": dict(state)}, file)

    def restored(
        self, read: Callable[[dict[str, Any]], T], device: torch.device | str = "cpu"
    ) -> T | None:
        """What ``read`` makes of the state there, tensors on ``device``; None where there is none.

        Raises:
            UsageError: it is of other inputs or options.
            InputError: it cannot be read, by torch or by ``read``.
        """
        if not self.path.exists():
            return None
        try:
            found = torch.load(self.path, map_location=device, weights_only=True)
            owner, state = json.loads(found["owner"]), dict(found["state"])
        except Exception as error:  # torch.load names no common base of what it raises
            raise unreadable(self.path, self.work) from error
        require_owner(self.path, self.work, owner, self._owner)
        try:
            return read(state)
        except Exception as error:  # what lacks a part, or has another's shape
            raise unreadable(self.path, self.work) from error

    def discard(self) -> None:
        """Remove it, once the work is done."""
        self.path.unlink(missing_ok=True)


def owned(owner: Mapping[str, Any]) -> dict[str, Any]:
    """``owner`` and this version of prunelimit, as they come back from JSON."""
    return {"version": __version__, **json.loads(json.dumps(owner))}


def require_owner(path: Path, work: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Hold the owner of the state at ``path`` against that of the ``work`` at hand.

    Raises:
        UsageError: they differ; it names in what.
    """
    if theirs != ours:
        raise UsageError(
            f"{path} is left of a {work} with another {_difference(theirs, ours)}; repeat those "
            "inputs and options to go on with it, or give `force` without `resume` to begin again."
        )


def unreadable(path: Path, work: str) -> InputError:
    """What to raise where ``path`` holds no state of the ``work``."""
    return InputError(
        f"{path} cannot be read as the state of a {work}; give `force` without `resume` to begin "
        "again."
    )


def settle(path: Path, work: str, *, resume: bool, force: bool, folder: bool = False) -> None:
    """Leave the state at ``path``, a file or a ``folder``, to be gone on with, or throw it away.

    Raises:
        OutputError: there is one, and the user has said neither; or it cannot be removed.
    """
    if resume or not path.exists():
        return
    if not force:
        raise OutputError(
            f"{path} is left of an interrupted {work}; give `resume` to go on with it or `force` "
            "to begin again."
        )
    try:
        if folder:
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be removed ({error.strerror}); remove it, or give the output another "
            "name."
        ) from error


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The name of the first thing that differs, with both values where they are short."""
    absent = object()
    name = next(key for key in [*ours, *theirs] if theirs.get(key, absent) != ours.get(key, absent))
    values = theirs.get(name), ours.get(name)
    if any(isinstance(value, (dict, list)) for value in values):
        return name
    return f"{name} ({values[0]}, now {values[1]})"
