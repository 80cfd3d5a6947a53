"""The network whose survivors move: a copy of the dense network, and its distance from it."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..curvature import CurvatureProduct, SummedProduct
from ..curvature.function import NetworkFunction
from ..devices import wide, wide_device
from ..distributed import ALONE, Group
from ..inputs.problem import Problem, SampleLoss
from ..randomness import generator
from .batch_norm import norm_layers, recalibrated, statistics
from .calibration import Calibration

__all__ = ["Point", "Student", "fill"]


@dataclass(frozen=True)
class Point:
    """``weights`` (D,), the ``buffers`` that they are read with, and the divergence from the dense
    network on the inputs held out, nats."""

    weights: Tensor
    buffers: dict[str, Tensor]
    rise: float


class Student:
    """A copy of ``problem``'s network with weights and statistics of its own.

    Divergences are those on ``held``. ``recalibrate`` inputs of ``samples``, or as many as there
    are, give the statistics of batch normalisation. 0 leaves them; so does a single input, which
    has none. The processes of ``group`` share the inputs of products and divergences.
    """

    def __init__(
        self,
        problem: Problem,
        samples: Calibration,
        held: Calibration,
        recalibrate: int,
        group: Group = ALONE,
    ) -> None:
        self.dense = problem
        count = min(recalibrate, len(samples)) if norm_layers(problem.model) else 0
        self.recalibrate = count if count > 1 else 0
        self._samples = samples
        self._model = copy.deepcopy(problem.model)
        self.problem = held.problem(problem, self._model)
        self._held = held
        self._group = group
        self._before: dict[str, Tensor] | None = None

    def fill(self, weights: Tensor, buffers: dict[str, Tensor]) -> None:
        """Give the copy ``weights`` (D,), and ``buffers`` or else the dense network's own."""
        fill(self._model, self.dense, weights, buffers)

    def anew(self, weights: Tensor) -> Point:
        """``weights`` with statistics taken anew."""
        self.fill(weights, {})
        if self._before is None:
            self._before = statistics(self.dense.model, self._samples, self.recalibrate)
        buffers = recalibrated(
            self._model, self.dense.model, self._before, self._samples, self.recalibrate
        )
        buffers = {name: self._group.of_first(each) for name, each in buffers.items()}
        return Point(weights, buffers, self.rise(weights, buffers))

    def rise(
        self,
        weights: Tensor,
        buffers: dict[str, Tensor],
        split: Calibration | None = None,
        *,
        above: float = math.inf,
    ) -> float:
        """Mean divergence from the dense network, nats. It is infinite if outputs are not finite,
        or if it is larger than ``above``. No divergence is below zero, so a part of the inputs may
        tell that."""
        split = self._held if split is None else split
        return self._mean(weights, buffers, split, self.problem, above)

    def misfit(self, weights: Tensor, buffers: dict[str, Tensor], split: Calibration) -> float:
        """Mean squared distance of the outputs on ``split``, which solves minimise."""
        return self._mean(weights, buffers, split, split.fit_problem(self.dense, self._model))

    def fitting(self, split: Calibration) -> Problem:
        """The problem of fitting ``split``, with the weights that the copy was filled with."""
        return split.fit_problem(self.dense, self._model)

    def product(
        self, weights: Tensor, buffers: dict[str, Tensor], split: Calibration
    ) -> CurvatureProduct | SummedProduct:
        """GGN and gradient of the :meth:`misfit` at ``weights``.

        Products may be rounded. A solve takes few steps and is judged by the true divergence, so it
        loses nothing by that. The gradient is not rounded."""
        self.fill(weights, buffers)
        own = split.own(self._group)
        product = CurvatureProduct(
            own.fit_problem(self.dense, self._model),
            own,
            "ggn",
            count=len(split),
            precision="auto",
        )
        if self._group.size == 1:
            return product
        return SummedProduct(product, self.dense.parts(self._group))

    def diagonal(
        self, weights: Tensor, buffers: dict[str, Tensor], split: Calibration, count: int
    ) -> Tensor:
        """An estimate of the diagonal of that GGN, (D,), by gradients of ``count`` of the samples.

        Let H be the second derivative of the misfit in the outputs. Draw a direction of covariance
        H at the outputs, independent for every sample. The expected square of the gradient along it
        is the diagonal. The misfit is a multiple of a squared distance. So H z is such a direction
        for random signs z, once scaled.
        """
        self.fill(weights, buffers)
        few = split.subset(count, 0)
        assert isinstance(few, Calibration)
        problem = few.fit_problem(self.dense, self._model)
        function = NetworkFunction.of(problem, few)
        draws = generator(problem.seed, "signs")
        total = torch.zeros_like(weights)
        for inputs, _ in few.batches(problem.batch_size):
            leaves = [each.detach().requires_grad_() for each in problem.parameters().values()]
            outputs = function.outputs(leaves, inputs)
            signs = torch.randint(0, 2, outputs.shape, generator=draws).to(outputs) * 2 - 1
            there = (outputs.detach() + signs).requires_grad_()
            (along,) = torch.autograd.grad(problem.loss(there, outputs.detach()).sum(), there)
            square = float(wide(along).square().sum())
            scale = float((wide(along) * wide(signs)).sum()) / square if square > 0 else 0.0
            pieces = torch.autograd.grad(
                outputs, leaves, along * math.sqrt(max(0.0, scale)), materialize_grads=True
            )
            total += torch.cat([piece.reshape(-1) for piece in pieces]).square()
        return total / len(few)

    def _mean(
        self,
        weights: Tensor,
        buffers: dict[str, Tensor],
        split: Calibration,
        problem: Problem,
        above: float = math.inf,
    ) -> float:
        self.fill(weights, buffers)
        loss: SampleLoss = problem.loss
        total = torch.zeros((), dtype=torch.float64, device=wide_device(problem.device))
        with torch.no_grad():
            for inputs, dense in split.own(self._group).batches(problem.batch_size):
                total += loss(wide(self._model(inputs)), wide(dense)).sum()
                if self._group.size == 1 and float(total) > above * len(split):
                    return math.inf
        found = float(self._group.all_reduce(total.reshape(1))) / len(split)
        return found if math.isfinite(found) and found <= above else math.inf


def fill(model: nn.Module, problem: Problem, weights: Tensor, buffers: dict[str, Tensor]) -> None:
    """Put ``weights`` (D,) into ``model``, and ``buffers`` or else those of ``problem``."""
    own, held = dict(model.named_parameters()), dict(model.named_buffers())
    with torch.no_grad():
        for name, piece in problem.layout.unflatten(weights).items():
            own[name].copy_(piece)
        for name, tensor in problem.model.named_buffers():
            held[name].copy_(buffers.get(name, tensor))
