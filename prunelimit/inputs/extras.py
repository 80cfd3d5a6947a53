"""Optional packages, imported when they are needed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from ..errors import UsageError
from .resolve import guarded, reason

__all__ = ["extra", "quiet"]


def extra(package: str, name: str) -> ModuleType:
    """The module ``package``, which the extra ``name`` brings.

    Raises:
        UsageError: it is not installed, or cannot be imported.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{package} is not installed; pip install 'prunelimit[{name}]' brings it.")
    try:
        with quiet(), guarded():
            return importlib.import_module(package)
    except Exception as error:
        raise UsageError(
            f"{package} cannot be imported ({reason(error)}); install it again."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress what a library prints, warns of and logs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
