"""The network as a function of its free parameters, ready for differentiation."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..devices import second_order
from ..errors import InputError, UsageError
from ..inputs.call import call
from ..inputs.problem import Problem, SampleLoss, Split
from ..inputs.structure import Inputs, equal, mapped
from .folding import CLOSE, Folded, fold

__all__ = ["NetworkFunction", "check_repeatable", "differentiable"]


@contextmanager
def differentiable(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Switch off the fused kernels of attention, and of recurrent layers on a GPU. They lack the
    derivatives that are needed here."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), second_order(model, device):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


EXAMPLE = 32
"""Samples on which a network with folded normalisations is compared with the original."""


def check_repeatable(problem: Problem, split: Split) -> None:
    """Check that data and network give the same each time.

    Raises:
        InputError: the same samples give other outputs, or are others, when asked for again.
    """
    count = min(problem.batch_size, EXAMPLE)
    (first, labels), (second, others) = (next(iter(split.batches(count))) for _ in range(2))
    if not equal(first, second) or not torch.equal(labels, others):
        raise InputError(
            "The data are different when they are read again; give them in a fixed order and "
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
    layers before them where that is the same function (:func:`.folding.fold`). The network runs in
    ``dtype`` (None: as its parameters are). Parameters, outputs and loss keep their own.
    ``channels_last`` says how four-dimensional tensors lie in memory.
    """

    model: nn.Module
    loss: SampleLoss
    count: int
    names: tuple[str, ...]
    fixed: dict[str, Tensor]
    folded: Folded | None
    dtype: torch.dtype | None = None
    channels_last: bool = False

    @staticmethod
    def of(problem: Problem, split: Split, count: int | None = None) -> NetworkFunction:
        """The function whose mean over ``split`` is the loss of ``problem``. If ``count`` is given,
        it is the mean over so many samples, and ``split`` is a part of them.

        Raises:
            InputError: the same samples give other outputs, or come out different, when asked for
                again; or outputs have no gradient.
        """
        check_repeatable(problem, split)
        names = problem.layout.names
        fixed = {
            name: tensor.detach()
            for name, tensor in problem.model.named_parameters()
            if name not in set(names)
        }
        example, _ = next(iter(split.batches(min(problem.batch_size, EXAMPLE))))
        leaves = {n: p.detach().requires_grad_() for n, p in problem.parameters().items()}
        with torch.enable_grad(), differentiable(problem.model, problem.device):
            known = problem.outputs(mapped(lambda x: x[:1], example), leaves).requires_grad
        if not known:
            raise InputError(
                "The network gives outputs without a gradient in eval mode; take no_grad, detach "
                "or set_grad_enabled out of its forward."
            )
        folded = fold(problem.model, set(names), example)
        return NetworkFunction(
            problem.model, problem.loss, count or len(split), names, fixed, folded
        )

    def rounded(
        self, dtype: torch.dtype, parameters: Sequence[Tensor], inputs: Inputs
    ) -> NetworkFunction:
        """The same with the network in ``dtype``, tried with ``inputs``.

        Raises:
            UsageError: the network does not run in ``dtype``.
        """
        model = copy.deepcopy(self.model).to(dtype)
        folded = self.folded
        if folded is not None:
            inner = copy.deepcopy(folded.model).to(dtype)
            folded = dataclasses.replace(folded, model=inner)
        found = dataclasses.replace(self, model=model, folded=folded, dtype=dtype)
        try:
            with torch.no_grad():
                found.outputs(parameters, inputs)
        except RuntimeError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            name = str(dtype).removeprefix("torch.")
            raise UsageError(
                f"The network does not run in {name} ({reason}); leave `precision` out."
            ) from None
        return found

    def in_channels_last(self, parameters: Sequence[Tensor], inputs: Inputs) -> NetworkFunction:
        """The same with channels last, if the network's shapes allow it, tried with ``inputs``;
        else the function itself."""
        if (
            not isinstance(inputs, Tensor)
            or inputs.ndim != 4
            or not any(tensor.ndim == 4 for tensor in parameters)
        ):
            return self
        found = dataclasses.replace(self, channels_last=True)
        try:
            with torch.no_grad():
                outputs = found.outputs(parameters, inputs)
                expected = self.outputs(parameters, inputs)
        except RuntimeError:  # a view of a tensor whose dimensions are in another order
            return self
        kind = self.dtype or expected.dtype
        slack = CLOSE * torch.finfo(kind).eps * float(expected.abs().max())
        return found if bool((outputs - expected).abs().max() <= slack) else self

    def outputs(self, free: Sequence[Tensor], inputs: Inputs) -> Tensor:
        """Outputs for ``inputs`` with the free parameters ``free``, in the order of ``names``."""
        model = self.model
        tensors = {**self.fixed, **dict(zip(self.names, free, strict=True))}
        if self.folded is not None:
            model, tensors = self.folded.model, self.folded.tensors(tensors)
        tensors = {name: self._computed(tensor) for name, tensor in tensors.items()}
        with differentiable(model, free[0].device):
            outputs = call(model, tensors, mapped(self._computed, inputs))
        return outputs if self.dtype is None else outputs.to(free[0].dtype)

    def _computed(self, tensor: Tensor) -> Tensor:
        """``tensor`` as the network computes with it; a differentiable function of it."""
        if self.dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(self.dtype)
        if self.channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def share(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What a batch with these ``outputs`` adds to the mean loss; a scalar."""
        return self.loss(outputs, targets).sum() / self.count

    def pack(self, tensor: Tensor) -> Tensor:
        """What a graph keeps in place of ``tensor``: here the tensor itself."""
        return tensor

    def unpack(self, kept: Tensor) -> Tensor:
        """The tensor that :meth:`pack` was given."""
        return kept
