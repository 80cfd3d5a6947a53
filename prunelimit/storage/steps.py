"""Finished steps of long work. Each is kept in a folder, by name, as soon as it is done."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..errors import InputError, OutputError
from .plain import check_sums, load_plain, save_plain
from .resume import (
    OWNER,
    OWNER_BEGUN,
    STEP,
    claim_or_discard,
    discard_finished,
    nothing_in,
    owned,
    require_owner,
    unreadable,
)

__all__ = ["Steps"]

T = TypeVar("T")


class Steps:
    """The results of the steps of some ``work`` ("run"), each in a folder of its own below
    ``folder``. Without ``folder`` nothing is kept.

    ``owner`` is the text that describes the work. If there are several processes, each has its own
    ``part``, and only the first has an owner. Names are prefixed by what they stand ``under``.
    """

    def __init__(
        self,
        folder: Path | None = None,
        owner: str | None = None,
        *,
        work: str = "run",
        part: int = 0,
        under: str = "",
    ) -> None:
        self.folder = folder
        self.work = work
        self._owner = owner
        self._part = part
        self._under = under

    @classmethod
    def open(
        cls, folder: Path, work: str, owner: Mapping[str, Any], *, resume: bool, force: bool
    ) -> Steps:
        """The steps of the ``work`` that ``owner`` describes (JSON): none, or those already there.

        Raises:
            OutputError: some are there; neither ``resume`` nor ``force`` is given.
            UsageError: ``resume`` is given, and they are of other inputs or options; the message
                says which.
            InputError: they do not name their owner.
        """
        claim_or_discard(folder, work, resume=resume, force=force, folder=True)
        described = owned(owner)
        if folder.exists() and not folder.is_dir():
            raise unreadable(folder, work)
        if folder.exists() and not nothing_in(folder):
            require_owner(folder, work, _owner(folder / OWNER, work), described)
        return cls(folder, json.dumps(described, indent=2), work=work)

    def under(self, name: str) -> Steps:
        """The steps of a part of the work, in the same folder."""
        return Steps(
            self.folder,
            self._owner,
            work=self.work,
            part=self._part,
            under=f"{self._under}/{name}" if self._under else name,
        )

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep ``state``, tensors and plain types, as the step ``name``: whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        if self.folder is None:
            return
        with self.written():
            place = self._place(name)
            place.mkdir(parents=True, exist_ok=True)
            temporary = (place / STEP).with_suffix(".new")
            save_plain(dict(state), temporary)
            temporary.replace(place / STEP)

    def restored(
        self, name: str, read: Callable[[dict[str, Any]], T], device: torch.device | str = "cpu"
    ) -> T | None:
        """The result of ``read`` for the step ``name``, tensors on ``device``; None if the step is
        not done.

        Raises:
            InputError: it cannot be read, by torch or by ``read``.
        """
        if self.folder is None or not (path := self._place(name) / STEP).exists():
            return None
        try:
            check_sums(path)
            return read(dict(load_plain(path, device)))
        except InputError:
            raise
        except Exception as error:  # torch.load documents no common base of its errors
            raise unreadable(self.folder, self.work) from error

    def forget(self, name: str) -> None:
        """Remove the steps below ``name``, which are not needed any more."""
        if self.folder is None:
            return
        found = sorted((self.folder / self._under / name).rglob("*"), reverse=True)
        for each in found:  # the content of a folder before the folder
            with contextlib.suppress(OSError):
                each.unlink() if each.name == STEP else each.rmdir()

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Write the owner to the folder before anything is written to it in the block.

        Raises:
            OutputError: it cannot be written.
        """
        assert self.folder is not None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._say_whose(self.folder)
            yield
        except OSError as error:
            raise OutputError(
                f"The state of the {self.work} cannot be written to {self.folder}: "
                f"{error.strerror}; make room there, or give the output another place."
            ) from error

    def discard(self) -> None:
        """Remove all of them, and the folder if nothing else is in it."""
        if self.folder is not None:
            discard_finished(self.folder, self.work)

    def _place(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / self._under / name / f"part-{self._part}"

    def _say_whose(self, folder: Path) -> None:
        """Write the owner, whole or not at all, before any step."""
        if self._owner is None or (folder / OWNER).exists():
            return
        handle, name = tempfile.mkstemp(dir=folder, prefix=OWNER_BEGUN, suffix=".new")
        os.close(handle)
        Path(name).write_text(self._owner, encoding="utf-8")
        Path(name).replace(folder / OWNER)


def _owner(path: Path, work: str) -> dict[str, Any]:
    """The owner of the steps beside the file ``path``."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(path.parent, work) from error
