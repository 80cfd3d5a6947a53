"""Four arrays, as data are given in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .resolve import reason

__all__ = ["tensors"]


def tensors(spec: str, arrays: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_train, y_train, x_test, y_test as tensors.

    Raises:
        InputError: they are not four numeric arrays.
    """
    try:
        x_train, y_train, x_test, y_test = (
            each if isinstance(each, Tensor) else torch.as_tensor(np.asarray(each))
            for each in arrays
        )
        return x_train.detach(), y_train.detach(), x_test.detach(), y_test.detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{spec} does not hold four numeric arrays ({reason(error)}); give x_train, y_train, "
            "x_test, y_test."
        ) from error
