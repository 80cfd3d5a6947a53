"""Four arrays, as data are given in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .resolve import reason

__all__ = ["tensors"]


def tensors(spec: str, arrays: Sequence[Any]) -> tuple[Any, Tensor, Any, Tensor]:
    """x_train, y_train, x_test, y_test as tensors; of the inputs, several in tuples and dicts too.

    Raises:
        InputError: they are not four numeric arrays.
    """
    try:
        x_train, y_train, x_test, y_test = arrays
        return _inputs(x_train), _tensor(y_train), _inputs(x_test), _tensor(y_test)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{spec} does not hold four numeric arrays ({reason(error)}); give x_train, y_train, "
            "x_test, y_test."
        ) from error


def _tensor(given: Any) -> Tensor:
    found = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    return found.detach()


def _inputs(given: Any) -> Any:
    """One tensor, or a dict or a tuple of several."""
    if isinstance(given, Mapping):
        return {str(name): _inputs(each) for name, each in given.items() if each is not None}
    several = isinstance(given, (tuple, list)) and any(
        isinstance(each, (Tensor, np.ndarray, Mapping)) for each in given
    )
    return tuple(map(_inputs, given)) if several else _tensor(given)
