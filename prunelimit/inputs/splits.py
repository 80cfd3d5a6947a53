"""Splits of data: in memory, or behind a map-style data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ..errors import InputError
from .problem import Split

__all__ = ["DatasetSplit", "TensorSplit", "check_deterministic", "draw"]

FLOAT_BYTES = 2**29
"""Bytes images may take once converted; larger sets stay 8-bit and are converted by batch."""


def draw(length: int, count: int, seed: int) -> Tensor:
    """Sorted int64 indices of ``count`` of ``length`` samples, nested in ``count`` for a seed."""
    if count == 0 or count >= length:
        return torch.arange(length)
    order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
    return order[:count].sort().values


class TensorSplit:
    """Samples held in memory.

    ``inputs`` (n, ...) is floating point, or uint8 images (n, channels, ...) that are divided by
    255; ``mean`` and ``std`` (channels,) normalise both. ``targets`` is (n,) int64, or floating
    point for regression.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        device: torch.device,
        dtype: torch.dtype,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self._device, self._dtype = device, dtype
        self._mean, self._std = mean, std
        size = inputs.numel() * torch.finfo(dtype).bits // 8
        if inputs.dtype != torch.uint8 or size <= FLOAT_BYTES:
            inputs = self._convert(inputs)
            self._mean = self._std = None
        self._inputs = inputs.to(device)
        if targets.is_floating_point():
            targets = targets.to(dtype)
        self._targets = targets.to(device)

    def __len__(self) -> int:
        return len(self._targets)

    def _convert(self, inputs: Tensor) -> Tensor:
        scaled = inputs.to(self._dtype) / 255 if inputs.dtype == torch.uint8 else inputs
        scaled = scaled.to(self._dtype)
        if self._mean is None or self._std is None:
            return scaled
        shape = (1, -1) + (1,) * (inputs.ndim - 2)
        mean = torch.tensor(self._mean, dtype=self._dtype, device=inputs.device).view(shape)
        std = torch.tensor(self._std, dtype=self._dtype, device=inputs.device).view(shape)
        return (scaled - mean) / std

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        count = len(self) if order is None else len(order)
        for begin in range(0, count, batch_size):
            chosen: Any = slice(begin, begin + batch_size)
            if order is not None:
                chosen = order[chosen].to(self._device)
            inputs = self._inputs[chosen]
            if inputs.dtype == torch.uint8:
                inputs = self._convert(inputs)
            yield inputs, self._targets[chosen]

    def subset(self, count: int, seed: int) -> TensorSplit:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        if count == 0 or count >= len(self):
            return self
        chosen = draw(len(self), count, seed).to(self._device)
        return TensorSplit(
            self._inputs[chosen],
            self._targets[chosen],
            device=self._device,
            dtype=self._dtype,
            mean=self._mean,
            std=self._std,
        )


class DatasetSplit:
    """Samples of a map-style data set, loaded as they are needed."""

    def __init__(
        self, dataset: Dataset[Any], *, device: torch.device, dtype: torch.dtype, workers: int = 0
    ) -> None:
        self._dataset = dataset
        self._device, self._dtype, self._workers = device, dtype, workers

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        dataset = self._dataset if order is None else Subset(self._dataset, order.tolist())
        loader: DataLoader[Any] = DataLoader(
            dataset, batch_size=batch_size, num_workers=self._workers
        )
        for inputs, targets in loader:
            if targets.is_floating_point():
                targets = targets.to(self._dtype)
            yield inputs.to(self._device, self._dtype), targets.to(self._device)

    def subset(self, count: int, seed: int) -> DatasetSplit:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        if count == 0 or count >= len(self):
            return self
        chosen = Subset(self._dataset, draw(len(self), count, seed).tolist())
        return DatasetSplit(chosen, device=self._device, dtype=self._dtype, workers=self._workers)


def check_deterministic(split: Split, batch_size: int) -> None:
    """Read the first batch twice and compare.

    Raises:
        InputError: the two differ, as random augmentation makes them; curvature would be noise.
    """
    first = next(iter(split.batches(batch_size)))
    again = next(iter(split.batches(batch_size)))
    if not all(torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        raise InputError(
            "The training data differ between two readings; remove random augmentation from the "
            "data set, since curvature needs one fixed loss."
        )
