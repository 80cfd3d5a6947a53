"""A curvature matrix says how products with it are taken, and how its eigenvalues are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from .. import plugins
from ..inputs.structure import Inputs
from ..plugins import Plugin

__all__ = ["CurvatureOperator", "Derivatives", "Function", "Reading", "operator_of"]

Reading = Callable[[np.ndarray], np.ndarray]
"""Eigenvalues (n,) -> the same, made non-negative, as the theory needs them."""


class Function(Protocol):
    """What is differentiated, as :class:`.function.NetworkFunction` is."""

    def outputs(self, free: Sequence[Tensor], inputs: Inputs) -> Tensor:
        """Outputs for ``inputs`` with the free parameters ``free``."""
        ...

    def share(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What a batch with these ``outputs`` adds to the mean loss; a scalar."""
        ...

    def pack(self, tensor: Tensor) -> Any:
        """What the graph keeps in place of ``tensor``; a tensor counts as memory."""
        ...

    def unpack(self, kept: Any) -> Tensor:
        """The tensor that :meth:`pack` was given."""
        ...


@dataclass(frozen=True)
class Derivatives:
    """Differentiable tensors of one batch, from which products are taken.

    ``leaves`` are the free parameters. ``first`` holds one tensor per leaf. Each is checked to be
    differentiable once more. ``held`` is what else a product needs, by name.
    """

    leaves: tuple[Tensor, ...]
    first: tuple[Tensor, ...]
    held: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CurvatureOperator(Plugin):
    """A symmetric matrix of the mean training loss: the object CURVATURE of a file in
    ``operators``.

    ``readings`` says by name how its eigenvalues are read. None is negative afterwards. The first
    reading is the headline's. ``differentiate(function, leaves, inputs, targets)`` makes the graph
    of a batch. ``multiply(derivatives, direction, keep)`` gives the batch's share of the product
    with ``direction``, one tensor per leaf. With ``keep`` the graph stays usable.

    ``forward(function, free, (inputs, targets), direction)`` is the same share by forward over
    reverse, in torch.func. It is recorded and replayed, which is faster. It is compared with the
    former. ``second_derivatives`` says whether it needs second derivatives of the network's
    operators.

    ``samples`` is "carrying" if the samples on which the network is least sure make up the matrix.
    They are then read first. It is "drawn" if a uniform draw is read. ``linear`` says that the
    matrix is that of the linearised network. Its loss is not the network's own.
    """

    readings: Mapping[str, Reading]
    differentiate: Callable[[Function, tuple[Tensor, ...], Inputs, Tensor], Derivatives]
    multiply: Callable[[Derivatives, Sequence[Tensor], bool], Sequence[Tensor]]
    forward: (
        Callable[[Function, Sequence[Tensor], Sequence[Any], Sequence[Tensor]], Sequence[Tensor]]
        | None
    ) = None
    second_derivatives: bool = True
    samples: str = "drawn"
    linear: bool = False

    @property
    def headline(self) -> str:
        """The reading of the limit that the user is told."""
        return next(iter(self.readings))


def operator_of(kind: str | CurvatureOperator) -> CurvatureOperator:
    """The matrix of that name.

    Raises:
        UsageError: there is none of that name.
        InputError: it cannot be imported.
    """
    if isinstance(kind, CurvatureOperator):
        return kind
    found: CurvatureOperator = plugins.find("curvature", kind)
    return found
