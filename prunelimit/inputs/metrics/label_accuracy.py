"""The share of a sample's yes-or-no answers that are right."""

from __future__ import annotations

from torch import Tensor

from ...devices import wide
from ..loss import Form, like_outputs
from ..metric import Metric

NAME = "label-accuracy"
ORDER = 3
LABEL = "label accuracy"
PERCENT = True
TARGETS = "answers"
SOURCE = "One minus the Hamming loss of scikit-learn"
HELP = "Share of yes-or-no answers that are right: logits above 0 are yes."

__all__ = ["METRIC"]


def _label_accuracy(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    right = (outputs > 0) == (like_outputs(targets, outputs) > 0.5)
    return wide(right.reshape(len(outputs), -1)).mean(1)


METRIC = Metric(NAME, SOURCE, HELP, function=_label_accuracy)
