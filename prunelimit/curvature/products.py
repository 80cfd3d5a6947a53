"""Exact products of curvature matrices (:mod:`.operators`) with vectors.

They belong to the mean loss over a split in eval mode: every sample weighs the same whatever the
batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..devices import bfloat16_tiles
from ..errors import InputError, NumericalError, UsageError
from ..inputs.problem import Problem, Split
from ..inputs.resolve import reason
from ..inputs.structure import Inputs
from ..randomness import generator
from .double_backward import DoubleBackward
from .function import NetworkFunction
from .memory import available_bytes, give_back
from .operator import CurvatureOperator, operator_of
from .operators.ggn import CURVATURE as GGN
from .recorded import Recorded
from .recording import Unrecordable

__all__ = ["PRECISIONS", "CurvatureProduct"]

PRECISIONS: dict[str, torch.dtype | None] = {"full": None, "bfloat16": torch.bfloat16}
"""Arithmetic of the network within products; None is the problem's own."""

BATCH_BYTES = 96 * 2**20
"""Most bytes of graph per batch on a CPU. Larger ones leave the caches and raise the peak of
memory."""

MINIMUM_BATCH = 8
"""Least samples of a batch, however large their graph."""

WORTH_RECORDING = 64 * 2**20
"""Products are recorded if the graphs of all batches hold at least so many bytes.

Recording takes torch seconds to get ready for; below this a hundred products take less.
"""


CHANNELS_LAST = (torch.float32, torch.bfloat16)
"""Types in which convolutions on a CPU are faster with channels last. In float64 there are no such
kernels."""

WORTH_TRANSPOSING = 8
"""Channels last pay if a batch's graph has at least so many bytes per byte of parameters.

Every product then has to reorder its vector and each batch's result. A tenth of the product is
gained.
"""


class _Route(Protocol):
    """A way to multiply: batches and vectors are made ready, then combined.

    The result of ``prepare`` tells its memory in ``bytes``.
    """

    def prepare(self, inputs: Inputs, targets: Tensor) -> Any: ...

    def direction(self, pieces: Sequence[Tensor]) -> Any: ...

    def multiply(self, prepared: Any, direction: Any, keep: bool) -> Sequence[Tensor]: ...


class CurvatureProduct:
    """v -> A v for the mean loss of ``split``: a matvec over the flat free parameters. A is the
    matrix that ``kind`` names: the Hessian, the GGN, or a plug-in's.

    ``route`` is "recorded", "double-backward" or "auto". The first is forward over reverse,
    recorded and replayed: fastest. The second is possible with every network. With "auto" it is the
    first where the work is worth it and the network allows, else the second. What does not depend
    on v is kept between products for as many batches as fit into ``memory_bytes`` (default: half of
    what is free). It is made anew for the rest. Either way the numbers are the same. On a CPU,
    batches are no larger than caches like, and convolutions run with channels last where that pays,
    by a rule of sizes and types alone. ``precision`` is "full", "bfloat16" or "auto". With "auto"
    it is bfloat16 on a CPU with tiles of it, for float32 and work that is recorded, where the
    network runs in it. Bfloat16 rounds the parameters and all that the network computes. Outputs,
    loss, vectors and sums stay in float32. ``rounding_error`` is what it changes: |difference| /
    |product| for one random vector on the first batch (None: in full, or by "auto"). ``products``
    counts the vectors. ``kept_bytes`` is what is kept, ``batch_bytes`` the most that a batch takes.
    If ``split`` is a part of ``count`` samples, products and gradient are that part's share of the
    whole.

    Raises:
        UsageError: there is no such ``kind``, ``route`` or
            ``precision``, or that is not float32's or the network does not run in it.
        InputError: an operator of the network cannot be differentiated twice.
        Unrecordable: ``route`` is "recorded" and the network cannot be recorded.
    """

    def __init__(
        self,
        problem: Problem,
        split: Split,
        kind: str | CurvatureOperator = "hessian",
        *,
        memory_bytes: int | None = None,
        route: str = "auto",
        count: int | None = None,
        precision: str = "full",
    ) -> None:
        operator = operator_of(kind)
        if route not in ("auto", "recorded", "double-backward"):
            raise UsageError(
                f"There is no route {route!r}; choose auto, recorded or double-backward."
            )
        if precision not in (*PRECISIONS, "auto"):
            raise UsageError(f"There is no precision {precision!r}; choose full, bfloat16 or auto.")
        dtype = PRECISIONS.get(precision)
        if dtype is not None and problem.dtype != torch.float32:
            raise UsageError(
                "`precision` bfloat16 works only with `dtype` float32; give that `dtype`, or "
                "leave `precision` out."
            )
        self.problem = problem
        self.split = split
        self.operator = operator
        self.rounding_error: float | None = None
        self.products = 0
        self.seconds = 0.0
        self.value = math.nan
        """The mean loss, once the gradient was asked for; for a part of the samples, its share."""
        self._function = NetworkFunction.of(problem, split, count)
        self._budget = (
            available_bytes(problem.device) // 2 if memory_bytes is None else memory_bytes
        )
        self._route: _Route = DoubleBackward(self._function, self._parameters(), operator)
        try:
            per_sample = self._bytes_per_sample()
        except InputError as error:
            per_sample, route = self._without_second_derivatives(error)
        self._batch_size = samples_of_batch(problem, len(split), per_sample)
        self._batches = -(-len(split) // self._batch_size)
        self._exact = self._laid_out(self._function, per_sample)
        self._function = self._exact
        # Every shape of a batch is recorded anew.
        alike = not getattr(split, "ragged", False)
        worth = alike and per_sample * len(split) >= WORTH_RECORDING
        tiles = problem.dtype == torch.float32 and bfloat16_tiles(problem.device)
        if dtype is not None or (precision == "auto" and worth and tiles):
            few, _ = self._few()
            try:
                self._function = self._exact.rounded(torch.bfloat16, self._parameters(), few)
            except UsageError:
                if dtype is not None:
                    raise
        self._route = DoubleBackward(self._function, self._parameters(), operator)
        self.kept_bytes = self.batch_bytes = 0
        self._kept: list[Any] = []
        if route == "recorded" or (route == "auto" and worth):
            try:
                self._record()
            except Unrecordable:
                if route == "recorded":
                    raise
                if precision == "auto":
                    self._function = self._exact
                    self._route = DoubleBackward(self._exact, self._parameters(), operator)
        if not self._kept:
            self._kept = self._keep(self._route)
        if dtype is not None:
            self.rounding_error = self._rounding_error()

    @property
    def dimension(self) -> int:
        """D, the length of the vectors."""
        return self.problem.layout.size

    @property
    def route(self) -> str:
        """The route taken: "recorded" or "double-backward"."""
        return "recorded" if isinstance(self._route, Recorded) else "double-backward"

    @property
    def retained(self) -> bool:
        """Whether what does not depend on the vector is kept for every batch."""
        return len(self._kept) == self._batches

    def __call__(self, vectors: Tensor) -> Tensor:
        """The product with one vector (D,) or with each row of (k, D), in the problem's dtype.

        The rows of a block share what has to be made anew.
        """
        begin = time.perf_counter()
        rows = vectors.reshape(-1, self.dimension)
        directions = [
            self._route.direction(tuple(self.problem.layout.unflatten(row).values()))
            for row in rows
        ]
        total = torch.zeros_like(rows)
        sums = [tuple(self.problem.layout.unflatten(row).values()) for row in total]
        for prepared, kept in self._prepared():
            for place, direction in enumerate(directions):
                keep = kept or place + 1 < len(directions)
                pieces = self._route.multiply(prepared, direction, keep)
                for added, piece in zip(sums[place], pieces, strict=True):
                    added.add_(piece)
        self.products += len(rows)
        self.seconds += time.perf_counter() - begin
        return total.view_as(vectors)

    def gradient(self) -> Tensor:
        """Gradient of the mean loss, shape (D,), in full precision; the loss is then :attr:`value`.

        Raises:
            NumericalError: it is not finite.
        """
        value = 0.0
        total = torch.zeros(self.dimension, dtype=self.problem.dtype, device=self.problem.device)
        for inputs, targets in self.split.batches(self._batch_size):
            leaves = [p.detach().requires_grad_() for p in self._parameters()]
            share = self._exact.share(self._exact.outputs(leaves, inputs), targets)
            pieces = torch.autograd.grad(share, leaves, materialize_grads=True)
            total += torch.cat([piece.reshape(-1) for piece in pieces])
            value += float(share.detach())
        self.value = value
        if not bool(torch.isfinite(total).all()):
            raise NumericalError(
                "The gradient of the loss is not finite; check the weights, or use `dtype` float64."
            )
        return total

    @property
    def recording_bytes(self) -> int:
        """Memory that recording took at its peak; 0 on the other route."""
        return self._route.recording_bytes if isinstance(self._route, Recorded) else 0

    def _parameters(self) -> list[Tensor]:
        return list(self.problem.parameters().values())

    def _bytes_per_sample(self) -> float:
        """Bytes per sample of the graph that double backward keeps; more than zero.

        Raises:
            InputError: the network cannot be differentiated so. Some operators say that only when
                they are tried.
        """
        inputs, targets = self._few()
        beside = self.dimension * self.problem.dtype.itemsize
        pieces = [torch.ones_like(parameter) for parameter in self._parameters()]
        try:
            prepared = self._route.prepare(inputs, targets)
            bytes_kept: int = prepared.bytes
            self._route.multiply(prepared, self._route.direction(pieces), False)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "memory" in str(error):
                raise
            raise InputError(
                f"The network cannot be differentiated twice ({reason(error)}); replace the "
                "operator."
            ) from error
        return max(1.0, (bytes_kept - beside) / len(targets))

    def _laid_out(self, function: NetworkFunction, per_sample: float) -> NetworkFunction:
        """``function``, with channels last where that pays."""
        parameters = self.dimension * self.problem.dtype.itemsize
        rule = (
            self.problem.device.type == "cpu"
            and self.problem.dtype in CHANNELS_LAST
            and per_sample * self._batch_size >= WORTH_TRANSPOSING * parameters
        )
        return function.in_channels_last(self._parameters(), self._few()[0]) if rule else function

    def _rounding_error(self) -> float:
        """The change of a random vector's product by rounding, on the first batch, relative to the
        product."""
        batch = next(self._examples())
        draws = generator(0, "rounding")
        vector = torch.randn(self.dimension, generator=draws, dtype=self.problem.dtype)
        pieces = tuple(self.problem.layout.unflatten(vector.to(self.problem.device)).values())
        exact: _Route = DoubleBackward(self._exact, self._parameters(), self.operator)
        try:
            prepared = exact.prepare(*batch)
        except InputError:  # the GGN does without second derivatives, double backward does not
            exact = Recorded(self._exact, self._parameters(), self.operator)
            prepared = exact.prepare(*batch)
        products = [
            self.problem.layout.flatten(dict(zip(self.problem.layout.names, each, strict=True)))
            for each in (
                exact.multiply(prepared, exact.direction(pieces), False),
                self._route.multiply(
                    self._route.prepare(*batch), self._route.direction(pieces), False
                ),
            )
        ]
        size, apart = products[0].norm(), (products[1] - products[0]).norm()
        return float(apart / size) if bool(size > 0) else float(apart > 0)

    def _few(self) -> tuple[Inputs, Tensor]:
        """A few samples, enough to measure what one takes."""
        chosen = torch.arange(min(MINIMUM_BATCH, len(self.split)))
        return next(iter(self.split.batches(len(chosen), order=chosen)))

    def _without_second_derivatives(self, error: InputError) -> tuple[float, str]:
        """Bytes per sample, and the route, for a network that allows only products with the GGN.

        Raises:
            InputError: another matrix is wanted, or the GGN is not possible either.
        """
        inputs, targets = self._few()
        able = GGN if self.operator.second_derivatives else self.operator
        try:
            prepared = Recorded(self._function, self._parameters(), able).prepare(inputs, targets)
        except (Unrecordable, RuntimeError):
            raise error from None
        if able is not self.operator:
            raise InputError(f"{str(error).rstrip('.')}, or give `curvature` ggn.") from None
        return max(1.0, prepared.bytes / len(targets)), "recorded"

    def _record(self) -> None:
        """Take the recorded route.

        Raises:
            Unrecordable: the network does not allow it; nothing has changed.
        """
        recorded = Recorded(self._function, self._parameters(), self.operator)
        for batch in self._examples():
            recorded.prepare(*batch)
            give_back()
        self._kept = self._keep(recorded)
        give_back()
        self._route = recorded

    def _examples(self) -> Iterator[tuple[Inputs, Tensor]]:
        """The first, the second and the last batch. They have every shape that occurs."""
        size, count = self._batch_size, len(self.split)
        for start in sorted({0, min(size, (self._batches - 1) * size), (self._batches - 1) * size}):
            chosen = torch.arange(start, min(start + size, count))
            yield from self.split.batches(size, order=chosen)

    def _keep(self, route: _Route) -> list[Any]:
        """Prepared batches, from the first on, as many as fit."""
        kept: list[Any] = []
        room, self.batch_bytes = self._budget, 0
        for inputs, targets in self.split.batches(self._batch_size):
            if room <= 0:
                break
            prepared = route.prepare(inputs, targets)
            self.batch_bytes = max(self.batch_bytes, prepared.bytes)
            room -= prepared.bytes
            if room < 0:
                break
            kept.append(prepared)
        self.kept_bytes = sum(each.bytes for each in kept)
        return kept

    def _prepared(self) -> Iterator[tuple[Any, bool]]:
        """Every batch, and whether it is kept."""
        for prepared in self._kept:
            yield prepared, True
        if self.retained:
            return
        for place, batch in enumerate(self.split.batches(self._batch_size)):
            if place >= len(self._kept):
                yield self._route.prepare(*batch), False


def samples_of_batch(problem: Problem, count: int, bytes_of_sample: float) -> int:
    """Samples of one batch, if there are ``count`` whose graphs take so many bytes each.

    On the CPU its graph stays near the caches. No smaller batch is left at the end where that takes
    no batch of less than half as many, since each shape is recorded by itself.
    """
    most = problem.batch_size
    if problem.device.type != "cpu":
        return most
    most = min(most, max(MINIMUM_BATCH, int(BATCH_BYTES / bytes_of_sample)))
    sizes = (size for size in range(most, most // 2, -1) if count % size == 0)
    return next(sizes, most)
