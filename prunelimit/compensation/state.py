"""A pruned network between stages, and the results of its stages."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["FIRST_STEP", "Stage", "State"]

FIRST_STEP = math.log(2.0)
"""Logarithm of the survivors' ratio that ``auto`` begins with: half of them."""


FIRST_RATE = 0.02
"""Rate of the first descent: a share of the typical size of a tensor's survivors."""


@dataclass(frozen=True)
class Stage:
    """One stage that was kept. Rises are divergences from the dense network, nats, held out.

    ``removed`` weights in all; ``cut`` is the rise with the survivors unmoved, ``fitted`` with
    its layers fitted, ``rise`` with them moved. ``trust`` is by how much the squared
    distance of the outputs fell on the inputs of the solve over how much the quadratic had it fall.
    ``damping`` is mu. ``steps`` of conjugate gradients were taken. The iterate after ``chosen`` of
    them was used, at ``length`` times its move. ``outcome`` is the solver's, "free" where nothing
    needed to move, or "no solve" where none was made; trust is then None. It is "anew" where the
    path was left and the dense network pruned to this sparsity in one stage.
    """

    removed: int
    cut: float
    fitted: float
    rise: float
    trust: float | None
    damping: float
    steps: int
    chosen: int
    length: float
    outcome: str


@dataclass(frozen=True)
class State:
    """A pruned network between stages.

    ``weights`` (D,) are the free parameters, exactly zero where ``kept`` (bool, (D,)) is False.
    ``buffers`` are the statistics of batch normalisation that belong to them, by name. They are
    empty if those are the network's own. ``rise`` is the divergence from the dense network on the
    held-out inputs, nats. The next stage begins with ``log_keep_ratio``, the logarithm of the
    survivors' ratio, and with ``damping_scale``, a factor of the damping. ``solves`` counts the
    sets of inputs drawn so far, and ``undone`` the stages that were taken back. If the number of
    stages was given, ``goal`` is how many weights were to go when ``log_keep_ratio`` was chosen.
    ``rate`` is that of the next descent.
    """

    weights: Tensor
    kept: Tensor
    buffers: dict[str, Tensor]
    rise: float = 0.0
    log_keep_ratio: float = FIRST_STEP
    damping_scale: float = 1.0
    stages: tuple[Stage, ...] = ()
    solves: int = 0
    undone: int = 0
    goal: int = -1
    rate: float = FIRST_RATE

    @property
    def removed(self) -> int:
        """Weights removed."""
        return int((~self.kept).sum())

    def document(self) -> dict[str, Any]:
        """The state in types that ``torch.load`` reads with ``weights_only``."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**fields, "stages": [dataclasses.asdict(each) for each in self.stages]}

    @staticmethod
    def of(document: dict[str, Any], like: Tensor) -> State:
        """The state that :meth:`document` described, of a network whose free parameters are
        ``like`` (D,).

        Raises:
            InputError: it is of another form.
            ValueError: it is of another network.
        """
        try:
            stages = tuple(Stage(**each) for each in document["stages"])
            found = State(**{**document, "stages": stages})
        except (KeyError, TypeError) as error:
            raise InputError(
                "The state of the interrupted pruning was written by another version; begin again "
                "with `force`."
            ) from error
        kept, weights = found.kept, found.weights
        if (kept.shape, kept.dtype) != (like.shape, torch.bool):
            raise ValueError("its mask is that of another network")
        if (weights.shape, weights.dtype) != (like.shape, like.dtype):
            raise ValueError("its weights are those of another network")
        if not bool(torch.isfinite(weights).all()) or bool(weights[~kept].any()):
            raise ValueError("its weights are not finite, or not zero where they were removed")
        return found
