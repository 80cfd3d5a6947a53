"""The names that a pickle would import, read from its opcodes without running any of them. For a
pickle that is trusted, the objects of its own script are found too."""

from __future__ import annotations

import pickle
import pickletools
import re
import types
import warnings
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from .compressed import unpacked
from .resolve import module_of_file
from .tar import is_tar, tar_members

__all__ = ["script_pickle", "wanted_globals"]

PICKLES = 5
"""Most pickles in a row: a torch file of the old format has so many, a plain pickle is one."""

TENSORS = re.compile(
    r"collections\.OrderedDict|torch\.\w+|torch\._(utils|tensor)\._rebuild\w+"
    r"|torch\.storage\.\w+|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout"
)
"""Names needed to rebuild tensors and their containers; all others are code."""


def wanted_globals(path: Path) -> list[str]:
    """Dotted names in a torch file or pickle beyond those tensors need, in order, each once.

    Empty when there are none or when the file is no pickle.
    """
    names: dict[str, None] = {}
    with unpacked(path) as whole:
        pickles = _pickles(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for escapes that make no sense
        for stream in pickles:
            for _ in range(PICKLES):
                try:
                    names |= dict.fromkeys(_globals(stream))
                except Exception:
                    # Opcodes that make no sense: the pickles have ended, or never began.
                    break
    return [name for name in names if not TENSORS.fullmatch(name)]


def _pickles(path: Path) -> list[BytesIO]:
    try:
        if is_tar(path):
            with tar_members(path) as members:
                return [BytesIO(members[-1].read())]
        if not zipfile.is_zipfile(path):
            return [BytesIO(path.read_bytes())]
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return [BytesIO(archive.read(name)) for name in inside]
    except Exception:  # of a damaged archive zipfile raises almost anything
        return []


def _globals(stream: BytesIO) -> list[str]:
    found: list[str] = []
    texts: list[str] = []
    stored: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            found.append(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
            found.append(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
        elif opcode.name == "MEMOIZE" and texts:
            stored[len(stored)] = texts[-1]
        elif opcode.name in ("BINGET", "LONG_BINGET") and argument in stored:
            texts.append(stored[argument])
    return found


def script_pickle(files: Sequence[Path]) -> types.ModuleType:
    """The module pickle, for files that are trusted. What a script pickled as ``__main__`` is
    looked for in ``files``. The first that has it is taken."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module != "__main__":
                return super().find_class(module, name)
            for file in files:
                found: Any = module_of_file(file)
                try:
                    for part in name.split("."):
                        found = getattr(found, part)
                    return found
                except AttributeError:
                    continue
            known = ", ".join(map(str, files)) or "no file is named by `model`"
            raise AttributeError(f"its script's {name} is not there ({known})")

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    found = types.ModuleType("pickle")
    vars(found).update(vars(pickle))
    vars(found).update(Unpickler=Unpickler, load=load)
    return found
