"""Steps of long work that are done: each is kept in a folder, by name, as soon as it is."""

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
from .plain import check_sums, load_plain
from .resume import (
    OWNER,
    OWNER_BEGUN,
    STEP,
    claim_or_discard,
    nothing_in,
    owned,
    remove_folder,
    require_owner,
    unreadable,
)

__all__ = ["Steps"]

T = TypeVar("T")


class Steps:
    """What the steps of some ``work`` ("run") came to, each in a folder of its own below
    ``folder``; without that nothing is kept.

    ``owner`` is the text that says whose they are. Of several processes each has its own ``part``;
    the first alone has an owner. Names are told from others by what they stand ``under``.
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
        """The steps of the ``work`` that ``owner`` describes (JSON), none or those that are there.

        Raises:
            OutputError: some are there; neither ``resume`` nor ``force`` is given.
            UsageError: ``resume`` is, and they are of other inputs or options; it names which.
            InputError: they do not say whose they are.
        """
        claim_or_discard(folder, work, resume=resume, force=force, folder=True)
        described = owned(owner)
        if folder.exists() and not folder.is_dir():
            raise unreadable(folder, work)
        if folder.exists() and not nothing_in(folder):
            require_owner(folder, work, _owner(folder / OWNER, work), described)
        return cls(folder, json.dumps(described, indent=2), work=work)

    def under(self, name: str) -> Steps:
        """Those of a part of the work, in the same folder."""
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
            with temporary.open("wb") as file:
                torch.save(dict(state), file)
            temporary.replace(place / STEP)

    def restored(
        self, name: str, read: Callable[[dict[str, Any]], T], device: torch.device | str = "cpu"
    ) -> T | None:
        """What ``read`` makes of the step ``name``, tensors on ``device``; None where it is not
        done.

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
        except Exception as error:  # torch.load names no common base of what it raises
            raise unreadable(self.folder, self.work) from error

    def forget(self, name: str) -> None:
        """Remove the steps below ``name``, of which nothing more is wanted."""
        if self.folder is None:
            return
        found = sorted((self.folder / self._under / name).rglob("*"), reverse=True)
        for each in found:  # what lies in a folder before the folder
            with contextlib.suppress(OSError):
                each.unlink() if each.name == STEP else each.rmdir()

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Have the folder say whose it is before anything is written to it in the block.

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
        """Remove all of them, and the folder where nothing of others is in it."""
        if self.folder is not None and self.folder.exists():
            with contextlib.suppress(OutputError):  # what else was put there stays
                remove_folder(self.folder, self.work)

    def _place(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / self._under / name / f"part-{self._part}"

    def _say_whose(self, folder: Path) -> None:
        """Write the owner, whole or not at all, before anything that is its own."""
        if self._owner is None or (folder / OWNER).exists():
            return
        handle, name = tempfile.mkstemp(dir=folder, prefix=OWNER_BEGUN, suffix=".new")
        os.close(handle)
        Path(name).write_text(self._owner, encoding="utf-8")
        Path(name).replace(folder / OWNER)


def _owner(path: Path, work: str) -> dict[str, Any]:
    """Whose the steps beside the file ``path`` are."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(path.parent, work) from error
