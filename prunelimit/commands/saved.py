"""Results that were saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError, shown
from ..results.schema import SCHEMAS
from ..results.soundness import read
from ..storage.files import read_json

__all__ = ["load_result"]


def load_result(path: Path) -> Any:
    """The result in a JSON file that a command or ``save`` wrote.

    Raises:
        InputError: there is no such file, it holds no result of ours, or its numbers make no sense.
    """
    document = read_json(path)
    for kind in SCHEMAS.values():
        if document.get("schema") == kind.SCHEMA:
            return read(kind, document, str(path))
    known = ", ".join(kind.SCHEMA for kind in SCHEMAS.values())
    raise InputError(
        f"{path} holds no result that this version reads (its schema is "
        f"{shown(repr(document.get('schema')))}); known are {known}."
    )
