"""A pattern of masks: those that a machine computes fast, for example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import plugins
from ..errors import InputError
from ..plugins import Plugin
from ..values import Pattern

if TYPE_CHECKING:  # a pattern's text is read before torch is needed
    from torch import Tensor

    from ..inputs.problem import Problem

__all__ = ["MaskPattern", "pattern_kept", "pattern_order"]


@dataclass(frozen=True, kw_only=True)
class MaskPattern(Plugin):
    """A kind of masks that are allowed: the object PATTERN of a file in ``patterns``.

    ``parse`` turns the text that asks for it into a value, or raises
    :class:`~prunelimit.errors.UsageError`. One of two functions is given the scores (P,) of a
    criterion:

    - ``function(problem, scores, value)`` says which weights stay, bool, (P,). The pattern decides
      the amount. It raises ``UsageError`` if none can go.
    - ``order(problem, scores, value)`` gives scores (P,), float64, finite. Any number of those with
      the smallest scores can go. Weights of score -inf are gone already, and have to come first.
      The literal ``ANY_AMOUNT = True`` at the top of the file says so.

    A literal ``FORM`` at the top of the file is the regular expression of the texts (default: the
    name, or NAME:ANYTHING). ``METAVAR`` stands for it in a command's help. ``LABEL`` says what to
    give, in words.
    """

    parse: Callable[[str], Any]
    function: Callable[[Problem, Tensor, Any], Tensor] | None = None
    order: Callable[[Problem, Tensor, Any], Tensor] | None = None


def pattern_kept(problem: Problem, scores: Tensor, pattern: Pattern) -> Tensor:
    """True for the prunable weights that ``pattern`` keeps by their ``scores`` (P,); bool, (P,).

    Raises:
        UsageError: nothing can go.
        InputError: the pattern gives no such mask.
    """
    found: MaskPattern = plugins.find("pattern", pattern.kind)
    if found.function is None:
        raise InputError(f"The pattern {pattern} has no `function`; add one in its file.")
    kept = found.function(problem, scores, pattern.value)
    if kept.shape != scores.shape or str(kept.dtype) != "torch.bool":
        raise InputError(
            f"The pattern {pattern} gives a mask of shape {tuple(kept.shape)} and {kept.dtype}; "
            f"it should have one boolean for each of {len(scores)} weights."
        )
    return kept


def pattern_order(problem: Problem, scores: Tensor, pattern: Pattern) -> Tensor:
    """Scores (P,), float64. If the smallest go first, any amount keeps to ``pattern``.

    Raises:
        InputError: the pattern gives no such scores.
    """
    found: MaskPattern = plugins.find("pattern", pattern.kind)
    order = None if found.order is None else found.order(problem, scores, pattern.value)
    if order is None or order.shape != scores.shape or not bool(order.isfinite().all()):
        raise InputError(
            f"The pattern {pattern} gives no finite number for each of {len(scores)} weights; "
            "correct its file."
        )
    return order
