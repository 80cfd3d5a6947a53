"""Pruned networks with moved survivors at one sparsity after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .stages import Compensator
from .state import State

__all__ = ["Path"]


class Path:
    """The states of ``compensator`` at any number of removed weights.

    With a single stage each comes from the dense network. Otherwise a state comes from the nearest
    one below that was asked for before. So asking upwards costs no more than the last state alone.
    What is removed stays removed. A network between two known ones branches off the lower of them.
    Every state of such a path is kept: a bit per free parameter, and the survivors.
    """

    def __init__(self, compensator: Compensator) -> None:
        self.compensator = compensator
        self._begin = compensator.begin()
        self._states = {0: _Packed.of(self._begin)}

    def take(self, state: State) -> None:
        """Go on from a ``state`` that an earlier path reached."""
        self._states[state.removed] = _Packed.of(state)

    def at(
        self,
        removed: int,
        begun: State | None = None,
        on_stage: Callable[[State], None] | None = None,
    ) -> State:
        """The network with ``removed`` weights less. If an earlier path reached ``begun``, it goes
        on from there. ``on_stage`` is called with every state on the way.

        Raises:
            UsageError: so many cannot be removed.
        """
        if self.compensator.number == 1:
            return self.compensator.advance(begun or self._begin, removed, on_stage=on_stage)
        if removed not in self._states:
            below = max(each for each in self._states if each < removed)
            start = begun or self._states[below].state()
            reached = self.compensator.advance(start, removed, on_stage=on_stage)
            self._states[removed] = _Packed.of(reached)
        return self._states[removed].state()


@dataclass(frozen=True)
class _Packed:
    """A state in less memory. The weights of ``short`` are the survivors alone. Its mask is
    ``bits`` (uint8), of ``length`` places."""

    short: State
    bits: np.ndarray
    length: int

    @classmethod
    def of(cls, state: State) -> _Packed:
        short = dataclasses.replace(
            state, weights=state.weights[state.kept], kept=state.kept.new_empty(0)
        )
        return cls(short, np.packbits(state.kept.cpu().numpy()), len(state.kept))

    def state(self) -> State:
        survivors = self.short.weights
        places = np.unpackbits(self.bits, count=self.length).astype(bool)
        kept = torch.from_numpy(places).to(survivors.device)
        weights = survivors.new_zeros(self.length).masked_scatter(kept, survivors)
        return dataclasses.replace(self.short, weights=weights, kept=kept)
