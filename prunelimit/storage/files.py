"""Whole files or none: outputs are written beside their place and renamed into it."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError

__all__ = ["check_writable", "part_path", "read_json", "resume_path", "write_json", "writing"]


def check_writable(path: Path, *, force: bool = False) -> None:
    """Fail now rather than after long work.

    Raises:
        OutputError: ``path`` exists and ``force`` is not given, or its folder cannot be written.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    except (OSError, ValueError) as error:  # ValueError: the name has a NUL in it
        raise OutputError(f"{path} cannot be written: {_why(error)}; give another name.") from error
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError(f"{path} is a folder; give the name of a file to write.")
    if mode is not None and not stat.S_ISREG(mode):
        raise OutputError(f"{path} is not an ordinary file; give the name of a file to write.")
    if mode is not None and not force:
        raise OutputError(f"{path} exists; give `force` to replace it.")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(
            f"{path} cannot be written: there is no folder {folder}; make the folder first."
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(
            f"{path} cannot be written: no permission to write in {folder}; choose another folder."
        )


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def resume_path(output: Path, part: str = "") -> Path:
    """The path of the state of unfinished work: beside its output. A ``part`` of the work may have
    a state of its own."""
    return output.parent / ".".join(filter(None, (output.name, part, "resume")))


def part_path(state: Path, part: str) -> Path:
    """The path of the state of a ``part``, from the path of the work's ``state``."""
    return resume_path(state.with_suffix(""), part)


@contextmanager
def writing(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it into place when the block succeeds.

    Raises:
        OutputError: see :func:`check_writable`, or the system refuses.
    """
    path = Path(path)
    check_writable(path, force=force)
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}; give another name."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files only their owner can read; outputs follow the user's umask.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; choose another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any, *, force: bool = False) -> None:
    """Write ``document`` as indented JSON.

    Raises:
        OutputError: see :func:`writing`.
    """
    with writing(path, force=force) as temporary:
        text = json.dumps(document, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no file {path}; check the name.") from None
    # ValueError: no UTF-8, no JSON, a number too long to read, a NUL in the name.
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); give a result file.") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} does not hold a JSON object; give a result file.")
    return document
