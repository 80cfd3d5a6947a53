"""Data that are given as four arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .resolve import reason

__all__ = ["samples", "tensors"]


def tensors(spec: str, arrays: Sequence[Any]) -> tuple[Any, Tensor, Any, Tensor]:
    """x_train, y_train, x_test, y_test as tensors. The inputs may be several, in tuples and dicts.

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


def samples(spec: str, given: Any, targets: Any) -> tuple[Any, Tensor] | None:
    """Inputs and targets where ``given`` is a list of one tensor or array per sample, such as bags
    of instances. They are in one tensor where all have the same shape, else a list. None where
    ``given`` is no such list.

    Raises:
        InputError: there are not as many as targets, or it cannot be told from several inputs.
    """
    kinds = (Tensor, np.ndarray)
    if isinstance(given, np.ndarray) and given.dtype == object and given.ndim == 1:
        given = list(given)
    if not isinstance(given, list) or not given or not all(isinstance(x, kinds) for x in given):
        return None
    try:
        found, labels = [_tensor(each) for each in given], _tensor(targets)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{spec} does not hold samples and labels ({reason(error)}); give tensors of numbers."
        ) from error
    count = len(labels) if labels.ndim else 0
    alike = {tuple(each.shape) for each in found}
    several = all(each.ndim and len(each) == count for each in found)
    if several and len(found) == count:
        raise InputError(
            f"{spec} has {count} labels and a list of {count} inputs with {count} rows each, so a "
            "sample can be an entry or a row; stack the samples into one tensor, or give several "
            "inputs in a tuple."
        )
    if several:
        return None
    if len(found) != count:
        raise InputError(
            f"{spec} has {len(found)} samples but {count} labels; give one label each."
        )
    return (torch.stack(found) if len(alike) == 1 else found), labels


def _tensor(given: Any) -> Tensor:
    if isinstance(given, np.ma.MaskedArray):
        raise ValueError("a masked array would lose its mask; fill it")
    found = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    if found.layout != torch.strided or found.is_nested or found.is_meta:
        kind = "meta" if found.is_meta else "nested" if found.is_nested else "sparse"
        raise ValueError(f"a {kind} tensor cannot be read; give a plain one")
    return found.detach()


def _inputs(given: Any) -> Any:
    """One tensor, or a dict or a tuple of several."""
    if isinstance(given, Mapping):
        return {str(name): _inputs(each) for name, each in given.items() if each is not None}
    several = isinstance(given, (tuple, list)) and any(
        isinstance(each, (Tensor, np.ndarray, Mapping)) for each in given
    )
    return tuple(map(_inputs, given)) if several else _tensor(given)
