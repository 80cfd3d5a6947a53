"""Work that was interrupted: its state on disk, its owner, and what becomes of it."""

from __future__ import annotations

import json
import logging
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from .. import __version__
from ..errors import InputError, OutputError, UsageError
from .files import writing
from .plain import check_sums, load_plain, save_plain

__all__ = [
    "OWNER",
    "OWNER_BEGUN",
    "STEP",
    "Resumable",
    "claim_or_discard",
    "discard_finished",
    "nothing_in",
    "owned",
    "require_owner",
    "unreadable",
]

log = logging.getLogger(__name__)

T = TypeVar("T")

OWNER = "run.json"
"""File in a state's folder that names the owner."""

OWNER_BEGUN = "run-"
"""Beginning of that file's name, before ".new", while it is written."""

STEP = "state.pt"
"""File in a step's folder with the result of the step."""

BEGUN = re.compile(OWNER_BEGUN + r"\w+\.new")
OURS = re.compile(
    r"(?:[^/]+/)+(?:state\.pt|(?:state|vectors-\d+)\.(?:safetensors|new)|\.tmp[A-Za-z0-9]{6})"
)
"""Other files in such a folder, by their paths from there. safetensors writes to ``.tmp`` and six
letters before it renames the file."""

LONG = 40
"""Characters of a value that a person does not read, such as a hash."""

BEGINNING = re.compile(rb"PK\x03\x04.{26}[^/]{1,64}/data\.pkl", re.DOTALL)
"""First bytes of a file of torch, also of one that is cut off."""


class Resumable:
    """The state of some ``work`` ("training") at ``path``.

    ``owner`` describes its inputs and options in plain JSON. If a state has another owner, the user
    is told these names. A state of another version of prunelimit has another owner too.
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
        with writing(self.path, force=True) as temporary:
            save_plain({"owner": json.dumps(self._owner), "state": dict(state)}, temporary)

    def restored(
        self, read: Callable[[dict[str, Any]], T], device: torch.device | str = "cpu"
    ) -> T | None:
        """The result of ``read`` for the state there, tensors on ``device``; None if there is no
        state.

        Raises:
            UsageError: it is of other inputs or options.
            InputError: it cannot be read, by torch or by ``read``.
        """
        if not self.path.exists():
            return None
        try:
            check_sums(self.path)
            found = load_plain(self.path, device)
            owner, state = json.loads(found["owner"]), dict(found["state"])
            if not isinstance(owner, dict):
                raise TypeError("the owner is no object")
        except InputError:
            raise
        except Exception as error:  # torch.load documents no common base of its errors
            raise unreadable(self.path, self.work) from error
        require_owner(self.path, self.work, owner, self._owner)
        try:
            return read(state)
        except Exception as error:  # a state that lacks a part, or has another shape
            raise unreadable(self.path, self.work) from error

    def discard(self) -> None:
        """Remove it, once the work is done."""
        self.path.unlink(missing_ok=True)


def owned(owner: Mapping[str, Any]) -> dict[str, Any]:
    """``owner`` and this version of prunelimit, as they are when read back from JSON."""
    return {"version": __version__, **json.loads(json.dumps(owner))}


def require_owner(path: Path, work: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Compare the owner of the state at ``path`` with that of the ``work`` at hand.

    Raises:
        UsageError: they differ; the message says in what.
    """
    if theirs != ours:
        raise UsageError(
            f"{path} was left by a {work} with another {_difference(theirs, ours)}; give the same "
            "inputs and options to go on with it, or give `force` without `resume` to begin again."
        )


def unreadable(path: Path, work: str) -> InputError:
    """The error to raise if ``path`` holds no state of the ``work``."""
    return InputError(
        f"{path} cannot be read as the state of a {work}; give `force` without `resume` to begin "
        "again."
    )


def claim_or_discard(
    path: Path, work: str, *, resume: bool, force: bool, folder: bool = False
) -> None:
    """Keep the state at ``path``, a file or a ``folder``, to go on from it, or throw it away.

    Raises:
        OutputError: there is one, and the user said neither; or it cannot be removed, or is not
            ours.
    """
    if resume or not (path.exists() or path.is_symlink()):
        return
    if not force:
        raise OutputError(
            f"{path} was left by an interrupted {work}; give `resume` to go on with it or `force` "
            "to begin again."
        )
    if path.is_dir() != folder:
        kind = "folder" if folder else "file"
        raise OutputError(
            f"{path} is not a {kind} and cannot be removed; remove it yourself, or give the "
            "output another name."
        )
    if folder:
        _remove_folder(path, work)
        return
    if not _is_ours(path):
        raise _not_ours(path, work)
    try:
        path.unlink()
    except OSError as error:
        raise _stuck(path, error) from error


def discard_finished(path: Path, work: str) -> None:
    """Remove the folder of the state of ``work`` that is done. If anything else lies in it, it
    stays, and a warning says so."""
    if not path.exists():
        return
    try:
        _remove_folder(path, work)
    except OutputError:
        log.warning(
            "The %s is done, but %s stays, since other files lie in it or the system does not let "
            "it go; remove it yourself.",
            work,
            path,
        )


def _remove_folder(path: Path, work: str) -> None:
    """Remove the folder of a state: its own files, and then what is empty.

    Raises:
        OutputError: anything else lies in it, and then nothing is removed; or the system refuses.
    """
    if path.is_symlink():
        raise _not_ours(path, work)
    found = sorted(path.rglob("*"), reverse=True)  # the content of a folder before the folder
    files = [each for each in found if each.is_symlink() or not each.is_dir()]
    names = {each: each.relative_to(path).as_posix() for each in files}
    other = [
        each
        for each, name in names.items()
        if each.is_symlink() or not each.is_file() or not _is_called_so(name)
    ]
    if other or not (nothing_in(path) or _says_whose(path / OWNER)):
        raise _not_ours(path, work)
    # A kill may come in between. A process without its state is begun anew. Without the owner, the
    # rest belongs to nobody.
    found.sort(key=lambda each: (each == path / OWNER, each.stem != "state"))
    try:
        for each in found:
            if each in names:
                each.unlink()
            else:
                each.rmdir()
        path.rmdir()
    except OSError as error:
        raise _stuck(path, error) from error


def nothing_in(folder: Path) -> bool:
    """Whether ``folder`` is still empty, since a kill came before its owner was written."""
    files = [each for each in folder.rglob("*") if each.is_symlink() or not each.is_dir()]
    return all(
        BEGUN.fullmatch(each.relative_to(folder).as_posix())
        and _says_whose(each)
        and not each.is_symlink()
        for each in files
    )


def _is_called_so(name: str) -> bool:
    return name == OWNER or bool(BEGUN.fullmatch(name) or OURS.fullmatch(name))


def _says_whose(path: Path) -> bool:
    """Whether the file names an owner, also if its writing was cut off."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, UnicodeDecodeError):
        return False
    except (ValueError, RecursionError):
        begins = '{\n  "version": "'
        return text.startswith(begins) or begins.startswith(text)
    return isinstance(found, dict) and "version" in found


def _is_ours(path: Path) -> bool:
    """Whether the file is a state of ours, also one that is cut off, or is empty."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        begins = file.read(200)
    if begins and not BEGINNING.match(begins):
        return False
    try:
        if not zipfile.is_zipfile(path):
            return True  # the end is missing; a whole file of someone else would have one
        found = load_plain(path, "meta")
    except Exception:  # damaged, or wants to run code; a state of ours never does
        return False
    return isinstance(found, dict) and {"owner", "state"} <= set(found)


def _not_ours(path: Path, work: str) -> OutputError:
    return OutputError(
        f"{path} is not the state of a {work}, or other files lie in it; remove it yourself, or "
        "give the output another name."
    )


def _stuck(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be removed ({error.strerror}); remove it yourself, or give the output "
        "another name."
    )


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The name of the first thing that differs, with both values if they are short."""
    absent = object()
    name = next(key for key in [*ours, *theirs] if theirs.get(key, absent) != ours.get(key, absent))
    values = theirs.get(name), ours.get(name)
    if any(isinstance(value, (dict, list)) or len(str(value)) > LONG for value in values):
        return name
    return f"{name} ({values[0]}, now {values[1]})"
