"""Mean squared error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..loss import Form, Loss, like_outputs

NAME = "mse"
ORDER = 2
METRIC = "r2"
TARGETS = "numbers"
SOURCE = "torch.nn.functional.mse_loss"
HELP = "Squared error, mean over a sample's outputs."

__all__ = ["LOSS"]


def _mean(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).mean(1)


def _mse(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    return _mean((outputs - like_outputs(targets, outputs)).square())


def _root(outputs: Tensor, targets: Tensor, form: Form, directions: Tensor) -> Tensor:
    return directions * math.sqrt(2 / outputs[0].numel())


def _trace(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    return torch.full_like(outputs.reshape(len(outputs), -1)[:, 0], 2.0)


def _divergence(outputs: Tensor, dense: Tensor, form: Form) -> Tensor:
    """The expected loss above the dense network's, with targets that scatter about its outputs."""
    return _mean((outputs - dense).square())


LOSS = Loss(
    NAME,
    SOURCE,
    HELP,
    function=_mse,
    root=_root,
    trace=_trace,
    divergence=_divergence,
    distance=_divergence,
)
