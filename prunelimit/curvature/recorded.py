"""Products by forward over reverse, recorded once and replayed: the fast route.

Each matrix says how (:mod:`.operators`). Double backward differentiates the backward of a
convolution by convolutions with swapped dimensions, which are slow. Here there are none. And work
of the graph that does not depend on v is not repeated.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..devices import wide
from ..errors import InputError
from ..inputs.structure import Inputs, leaves, rebuilt
from ..randomness import generator
from .double_backward import DoubleBackward
from .function import NetworkFunction
from .memory import storage_of
from .operator import CurvatureOperator
from .recording import Recording, Unrecordable, record

__all__ = ["Recorded"]

VERIFIED = 2
"""Batches of each shape on which a recording is compared with double backward."""


@dataclass(frozen=True)
class _Direction:
    """A vector by parameters, and the results of each recording that depend on it alone."""

    pieces: Sequence[Tensor]
    transformed: dict[Recording, list[Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Prepared:
    """One batch: its recording, the results of it that do not depend on the vector, and its
    memory."""

    recording: Recording
    values: list[Tensor]
    bytes: int


class Recorded:
    """Products with the matrix ``operator`` of ``function``, by batches.

    Batches of a new shape are recorded; the first two of each shape are also multiplied by double
    backward, which must agree.
    """

    def __init__(
        self, function: NetworkFunction, parameters: Sequence[Tensor], operator: CurvatureOperator
    ) -> None:
        self.function = function
        self.operator = operator
        self._parameters = [parameter.detach() for parameter in parameters]
        self._oracle = DoubleBackward(function, parameters, operator)
        self._recordings: dict[tuple[torch.Size, ...], Recording] = {}
        self._verified: dict[Recording, int] = {}

    @property
    def recording_bytes(self) -> int:
        """Memory that the largest recording took while it was made."""
        return max((each.bytes for each in self._recordings.values()), default=0)

    def prepare(self, inputs: Inputs, targets: Tensor) -> _Prepared:
        """Do the part of the products with this batch that does not depend on the vector.

        Raises:
            Unrecordable: the network's derivatives cannot be replayed, or come out different.
        """
        batch = (*leaves(inputs), targets)
        shape = tuple(each.shape for each in batch)
        if shape not in self._recordings:
            self._recordings[shape] = self._record(inputs, targets)
        recording = self._recordings[shape]
        values = recording.prepare(*batch)
        own = {storage_of(each)[0] for each in (*self._parameters, *batch)}
        storages = dict(map(storage_of, values))
        size = sum(bytes for place, bytes in storages.items() if place not in own)
        prepared = _Prepared(recording, values, size)
        if self._verified.get(recording, 0) < VERIFIED:
            self._verify(prepared, inputs, targets)
            self._verified[recording] = self._verified.get(recording, 0) + 1
        return prepared

    def direction(self, pieces: Sequence[Tensor]) -> _Direction:
        """A vector, one tensor per parameter, made ready."""
        return _Direction(pieces)

    def multiply(self, prepared: _Prepared, direction: _Direction, keep: bool) -> Sequence[Tensor]:
        """The batch's share of the product with ``direction``, one tensor per parameter."""
        recording = prepared.recording
        if recording not in direction.transformed:
            direction.transformed[recording] = recording.transform(*direction.pieces)
        return recording.combine(*prepared.values, *direction.transformed[recording])

    def _record(self, inputs: Inputs, targets: Tensor) -> Recording:
        forward = self.operator.forward
        if forward is None:
            raise Unrecordable(f"there is no forward mode of the curvature {self.operator.name}")
        direction = [torch.ones_like(parameter) for parameter in self._parameters]

        def product(
            free: Sequence[Tensor], batch: Sequence[Tensor], vector: Sequence[Tensor]
        ) -> Sequence[Tensor]:
            given = rebuilt(batch[:-1], inputs), batch[-1]
            return forward(self.function, free, given, vector)

        with warnings.catch_warnings():
            # For forward mode torch compiles some formulas by means that it deprecates itself.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return record(product, self._parameters, (*leaves(inputs), targets), direction)
            except Unrecordable:
                raise
            except Exception as error:  # an operator, or a user's own, that has no forward mode
                raise Unrecordable(str(error)) from error

    def _verify(self, prepared: _Prepared, inputs: Inputs, targets: Tensor) -> None:
        draws = generator(0, "verification")
        pieces = [
            torch.randn(p.shape, generator=draws, dtype=p.dtype).to(p.device)
            for p in self._parameters
        ]
        found = self.multiply(prepared, self.direction(pieces), keep=False)
        try:
            graph = self._oracle.prepare(inputs, targets)
        except InputError:  # no second derivatives: the GGN does without, double backward does not
            return
        expected = self._oracle.multiply(graph, pieces, keep=False)
        error, size = (
            torch.stack([wide(each).norm() for each in tensors]).norm()
            for tensors in (
                [f - e for f, e in zip(found, expected, strict=True)],
                expected,
            )
        )
        slack = torch.finfo(self.function.dtype or pieces[0].dtype).eps ** 0.5
        if not bool(error <= slack * size):
            raise Unrecordable("the replayed product differs from double backward's")
