"""Names that users give: attributes of their own files and packages, and near misses."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InputError, UsageError

__all__ = ["did_you_mean", "is_attribute", "parse_arguments", "reason", "resolve_attribute"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown ``name``: the nearest of ``known``, or all of them."""
    if name.endswith(".py") and Path(name).is_file():
        return f"say which attribute of the file it is: {name}:ATTR."
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}."


def reason(error: BaseException) -> str:
    """The error's kind and the first line of its text, without a full stop."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


@contextmanager
def _importable(folder: Path, *, first: bool) -> Iterator[None]:
    """``folder`` on the import path, for files that import their neighbours."""
    place = str(folder.resolve())
    sys.path.insert(0 if first else len(sys.path), place)
    try:
        yield
    finally:
        if place in sys.path:
            sys.path.remove(place)


def is_attribute(spec: str) -> bool:
    """Whether ``spec`` has the form FILE.py:ATTR or PACKAGE.MODULE:ATTR."""
    where, colon, attribute = spec.rpartition(":")
    return bool(colon and where and attribute.isidentifier())


def resolve_attribute(spec: str) -> Any:
    """The attribute that ``spec`` names, its file or module imported.

    Raises:
        InputError: the file or module cannot be imported, or lacks the attribute.
    """
    where, _, attribute = spec.rpartition(":")
    module = _from_file(Path(where)) if where.endswith(".py") else _from_package(where)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise InputError(
            f"{where} has no attribute {attribute!r}; {did_you_mean(attribute, public)}"
        )
    return getattr(module, attribute)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"There is no file {path}; give path/to/file.py:attr.")
    # The same file named twice (network and data) is one module.
    name = "prunelimit_user_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(path.parent, first=True):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{path} cannot be imported ({reason(error)}); correct it.") from error
    return module


def _from_package(name: str) -> ModuleType:
    try:
        # Installed commands, unlike python -m, do not look in the working folder; last, so that
        # nothing in it hides an installed package.
        with _importable(Path.cwd(), first=False):
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"The module {name} cannot be imported ({reason(error)}); check the name."
        ) from error


def parse_arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """``key=value`` pairs; values that read as an int, float or boolean become one.

    Raises:
        UsageError: a pair has no ``=`` or no name.
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"`model_arg` {pair!r} is not of the form key=value; give it so.")
        arguments[key] = _value(text)
    return arguments


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
