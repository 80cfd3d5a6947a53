"""The network as a function of its free parameters, in the form that derivatives are taken of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import InputError
from ..inputs.problem import Problem, SampleLoss, Split
from .folding import CLOSE, Folded, fold

__all__ = ["NetworkFunction", "check_repeatable", "differentiable"]


@contextmanager
def differentiable() -> Iterator[None]:
    """Without the fused attention kernels, which have no derivatives of the kinds wanted here."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


EXAMPLE = 32
"""Samples on which a network with folded normalisations is compared with the original."""


def check_repeatable(problem: Problem, split: Split) -> None:
    """That data and network are the same each time.

    Raises:
        InputError: the same samples give other outputs, or are others, when asked for again.
    """
    count = min(problem.batch_size, EXAMPLE)
    (first, labels), (second, others) = (next(iter(split.batches(count))) for _ in range(2))
    if not torch.equal(first, second) or not torch.equal(labels, others):
        raise InputError(
            "The data come out different when they are read again; give them in a fixed order and "
            "without random augmentation."
        )
    with torch.no_grad():
        outputs, again = problem.outputs(first), problem.outputs(first)
    slack = CLOSE * torch.finfo(outputs.dtype).eps * float(outputs.abs().max())
    if bool(((outputs - again).abs() > slack).any()):
        raise InputError(
            "The network gives other outputs when the same samples are passed again; make its eval "
            "mode deterministic (is a dropout left on?)."
        )


@dataclass(frozen=True)
class NetworkFunction:
    """Outputs and share of the mean loss of a batch, for given free parameters.

    ``count`` is the number of samples that the loss is a mean over, ``names`` are those of the
    free parameters, ``fixed`` the other parameters. Normalisation layers are folded into the
    layers before them where that is the same function (:func:`.folding.fold`).
    """

    model: nn.Module
    loss: SampleLoss
    count: int
    names: tuple[str, ...]
    fixed: dict[str, Tensor]
    folded: Folded | None

    @staticmethod
    def of(problem: Problem, split: Split, count: int | None = None) -> NetworkFunction:
        """The function whose mean over ``split`` is the loss of ``problem``; over ``count``
        samples, of which ``split`` has a part, where given.

        Raises:
            InputError: the same samples give other outputs, or are others, when asked for again.
        """
        check_repeatable(problem, split)
        names = problem.layout.names
        fixed = {
            name: tensor.detach()
            for name, tensor in problem.model.named_parameters()
            if name not in set(names)
        }
        example, _ = next(iter(split.batches(min(problem.batch_size, EXAMPLE))))
        folded = fold(problem.model, set(names), example)
        return NetworkFunction(
            problem.model, problem.loss, count or len(split), names, fixed, folded
        )

    def outputs(self, free: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """Outputs for ``inputs`` with the free parameters ``free``, in the order of ``names``."""
        model = self.model
        tensors = {**self.fixed, **dict(zip(self.names, free, strict=True))}
        if self.folded is not None:
            model, tensors = self.folded.model, self.folded.tensors(tensors)
        with differentiable():
            outputs: Tensor = torch.func.functional_call(model, tensors, (inputs,))
        return outputs

    def share(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What a batch with these ``outputs`` adds to the mean loss; a scalar."""
        return self.loss(outputs, targets).sum() / self.count

    def put_away(self, tensor: Tensor) -> Tensor:
        """What a graph keeps in place of ``tensor``: itself."""
        return tensor

    def take_out(self, kept: Tensor) -> Tensor:
        """The tensor that :meth:`put_away` was given."""
        return kept
