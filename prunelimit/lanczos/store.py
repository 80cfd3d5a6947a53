"""Where Lanczos processes lie between one command and the next."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..distributed import ALONE, Group
from ..errors import OutputError
from ..storage.resume import (
    OWNER,
    OWNER_BEGUN,
    claim_or_discard,
    nothing_in,
    owned,
    remove_folder,
    require_owner,
    unreadable,
)
from .process import DamagedState, Lanczos, Matvec

__all__ = ["Store"]

SECONDS_BETWEEN_SAVES = 60.0


class Store:
    """Processes by name, each in a folder of its own below ``folder``.

    Without ``folder`` nothing can be taken up again; vectors on disk then lie in a temporary one.
    """

    def __init__(
        self, folder: Path | None = None, basis: str = "memory", owner: str | None = None
    ) -> None:
        self.folder = folder
        self.basis = basis
        self._owner = owner
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._saved_at = time.monotonic()

    @classmethod
    def open(
        cls, folder: Path, basis: str, owner: Mapping[str, Any], *, resume: bool, force: bool
    ) -> Store:
        """A store for the run that ``owner`` describes (JSON), new or taken up again.

        Raises:
            OutputError: an interrupted run lies there; neither ``resume`` nor ``force`` is given.
            UsageError: ``resume`` is, and that run was a different one; it names in what.
            InputError: that run does not say what it was.
        """
        claim_or_discard(folder, "run", resume=resume, force=force, folder=True)
        described = owned(owner)
        if folder.exists() and not nothing_in(folder):
            require_owner(folder, "run", _owner(folder / OWNER), described)
        return cls(folder, basis, json.dumps(described, indent=2))

    def process(
        self,
        name: str,
        matvec: Matvec,
        start: Tensor,
        *,
        group: Group = ALONE,
        dimension: int | None = None,
    ) -> Lanczos:
        """The process called ``name``: as it was put away, or begun at ``start``.

        Raises:
            InputError: what was put away is not whole, or is of another process.
        """
        place = self.folder
        if place is None and self.basis == "disk":
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="prunelimit-")
            place = Path(self._temporary.name)
        folder = None if place is None else place / name / f"part-{group.rank}"
        try:
            return Lanczos(
                matvec, start, basis=self.basis, folder=folder, group=group, dimension=dimension
            )
        except DamagedState as error:
            raise unreadable(place or Path(name), "run") from error

    def save(self, process: Lanczos, *, now: bool = False) -> None:
        """Put ``process`` away if a minute has passed since the last time, or ``now``.

        Raises:
            OutputError: it cannot be written.
        """
        if self.folder is None:
            return
        if not now and time.monotonic() - self._saved_at < SECONDS_BETWEEN_SAVES:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._say_whose(self.folder)
            process.save()
        except OSError as error:
            raise OutputError(
                f"The state of the run cannot be written to {self.folder}: {error.strerror}; make "
                "room there, or give the output another place."
            ) from error
        self._saved_at = time.monotonic()

    def _say_whose(self, folder: Path) -> None:
        """Write the owner, whole or not at all, before anything that is its own."""
        if self._owner is None or (folder / OWNER).exists():
            return
        handle, name = tempfile.mkstemp(dir=folder, prefix=OWNER_BEGUN, suffix=".new")
        os.close(handle)
        Path(name).write_text(self._owner, encoding="utf-8")
        Path(name).replace(folder / OWNER)

    def discard(self) -> None:
        """Remove everything that was put away."""
        if self.folder is not None and self.folder.exists():
            with contextlib.suppress(OutputError):  # what else was put there stays
                remove_folder(self.folder, "run")
        if self._temporary is not None:
            self._temporary.cleanup()


def _owner(path: Path) -> dict[str, Any]:
    """Whose the processes beside the file ``path`` are."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(path.parent, "run") from error
