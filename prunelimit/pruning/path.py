"""Pruned networks with moved survivors at one sparsity after another."""

from __future__ import annotations

from .stages import Compensator
from .state import State

__all__ = ["Path"]


class Path:
    """The states of ``compensator`` at any number of removed weights.

    With a single stage each comes from the dense network. Otherwise a state comes from the nearest
    one below that was asked for before, so that asking upwards costs no more than the last: what is
    removed stays removed, and a network between two that are known branches off the lower of them.
    Every state of such a path is kept, five bytes or more per free parameter.
    """

    def __init__(self, compensator: Compensator) -> None:
        self.compensator = compensator
        self._begin = compensator.begin()
        self._states = {0: self._begin}

    def at(self, removed: int) -> State:
        """The network with ``removed`` weights less.

        Raises:
            UsageError: so many cannot be removed.
        """
        if self.compensator.number == 1:
            return self.compensator.advance(self._begin, removed)
        if removed not in self._states:
            below = max(each for each in self._states if each < removed)
            self._states[removed] = self.compensator.advance(self._states[below], removed)
        return self._states[removed]
