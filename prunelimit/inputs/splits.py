"""Splits of data: in memory, or behind a map-style data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ..errors import InputError
from ..randomness import generator
from .portable import PortableCall, PortableDataset
from .problem import Split
from .resolve import reason

__all__ = [
    "DatasetSplit",
    "SplitSubset",
    "TensorSplit",
    "check_deterministic",
    "check_type",
    "draw",
    "fingerprint",
    "labels_of",
]

FLOAT_BYTES = 2**29
"""Bytes images may take once converted; larger sets stay 8-bit and are converted by batch."""

CODES = (torch.int8, torch.int16, torch.int32, torch.int64)
NUMBERS = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of inputs that are codes, such as those of tokens, and that are numbers."""

SCAN_BATCH = 500

SPREAD = 64
"""Samples that data too large for memory are known by."""


def draw(length: int, count: int, seed: int) -> Tensor:
    """Sorted int64 indices of ``count`` of ``length`` samples, nested in ``count`` for a seed."""
    if count == 0 or count >= length:
        return torch.arange(length)
    order = torch.randperm(length, generator=generator(seed, "samples"))
    return order[:count].sort().values


def check_type(what: str, inputs: Tensor) -> None:
    """Refuse inputs of a type that would lose something.

    Raises:
        InputError: they are neither numbers nor codes.
    """
    if inputs.dtype not in CODES + NUMBERS:
        raise InputError(
            f"{what} are {str(inputs.dtype).removeprefix('torch.')}, which is not read as it is; "
            "give floating-point numbers of 16 bits or more, bytes of images (uint8), or codes of "
            "a signed integer type."
        )


def _convert(
    inputs: Tensor,
    dtype: torch.dtype,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Tensor:
    """Inputs (n, channels, ...) as ``dtype``: bytes divided by 255, channels normalised. Other
    integers, which are codes, become int64 and stay as they are.

    Raises:
        InputError: they are of a type that would lose something.
    """
    check_type("The inputs", inputs)
    if inputs.dtype in CODES:
        return inputs.to(torch.int64)
    scaled = inputs.to(dtype)
    if inputs.dtype == torch.uint8:
        scaled.div_(255)
    if mean is None or std is None:
        return scaled
    shape = (1, -1) + (1,) * (inputs.ndim - 2)
    shift = torch.tensor(mean, dtype=dtype, device=inputs.device).view(shape)
    scale = torch.tensor(std, dtype=dtype, device=inputs.device).view(shape)
    return (scaled - shift).div_(scale)


class TensorSplit:
    """Samples held in memory.

    ``inputs`` (n, ...) is floating point, or uint8 images (n, channels, ...) that are divided by
    255; ``mean`` and ``std`` (channels,) normalise both. Signed integers are codes and stay
    integers. Large sets of bytes stay bytes, converted batch by batch. ``targets`` is (n,) int64,
    or floating point for regression.
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
            inputs = _convert(inputs, dtype, mean, std)
            self._mean = self._std = None
        self._inputs = inputs.to(device)
        self.targets = targets.to(device, dtype if targets.is_floating_point() else torch.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        order = None if order is None else order.to(self._device)
        for begin in range(0, len(self) if order is None else len(order), batch_size):
            end = begin + batch_size
            if order is None:
                inputs, targets = self._inputs[begin:end], self.targets[begin:end]
            else:
                inputs = self._inputs.index_select(0, order[begin:end])
                targets = self.targets.index_select(0, order[begin:end])
            if inputs.dtype == torch.uint8:
                inputs = _convert(inputs, self._dtype, self._mean, self._std)
            yield inputs, targets

    def subset(self, count: int, seed: int) -> TensorSplit:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        if count == 0 or count >= len(self):
            return self
        chosen = draw(len(self), count, seed).to(self._device)
        return TensorSplit(
            self._inputs[chosen],
            self.targets[chosen],
            device=self._device,
            dtype=self._dtype,
            mean=self._mean,
            std=self._std,
        )


class DatasetSplit:
    """Samples of a map-style data set of (input, target) pairs, loaded as they are needed.

    Inputs are converted as in :class:`TensorSplit`. ``workers`` processes load them; ``collate``
    makes a batch of a list of samples, as torch does where it is None.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        device: torch.device,
        dtype: torch.dtype,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        workers: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self.dataset, self.collate = dataset, collate
        self._device, self._dtype, self._workers = device, dtype, workers
        self._mean, self._std = mean, std

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`~prunelimit.inputs.problem.Split`.

        Raises:
            InputError: the data set fails, or gives something else than pairs of tensors.
        """
        dataset = self.dataset if order is None else Subset(self.dataset, order.tolist())
        collate: Any = self.collate
        if self._workers:
            dataset = PortableDataset(dataset)
            collate = None if collate is None else PortableCall(collate)
        # A loader without a generator of its own draws from the global one.
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=self._workers,
            collate_fn=collate,
            generator=torch.Generator().manual_seed(0),
        )
        batches: Any = None
        while True:
            try:
                batches = iter(loader) if batches is None else batches
                batch = next(batches, None)
                if batch is None:
                    return
                inputs, targets = (torch.as_tensor(piece) for piece in batch)
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"A {type(self.dataset).__name__} does not give (input, target) pairs of "
                    f"tensors ({reason(error)}); correct it."
                ) from error
            kind = self._dtype if targets.is_floating_point() else torch.int64
            converted = _convert(inputs.to(self._device), self._dtype, self._mean, self._std)
            yield converted, targets.to(self._device, kind)

    def subset(self, count: int, seed: int) -> DatasetSplit:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        if count == 0 or count >= len(self):
            return self
        return DatasetSplit(
            Subset(self.dataset, draw(len(self), count, seed).tolist()),
            device=self._device,
            dtype=self._dtype,
            mean=self._mean,
            std=self._std,
            workers=self._workers,
            collate=self.collate,
        )


class SplitSubset:
    """The samples of ``split`` at ``indices`` (n,) int64, in that order."""

    def __init__(self, split: Split, indices: Tensor) -> None:
        self._split = split
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        chosen = self._indices if order is None else self._indices[order]
        return self._split.batches(batch_size, order=chosen)

    def subset(self, count: int, seed: int) -> Split:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        if count == 0 or count >= len(self):
            return self
        return SplitSubset(self._split, self._indices[draw(len(self), count, seed)])


def labels_of(split: Split) -> Tensor:
    """All targets of ``split``, in order; without reading the inputs where that can be."""
    if isinstance(split, TensorSplit):
        return split.targets
    if isinstance(split, DatasetSplit) and split.collate is None:
        known = getattr(split.dataset, "targets", None)
        if isinstance(known, (list, Tensor)) and len(known) == len(split) and _plain(split.dataset):
            return torch.as_tensor(known)
    return torch.cat([targets for _, targets in split.batches(SCAN_BATCH)])


def _plain(dataset: Any) -> bool:
    """Whether ``dataset.targets`` are the targets that it gives: of others' data sets that is only
    seen in the samples, which a class of the user's or a transform may change."""
    transforms = ("transforms", "target_transform")
    changed = any(getattr(dataset, name, None) is not None for name in transforms)
    return type(dataset).__module__.split(".")[0] in ("torchvision", "prunelimit") and not changed


def fingerprint(split: Split) -> str:
    """A hash of the samples of ``split``, by which work that was interrupted knows its data.

    Of data in memory all count; of others all targets, and the inputs of some spread over the
    split.
    """
    found = hashlib.blake2b(digest_size=16)
    labels = labels_of(split)
    if isinstance(split, TensorSplit):
        batches = split.batches(SCAN_BATCH)
    else:
        step = max(1, len(split) // SPREAD)
        batches = split.batches(SPREAD, order=torch.arange(0, len(split), step))
    for piece in (labels, *(inputs for inputs, _ in batches)):
        found.update(f"{piece.dtype} {tuple(piece.shape)}".encode())
        found.update(piece.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def check_deterministic(split: Split, batch_size: int) -> None:
    """Read the first batch twice and compare.

    Raises:
        InputError: the two differ, as random augmentation makes them; curvature would be noise.
    """
    first = next(iter(split.batches(batch_size)))
    again = next(iter(split.batches(batch_size)))
    if not bool(torch.isfinite(first[0]).all()):
        raise InputError("The data hold a NaN or infinity; remove it.")
    if not all(torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        raise InputError(
            "The training data differ between two readings; remove random augmentation from the "
            "data set, since curvature needs one fixed loss."
        )
