"""Checkpoints that are compressed as a whole. They are unpacked into a temporary file while they
are read, up to a bound that depends on the size of the file."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from .resolve import reason

__all__ = ["is_compressed", "unpacked"]

GZIP = b"\x1f\x8b"
"""How files of gzip begin."""

MOST_BYTES, MOST_TIMES = 2**30, 256
"""A checkpoint may unpack to so many bytes, or to so many times the size of its file. Zeros alone
shrink to a thousandth. A network with one weight of 500 left unpacks to 256 times its file."""

BLOCK = 2**20


def is_compressed(path: Path) -> bool:
    """Whether the file begins as those of gzip do."""
    with path.open("rb") as stream:
        return stream.read(len(GZIP)) == GZIP


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """``path`` itself, or if it is compressed a temporary file with its content.

    Raises:
        InputError: it is damaged, or unpacks to far more than its size. Errors raised within the
            block name ``path``, never the temporary file.
    """
    if not is_compressed(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="prunelimit-", ignore_cleanup_errors=True) as folder:
        place = Path(folder) / f"unpacked{Path(path.stem).suffix}"
        try:
            _unpack(path, place)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(
                f"{path} is compressed by gzip and damaged ({reason(error)}); get the file again."
            ) from error
        except OSError as error:
            raise InputError(
                f"{path} cannot be unpacked into {folder} ({error.strerror}); make room in that "
                "folder, or set TMPDIR to another one."
            ) from error
        if is_compressed(place):
            raise InputError(f"{path} is compressed twice; unpack the file with gunzip first.")
        try:
            yield place
        except InputError as error:
            raise InputError(str(error).replace(str(place), str(path))) from error


def _unpack(path: Path, place: Path) -> None:
    size = path.stat().st_size
    most, written = max(MOST_BYTES, MOST_TIMES * size), 0
    with gzip.open(path) as source, place.open("wb") as target:
        while block := source.read(BLOCK):
            written += len(block)
            if written > most:
                raise InputError(
                    f"{path} unpacks to more than {most:,} bytes from {size:,}; if you trust the "
                    "file, unpack it with gunzip first."
                )
            target.write(block)
