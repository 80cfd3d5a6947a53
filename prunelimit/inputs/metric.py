"""A metric gives every sample a score. The mean says how good a network is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..plugins import Plugin
from .loss import DEFAULT_FORM, Form

__all__ = ["Metric"]


@dataclass(frozen=True, kw_only=True)
class Metric(Plugin):
    """A metric by name: the object METRIC of a file in ``metrics``.

    ``function(outputs, targets, form)`` gives one score per sample (n,), more being better; its
    mean over the samples is the metric. Where that takes all samples together, ``whole(scores,
    targets)`` gives the scores (n,) of what the function gave for all, (n, ...) float64.

    ``points`` says that 1 is perfect, so that a loss can be stated in points: hundredths of that. A
    score that is no number counts as ``worst``. Literals at the top of the file say the rest.
    ``PERCENT`` says that people read it in percent, and ``LABEL`` what they call it. ``TARGETS``
    names the targets that it is for, as of a loss.
    """

    function: Callable[[Tensor, Tensor, Form], Tensor]
    whole: Callable[[Tensor, Tensor], Tensor] | None = None
    points: bool = True
    worst: float = 0.0
    form: Form = DEFAULT_FORM

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One score per sample, or the values from which :attr:`whole` computes them."""
        return self.function(outputs, targets, self.form)
