"""Mean intersection over union of masks."""

from __future__ import annotations

import torch
from torch import Tensor

from ...devices import wide
from ..loss import Form
from ..metric import Metric

NAME = "mean-iou"
ORDER = 2
LABEL = "mean IoU"
PERCENT = True
TARGETS = "classes"
SOURCE = "Everingham et al.: The Pascal Visual Object Classes Challenge. 2010"
HELP = "Intersection over union, mean over the classes in a sample's target or outputs."

__all__ = ["METRIC"]


def _mean_iou(outputs: Tensor, targets: Tensor, form: Form) -> Tensor:
    classes = outputs.shape[form.axis]
    found = outputs.argmax(form.axis).reshape(len(outputs), -1)
    wanted = targets.reshape(len(outputs), -1)
    counted = wanted != form.ignored
    rows = torch.arange(len(outputs), device=outputs.device)[:, None] * classes

    def areas(labels: Tensor, where: Tensor) -> Tensor:
        each = torch.bincount((rows + labels)[where], minlength=len(outputs) * classes)
        return wide(each.view(len(outputs), classes))

    both = areas(wanted, counted & (found == wanted))
    either = areas(wanted, counted) + areas(found, counted) - both
    present = either > 0
    ratios = torch.where(present, both / either.clamp(min=1), torch.zeros_like(both))
    return ratios.sum(1) / present.sum(1).clamp(min=1)


METRIC = Metric(NAME, SOURCE, HELP, function=_mean_iou)
