"""Names that users give: attributes of their own files and packages, and near misses."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .. import plugins
from ..errors import InputError, UsageError, shown
from ..values import is_attribute

__all__ = [
    "did_you_mean",
    "guarded",
    "imported",
    "module_of",
    "module_of_file",
    "parse_arguments",
    "reason",
    "resolve_again",
    "resolve_attribute",
]

LONGEST_REASON = 1500

_IMPORTED: dict[str, str] = {}
"""The user's modules that were imported -> the file, or the folder of the package."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to do about an unknown ``name``: the nearest of ``known``, or all of them."""
    if name.endswith(".py") and Path(name).is_file():
        return f"name an attribute of the file: {name}:ATTR."
    return plugins.suggestion(name, tuple(known))


def reason(error: BaseException) -> str:
    """The error's kind and its text, on one line and without a full stop.

    Only a text of more than 1500 characters loses its middle.
    """
    text = shown(" ".join(str(error)[:100_000].split()), LONGEST_REASON).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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


@contextmanager
def guarded() -> Iterator[None]:
    """Run a user's code, and undo settings that it changes.

    What it prints goes to standard error, as standard output is for results. The import path's
    entries, the working folder,
    the gradient mode, the default type and device and deterministic algorithms are put back.

    Raises:
        RuntimeError: it calls ``sys.exit``.
    """
    gradients, kind = torch.is_grad_enabled(), torch.get_default_dtype()
    place = torch.get_default_device()
    strict = torch.are_deterministic_algorithms_enabled()
    streams = sys.stdout, sys.stderr, sys.stdin
    places = list(sys.path)
    try:
        folder: Path | None = Path.cwd()
    except OSError:
        folder = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as error:
        raise RuntimeError(f"it calls sys.exit({error.code!r})") from error
    finally:
        sys.stdout, sys.stderr, sys.stdin = streams
        sys.path.extend(each for each in places if each not in sys.path)
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(kind)
        if torch.get_default_device() != place:
            torch.set_default_device(place)
        if torch.are_deterministic_algorithms_enabled() != strict:
            torch.use_deterministic_algorithms(strict)
        if folder is not None:
            os.chdir(folder)


def resolve_attribute(spec: str) -> Any:
    """The attribute that ``spec`` names, its file or module imported.

    Raises:
        InputError: the file or module cannot be imported, or lacks the attribute.
    """
    where, _, attribute = spec.rpartition(":")
    module = module_of(spec)
    assert module is not None
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise InputError(
            f"{where} has no attribute {attribute!r}; {did_you_mean(attribute, public)}"
        )
    return getattr(module, attribute)


def imported() -> tuple[tuple[str, str], ...]:
    """The user's modules that were imported so far, for :func:`resolve_again`."""
    return tuple(_IMPORTED.items())


def resolve_again(name: str, where: str) -> None:
    """Import one of :func:`imported` in another process.

    Raises:
        InputError: it cannot be imported there.
    """
    if where.endswith(".py"):
        module_of_file(Path(where))
    else:
        _from_package(name, Path(where))


def module_of(spec: str | None) -> ModuleType | None:
    """The file or module of ``spec``, imported; None where it names no code of a user.

    Raises:
        InputError: it cannot be imported.
    """
    if spec is None or not is_attribute(spec):
        return None
    where = spec.rpartition(":")[0]
    return module_of_file(Path(where)) if where.endswith(".py") else _from_package(where)


def module_of_file(path: Path) -> ModuleType:
    """The module of a user's file, which is imported once in a process.

    Raises:
        InputError: there is no such file, or it cannot be imported.
    """
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
    _IMPORTED[name] = str(path.resolve())
    try:
        with guarded(), _importable(path.parent, first=True):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name], _IMPORTED[name]
        raise InputError(
            f"{path} cannot be imported ({reason(error)}); correct its code."
        ) from error
    return module


def _from_package(name: str, folder: Path | None = None) -> ModuleType:
    folder = Path.cwd() if folder is None else folder
    try:
        # The folder comes last, so that nothing in it hides an installed package. And it is added
        # only for a module that is not installed: such a module alone may import its neighbours.
        local = importlib.util.find_spec(name.partition(".")[0]) is None
        with guarded(), _importable(folder, first=False) if local else contextlib.nullcontext():
            module = importlib.import_module(name)
    except Exception as error:
        raise InputError(
            f"The module {name} cannot be imported ({reason(error)}); check the name."
        ) from error
    if local:
        _IMPORTED[name] = str(folder.resolve())
    return module


def parse_arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """``key=value`` pairs; values that read as an int, float or boolean become one.

    Raises:
        UsageError: a pair has no ``=`` or no name.
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(
                f"`model_arg` {pair!r} does not have the form key=value; give that form."
            )
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
