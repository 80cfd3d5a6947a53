"""Objects for processes that load data. Classes of the user's own files are found there too,
however the processes are started."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from torch.utils.data import Dataset

from ..errors import InputError
from .resolve import imported, reason, resolve_again

__all__ = ["PortableCall", "PortableDataset"]


class _Portable:
    """``value``, which is pickled with the names of the user's files that were imported.

    A process that is started afresh (spawn, forkserver) imports those before it unpickles the rest.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            content = pickle.dumps(self.value)
        except Exception as error:
            raise InputError(
                f"A {type(self.value).__name__} cannot be given to processes that load data "
                f"({reason(error)}); define it at the top of its file, or set `workers` to 0."
            ) from error
        return _restored, (type(self), imported(), content)


class PortableDataset(_Portable, Dataset[Any]):
    """A map-style data set."""

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: int) -> Any:
        return self.value[index]


class PortableCall(_Portable):
    """A function."""

    def __call__(self, *arguments: Any) -> Any:
        return self.value(*arguments)


def _restored(
    kind: Callable[[Any], _Portable], files: tuple[tuple[str, str], ...], content: bytes
) -> _Portable:
    for name, where in files:
        resolve_again(name, where)
    return kind(pickle.loads(content))
