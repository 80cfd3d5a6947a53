"""Small tensors kept in a folder between commands, by the hash of all they depend on.

A file is written whole or not at all, so that several processes may share a folder, and may be
deleted at any time. One that is damaged, cut short or of something else is thrown away. A sum in
the file shows that it is whole. Somebody who can write to the folder can forge that sum. Keep the
folder where only you can write.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import OutputError
from ..hashing import digest

__all__ = ["MOST_BYTES", "Cache"]

log = logging.getLogger(__name__)

SUFFIX = ".prunelimit-cache"
"""Suffix of its files; no others are read or deleted."""

MOST_BYTES = 2**30
"""Most bytes of all files together. If there are more, the ones read longest ago are deleted."""


class Cache:
    """A folder of tensors by key. It is made if it does not exist.

    Raises:
        OutputError: the folder cannot be made, or nothing can be written there.

    >>> import tempfile, torch
    >>> folder = tempfile.TemporaryDirectory()
    >>> cache = Cache(folder.name)
    >>> cache.put("key", {"x": torch.ones(2)})
    >>> cache.get("key")["x"].tolist(), cache.get("other")
    ([1.0, 1.0], None)
    """

    def __init__(self, folder: str | Path, most: int = MOST_BYTES) -> None:
        self.folder, self.most = Path(folder), most
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The cache {folder} cannot be made ({error.strerror}); name another folder."
            ) from error
        if not os.access(self.folder, os.W_OK):
            raise OutputError(f"The cache {folder} cannot be written; name another folder.")

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors that were put under ``key``, on the CPU; None where there are none."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            self.discard(key, str(error))
            return None
        if facts.get("key") != key or facts.get("sum") != _sum(key, found):
            self.discard(key, "its content is not what was written")
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # read last now
        return found

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep ``tensors`` under ``key``. If that cannot be written, a warning is logged, and no
        more."""
        own = {name: each.detach().cpu().contiguous() for name, each in tensors.items()}
        content = save(own, {"key": key, "sum": _sum(key, own)})
        if len(content) > self.most:
            return
        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".new")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).replace(self._path(key))
        except OSError as error:
            log.warning("Nothing is kept in the cache %s (%s).", self.folder, error.strerror)
            if temporary is not None:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
        self._shrink()

    def discard(self, key: str, reason: str) -> None:
        """Throw away the file of ``key``, and log why."""
        path = self._path(key)
        log.warning(
            "The cached file %s is thrown away (%s), and its content is computed again.",
            path,
            reason,
        )
        with contextlib.suppress(OSError):
            path.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}{SUFFIX}"

    def _shrink(self) -> None:
        """Delete the files read longest ago, until the rest is small enough."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.most:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def _sum(key: str, tensors: dict[str, Tensor]) -> str:
    return digest([key, *(piece for name in sorted(tensors) for piece in (name, tensors[name]))])
