"""Training towards flat minima: changes of a mini-batch's gradient before a step.

*sam* (Foret, Kleiner, Mobahi, Neyshabur 2021): the gradient is taken where the loss of the
mini-batch is worst, to first order, within a distance rho.

*rsam*: rho times log(tr G^2 / (tr G)^2) is added to the loss: the Renyi sharpness of order 2 of the
GGN G. It is modelled on the regulariser of Zhang, Sun, Zhang et al. 2025. For a random vector of
signs v, v^T G v and |G v|^2 are unbiased estimates of the two traces of the mini-batch (Hutchinson
1990). Their gradients are unbiased too. The gradient of the logarithms divides those by running
means of the traces. The trace tr G^2 of a mini-batch is larger than that of all samples, whose G is
a mean over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..config import TrainConfig
from ..errors import UsageError
from ..inputs.problem import Problem
from ..inputs.structure import Inputs

__all__ = ["Flatness", "Renyi", "Sam", "flatness_of", "gradient_norm", "rho_of", "trace_estimates"]

RHO = {"sam": 0.05, "rsam": 0.01}
"""Values of `rho` if it is not given."""

UNKNOWN = ("derivative", "differentiable", "forward AD", "forward mode", "jvp", "functorch")
"""Part of torch's message if it cannot differentiate an operator."""

MEMORY = 0.9
"""Share of the running means of the traces that a step keeps."""


class Flatness(Protocol):
    """Changes the gradients of a mini-batch, which are there already."""

    def __call__(self, inputs: Inputs, targets: Tensor) -> None: ...


def flatness_of(
    config: TrainConfig,
    problem: Problem,
    parameters: Sequence[nn.Parameter],
    draws: torch.Generator,
) -> Flatness | None:
    """What ``config`` asks for, anew for every epoch; None for plain training, and for a `rho` of
    0, which is the same."""
    rho = rho_of(config)
    if rho == 0:
        return None
    if config.sharpness == "sam":
        return Sam(problem, parameters, rho)
    return Renyi(problem, parameters, rho, draws, config.keep_zeros)


def rho_of(config: TrainConfig) -> float:
    """`rho` as it is given or, for its kind of `sharpness`, by default; 0 for plain training."""
    if config.sharpness == "none":
        return 0.0
    return RHO[config.sharpness] if config.rho is None else config.rho


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The length of the gradient of all ``parameters`` together; a scalar on their device."""
    slopes = [each.grad for each in parameters if each.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(each) for each in slopes])
    )
    return norm


class Sam:
    """The gradient at distance ``rho`` uphill, in the place of that at the weights."""

    def __init__(self, problem: Problem, parameters: Sequence[nn.Parameter], rho: float) -> None:
        self._problem, self._parameters, self._rho = problem, parameters, rho

    def __call__(self, inputs: Inputs, targets: Tensor) -> None:
        """The weights themselves are as before, bit for bit."""
        moved = [each for each in self._parameters if each.grad is not None]
        slopes = [each.grad for each in moved if each.grad is not None]
        norm = gradient_norm(self._parameters)
        if not moved or not bool(norm > 0):
            return
        kept = [each.detach().clone() for each in moved]
        with torch.no_grad():
            for each, slope in zip(moved, slopes, strict=True):
                each.add_(slope * (self._rho / norm))
        for each in moved:
            each.grad = None
        with _without_statistics(self._problem.model):
            self._problem.loss(self._problem.model(inputs), targets).mean().backward()
        with torch.no_grad():
            for each, before in zip(moved, kept, strict=True):
                each.copy_(before)


class Renyi:
    """Adds the gradient of ``rho`` times the Renyi sharpness of order 2."""

    def __init__(
        self,
        problem: Problem,
        parameters: Sequence[nn.Parameter],
        rho: float,
        draws: torch.Generator,
        keep_zeros: bool = False,
    ) -> None:
        self._problem, self._parameters, self._rho, self._draws = problem, parameters, rho, draws
        self._keep_zeros = keep_zeros
        self._means = [0.0, 0.0]
        self._weight = 0.0

    def __call__(self, inputs: Inputs, targets: Tensor) -> None:
        """Adds to the gradients that are there.

        Raises:
            UsageError: an operator of the network cannot be differentiated so often.
        """
        problem = self._problem
        free = list(problem.parameters().values())
        signs = [
            (2 * torch.randint(0, 2, each.shape, generator=self._draws) - 1).to(each)
            for each in free
        ]
        if self._keep_zeros:
            for name, each, sign in zip(problem.layout.names, free, signs, strict=True):
                if name in problem.prunable:
                    sign.mul_(each.detach() != 0)
        try:
            with _without_statistics(problem.model), sdpa_kernel(SDPBackend.MATH):
                traces = trace_estimates(problem, free, signs, inputs, targets)
                found = [float(each.detach()) for each in traces]
                if not all(0 < each < float("inf") for each in found):
                    return  # nothing is curved, or the loss is not finite, which is told elsewhere
                self._weight = MEMORY * self._weight + 1 - MEMORY
                share = (1 - MEMORY) / self._weight
                self._means = [
                    mean + share * (one - mean)
                    for mean, one in zip(self._means, found, strict=True)
                ]
                first, second = traces
                sharpness = second / self._means[1] - 2 * first / self._means[0]
                slopes = torch.autograd.grad(
                    self._rho * sharpness, list(self._parameters), allow_unused=True
                )
        except (RuntimeError, NotImplementedError) as error:
            if not any(word in str(error) for word in UNKNOWN):
                raise
            raise UsageError(
                "`sharpness` rsam needs derivatives that an operator of the network does not have "
                f"({str(error).splitlines()[0][:120]}); give sam."
            ) from error
        for parameter, slope in zip(self._parameters, slopes, strict=True):
            if slope is not None and parameter.grad is not None:
                parameter.grad.add_(slope)


def trace_estimates(
    problem: Problem,
    free: Sequence[Tensor],
    signs: Sequence[Tensor],
    inputs: Inputs,
    targets: Tensor,
) -> tuple[Tensor, Tensor]:
    """v^T G v and |G v|^2 for v = ``signs``, shaped as ``free``: differentiable scalars.

    G is the GGN of the mean loss of this batch in ``free``. Over random signs their means are the
    traces of G and of G^2.
    """

    def network(*tensors: Tensor) -> Tensor:
        return problem.outputs(inputs, dict(zip(problem.layout.names, tensors, strict=True)))

    outputs, pushed, *_ = torch.func.jvp(network, tuple(free), tuple(signs))
    loss = problem.loss(outputs, targets).mean()
    (slope,) = torch.autograd.grad(loss, outputs, create_graph=True)
    nothing = outputs.new_zeros(())
    if not slope.requires_grad:
        return nothing, nothing
    (bent,) = torch.autograd.grad(slope, outputs, pushed, create_graph=True, materialize_grads=True)
    product = torch.autograd.grad(
        outputs, list(free), bent, create_graph=True, materialize_grads=True
    )
    return (pushed * bent).sum(), torch.stack([each.square().sum() for each in product]).sum()


@contextmanager
def _without_statistics(model: nn.Module) -> Iterator[None]:
    """Norm layers use the batch's statistics but do not gather them: a batch counts once."""
    gathering = [each for each in model.modules() if getattr(each, "track_running_stats", False)]
    for each in gathering:
        each.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for each in gathering:
            each.track_running_stats = True  # type: ignore[assignment]
