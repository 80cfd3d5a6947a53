"""Minus the mean squared error."""

from __future__ import annotations

from torch import Tensor

from ...devices import wide
from ..loss import Form, like_outputs
from ..metric import Metric

NAME = "negative-mse"
ORDER = 5
LABEL = "negative mse"
TARGETS = "numbers"
SOURCE = "scikit-learn: neg_mean_squared_error"
HELP = "Minus the squared error, mean over a sample's outputs; has no points."

__all__ = ["METRIC"]


def _negative_mse(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    errors = wide(outputs - like_outputs(targets, outputs))
    return -errors.square().reshape(len(outputs), -1).mean(1)


METRIC = Metric(NAME, SOURCE, HELP, function=_negative_mse, points=False, worst=-1e30)
