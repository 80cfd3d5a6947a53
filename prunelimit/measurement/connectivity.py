"""Whether two networks lie in one valley: loss and error along the straight line between them.

Source: linear mode connectivity (Frankle, Dziugaite, Roy, Carbin 2020), with eleven points.
Statistics of batch normalisation are taken anew at each, as in Zhou, Yang, Chang, Mahoney 2023.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compensation.batch_norm import statistics
from ..inputs.problem import Problem, evaluate
from ..inputs.splits import shuffled

__all__ = ["POINTS", "Connectivity", "Place", "between", "connectivity"]

POINTS = 11
"""Networks on the line, both ends among them."""

NORMED = 2_000
"""Most inputs for statistics of batch normalisation."""


@dataclass(frozen=True)
class Place:
    """One network on the line: ``at`` from 0 to 1, training loss, training error, a fraction."""

    at: float
    loss: float
    error: float


@dataclass(frozen=True)
class Connectivity:
    """The places in order."""

    places: tuple[Place, ...]

    @property
    def value(self) -> float:
        """The mean error of the ends minus the error that is farthest from it, a fraction.

        It is near 0 on a line that is as good all along, and negative where a barrier lies between.
        It is positive where the ends are worse than what lies between (Yang et al. 2021).
        """
        ends = (self.places[0].error + self.places[-1].error) / 2
        away = [ends - place.error for place in self.places]
        return max(away, key=abs)


def between(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], at: float
) -> dict[str, Tensor]:
    """(1 - ``at``) times the floating-point tensors of ``first`` plus ``at`` times those of
    ``second``; other tensors are those of ``first``. The ends are exact."""
    ends = {0.0: first, 1.0: second}
    if at in ends:
        return dict(ends[at])
    return {
        name: torch.lerp(tensor, second[name], at) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def connectivity(
    first: Problem, second: Problem, *, on_place: Callable[[int], None] | None = None
) -> Connectivity:
    """Loss and error along the line from ``first`` to ``second``, on the training split of
    ``first``.

    Both are of one architecture. Statistics of batch normalisation are taken anew at every place,
    the ends too. Neither network is changed. ``on_place`` is told how many places are done.
    """
    model = copy.deepcopy(first.model)
    problem = dataclasses.replace(first, model=model)
    states = first.model.state_dict(), second.model.state_dict()
    normed = shuffled(first.train, NORMED, first.seed)
    places = []
    for step in range(POINTS):
        at = step / (POINTS - 1)
        model.load_state_dict(between(*states, at))
        buffers = dict(model.named_buffers())
        if len(normed) >= 2:
            for name, value in statistics(model, normed, len(normed)).items():
                buffers[name].copy_(value)
        found = evaluate(problem, problem.train)
        places.append(Place(at, found.loss, 1 - found.accuracy))
        if on_place is not None:
            on_place(step + 1)
    return Connectivity(tuple(places))
