"""A loss gives one number per sample, and its curvature in the outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..plugins import Plugin

__all__ = ["DEFAULT_FORM", "Form", "Loss", "is_cross_entropy", "like_outputs", "name_of"]


@dataclass(frozen=True)
class Form:
    """How outputs and targets belong together.

    ``axis`` is the dimension of the outputs that holds the classes; a target equal to ``ignored``
    does not count.
    """

    axis: int = 1
    ignored: int = -100


DEFAULT_FORM = Form()


@dataclass(frozen=True, kw_only=True)
class Loss(Plugin):
    """A loss by name: the object LOSS of a file in ``losses``.

    ``function(outputs, targets, form)`` gives one loss per sample, shape (n,), differentiable twice
    in the outputs (n, ...), and is convex in them. ``root(outputs, targets, form, directions)``
    gives A d for directions d of the outputs' shape, with A A^T the Hessian of each sample's loss
    in its outputs; ``trace(outputs, targets, form)`` its trace (n,).

    ``divergence(outputs, dense, form)`` (n,) is the loss of ``outputs`` above that of ``dense``,
    expected over targets as ``dense`` predicts them; ``distance``, of the same arguments, a
    quadratic stand-in for it that does not flatten where ``dense`` is sure. The literal ``METRIC``
    at the top of the file names the metric that belongs to it. ``TARGETS`` names the targets that
    it is for: "classes", "answers" from 0 to 1 or "numbers".
    """

    function: Callable[[Tensor, Tensor, Form], Tensor]
    root: Callable[[Tensor, Tensor, Form, Tensor], Tensor]
    trace: Callable[[Tensor, Tensor, Form], Tensor]
    divergence: Callable[[Tensor, Tensor, Form], Tensor]
    distance: Callable[[Tensor, Tensor, Form], Tensor]
    form: Form = DEFAULT_FORM

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One loss per sample, shape (n,)."""
        return self.function(outputs, targets, self.form)

    def of_divergence(self, outputs: Tensor, dense: Tensor) -> Tensor:
        """The :attr:`divergence` as a loss whose targets are dense outputs."""
        return self.divergence(outputs, dense, self.form)

    def of_distance(self, outputs: Tensor, dense: Tensor) -> Tensor:
        """The :attr:`distance` as a loss whose targets are dense outputs."""
        return self.distance(outputs, dense, self.form)


def is_cross_entropy(loss: Any) -> bool:
    """Whether ``loss`` is ours, of logits and classes."""
    return isinstance(loss, Loss) and loss.name == "cross-entropy"


def name_of(function: Any) -> str:
    """What results call a loss or a metric, built in or a user's own."""
    name = getattr(function, "name", None) or getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def like_outputs(targets: Tensor, outputs: Tensor) -> Tensor:
    """``targets`` in the shape and type of ``outputs``, such as (n,) for (n, 1), and bool as 0 and
    1.

    Raises:
        ValueError: they have other numbers of entries.
    """
    if targets.shape != outputs.shape:
        if targets.numel() != outputs.numel() or len(targets) != len(outputs):
            raise ValueError(
                f"targets of shape {tuple(targets.shape)} do not fit outputs of shape "
                f"{tuple(outputs.shape)}"
            )
        targets = targets.reshape(outputs.shape)
    return targets.to(outputs.dtype)
