"""Where Lanczos processes lie between one command and the next."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..distributed import ALONE, Group
from ..storage.resume import unreadable
from ..storage.steps import Steps
from .process import DamagedState, Lanczos, Matvec

__all__ = ["Store"]

SECONDS_BETWEEN_SAVES = 60.0
"""Most seconds between saves where saving is slow. A kill without warning loses what is newer."""

LEAST_BETWEEN_SAVES = 1.0

SAVING_SHARE = 0.02
"""Saving is done less often if it takes more than this share of the time."""


class Store:
    """Processes by name, each in a folder of its own below ``folder``, beside single ``steps``.

    Without ``folder`` nothing can be taken up again; vectors on disk then lie in a temporary one.
    ``part`` is the number of this process among several.
    """

    def __init__(
        self,
        folder: Path | None = None,
        basis: str = "memory",
        *,
        steps: Steps | None = None,
        part: int = 0,
    ) -> None:
        self.folder = folder
        self.basis = basis
        self.steps = Steps(folder, part=part) if steps is None else steps
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._saved_at = time.monotonic()
        self._saving = 0.0

    @classmethod
    def open(
        cls, folder: Path, basis: str, owner: Mapping[str, Any], *, resume: bool, force: bool
    ) -> Store:
        """A store for the run that ``owner`` describes (JSON), new or taken up again.

        Raises:
            OutputError: an interrupted run lies there; neither ``resume`` nor ``force`` is given.
            UsageError: ``resume`` is given, and that run was a different one; the message says in
                what.
            InputError: that run does not say what it was.
        """
        steps = Steps.open(folder, "run", owner, resume=resume, force=force)
        return cls(folder, basis, steps=steps)

    def process(
        self,
        name: str,
        matvec: Matvec,
        start: Tensor,
        *,
        group: Group = ALONE,
        dimension: int | None = None,
    ) -> Lanczos:
        """The process called ``name``, as it was put away, else begun at ``start``.

        Raises:
            InputError: the stored process is not whole, or is another one.
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
        """Put ``process`` away, if that takes little of the time since the last save, or ``now`` in
        any case.

        Raises:
            OutputError: it cannot be written.
        """
        if self.folder is None:
            return
        begin = time.monotonic()
        wait = max(LEAST_BETWEEN_SAVES, self._saving / SAVING_SHARE)
        if not now and begin - self._saved_at < min(SECONDS_BETWEEN_SAVES, wait):
            return
        with self.steps.written():
            process.save()
        self._saved_at = time.monotonic()
        self._saving = self._saved_at - begin

    def discard(self) -> None:
        """Remove everything that was put away."""
        self.steps.discard()
        if self._temporary is not None:
            self._temporary.cleanup()
