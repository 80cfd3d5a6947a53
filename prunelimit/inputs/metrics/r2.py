"""The coefficient of determination."""

from __future__ import annotations

from torch import Tensor

from ...devices import wide
from ...errors import UsageError
from ..loss import Form, like_outputs
from ..metric import Metric

NAME = "r2"
ORDER = 4
TARGETS = "numbers"
SOURCE = "scikit-learn: r2_score"
HELP = "Share of the targets' variance that is explained, mean over outputs."

__all__ = ["METRIC"]


def _squared(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    errors = wide(outputs - like_outputs(targets, outputs))
    return errors.square().reshape(len(outputs), -1)


def _shares(errors: Tensor, targets: Tensor) -> Tensor:
    """1 - n e_i / S for the squared errors e (n, k): their mean is 1 - sum e / S."""
    spread = (targets - targets.mean(0)).square().reshape(len(targets), -1).sum(0)
    if not bool((spread > 0).all()):
        raise UsageError(
            "`metric` r2 needs targets that differ, and all targets of one output are the same; "
            "give `metric` negative-mse."
        )
    return (1 - len(errors) * errors / spread).mean(1)


METRIC = Metric(NAME, SOURCE, HELP, function=_squared, whole=_shares, worst=1e30)
