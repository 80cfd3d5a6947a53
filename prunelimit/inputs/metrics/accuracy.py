"""The share of samples, or of a sample's positions, whose class is found."""

from __future__ import annotations

from torch import Tensor

from ...devices import wide
from ..loss import Form
from ..metric import Metric

NAME = "accuracy"
ORDER = 1
PERCENT = True
TARGETS = "classes"
SOURCE = "scikit-learn: accuracy_score"
HELP = "Share of samples, or of each sample's positions, whose class is found."

__all__ = ["METRIC"]


def _accuracy(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    if targets.is_floating_point():
        targets = targets.argmax(form.axis)
    right = outputs.argmax(form.axis) == targets
    if right.ndim == 1:
        return right
    counted = (targets != form.ignored).flatten(1)
    return wide((right.flatten(1) & counted).sum(1)) / wide(counted.sum(1).clamp(min=1))


METRIC = Metric(NAME, SOURCE, HELP, function=_accuracy)
