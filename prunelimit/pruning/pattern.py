"""What a pattern of masks is: the masks that a machine is fast with, say."""

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

__all__ = ["MaskPattern", "pattern_kept"]


@dataclass(frozen=True, kw_only=True)
class MaskPattern(Plugin):
    """A kind of masks that are allowed: the object PATTERN of a file in ``patterns``.

    ``parse`` makes a value of the text that asks for it, or raises
    :class:`~prunelimit.errors.UsageError`. ``function(problem, scores, value)`` has the scores
    (P,) of a criterion and says which weights stay when as many go as the pattern wants, bool,
    (P,); it raises ``UsageError`` where none can go. A literal ``FORM`` at the top of the file is
    the regular expression of such texts (default: the name, or NAME:ANYTHING), ``METAVAR`` what
    stands for it in a command's help and ``LABEL`` what to give, in words.
    """

    parse: Callable[[str], Any]
    function: Callable[[Problem, Tensor, Any], Tensor]


def pattern_kept(problem: Problem, scores: Tensor, pattern: Pattern) -> Tensor:
    """True for the prunable weights that ``pattern`` keeps by their ``scores`` (P,); bool, (P,).

    Raises:
        UsageError: nothing can go.
        InputError: the pattern gives no such mask.
    """
    found: MaskPattern = plugins.find("pattern", pattern.kind)
    kept = found.function(problem, scores, pattern.value)
    if kept.shape != scores.shape or str(kept.dtype) != "torch.bool":
        raise InputError(
            f"The pattern {pattern} gives a mask of shape {tuple(kept.shape)} and {kept.dtype}; "
            f"it should have one boolean for each of {len(scores)} weights."
        )
    return kept
