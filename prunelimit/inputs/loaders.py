"""DataLoaders as data: the samples that a loader reads, in one fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from ..errors import InputError
from .splits import SCAN_BATCH, DatasetSplit, check_deterministic

__all__ = ["Samples", "dataset_split", "split_of_dataset"]

REMEDY = "give a map-style data set, or tensors"

HELD_BYTES = 2**30
"""Bytes up to which the samples of a data set are read once and stay in memory. Decoding an image
takes longer than a small network takes with it, and hundreds of products read it."""


FEW = 64
"""Samples of a data set that are checked for differing sizes."""


class Samples(Dataset[Any]):
    """A list of inputs that differ in size, one for each of ``targets`` (n, ...)."""

    def __init__(self, inputs: Sequence[Tensor], targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._inputs[index], self._targets[index]


def split_of_dataset(
    data: Dataset[Any] | DataLoader[Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    workers: int = 0,
) -> DatasetSplit | tuple[Tensor, Tensor]:
    """The samples of a data set, or of what a loader reads, in the order of the data set.

    A loader's samples come once each, with its ``collate_fn``, whether it shuffles or not. Samples
    that its sampler leaves out are left out. ``workers`` is how many processes load; 0 takes the
    loader's own number.

    Returns:
        Inputs and targets, if they are small enough to be read once and kept; else a split.

    Raises:
        InputError: there is no order, a loader does not give every sample once, or two readings
            differ, as random augmentation makes them.
    """
    plain = not isinstance(data, DataLoader) or data.collate_fn is default_collate
    if plain and not isinstance(data, IterableDataset):
        known = _tensors(_in_order(data) if isinstance(data, DataLoader) else data)
        if known is not None:
            return known
    split = dataset_split(data, device=device, dtype=dtype, workers=workers)
    check_deterministic(split)
    return _read(split) or split


def dataset_split(
    data: Dataset[Any] | DataLoader[Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    workers: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> DatasetSplit:
    """The samples of a data set, or of what a loader reads, as they are needed.

    A loader of batch size 1, and a data set alone, may have samples that differ in size: they are
    given one by one.

    Raises:
        InputError: there is no order, a loader does not give every sample once, or there are none.
    """
    if isinstance(data, IterableDataset):
        raise InputError(f"{_named(data)} is a stream, which has no order; {REMEDY}.")
    collate, alone = None, not isinstance(data, DataLoader)
    looked_at: int | None = FEW
    if isinstance(data, DataLoader):
        workers = workers or data.num_workers
        collate = None if data.collate_fn is default_collate else data.collate_fn
        alone, looked_at = data.batch_size == 1, None
        data = _in_order(data)
    if isinstance(data, Samples):
        looked_at = None
    if not len(data):  # type: ignore[arg-type]
        raise InputError(f"{_named(data)} is empty; give at least one sample.")
    options: dict[str, Any] = {
        "device": device, "dtype": dtype, "mean": mean, "std": std, "workers": workers,
        "collate": collate,
    }  # fmt: skip
    split = DatasetSplit(data, **options)
    return (
        DatasetSplit(data, **options, single=True)
        if alone and _differs(split, looked_at)
        else split
    )


def _differs(split: DatasetSplit, count: int | None) -> bool:
    """Whether samples, or the first ``count``, cannot be put into batches."""
    order = None if count is None else torch.arange(min(count, len(split)))
    try:
        for _ in split.batches(SCAN_BATCH, order=order):
            pass
    except InputError:
        return True
    return False


def _in_order(loader: DataLoader[Any]) -> Dataset[Any]:
    """The data set of ``loader``, or the part of it that is read.

    Raises:
        InputError: it is a stream, makes its own batches, or draws samples by chance.
    """
    dataset, sampler = loader.dataset, loader.sampler
    if isinstance(dataset, IterableDataset):
        raise InputError(
            f"A DataLoader's {type(dataset).__name__} is a stream, which has no order; {REMEDY}."
        )
    if type(loader.batch_sampler) is not BatchSampler:
        raise InputError(f"A DataLoader does not make its batches in torch's usual way; {REMEDY}.")
    if isinstance(sampler, SubsetRandomSampler):
        return Subset(dataset, sorted(int(index) for index in sampler.indices))
    every = isinstance(sampler, SequentialSampler) or (
        isinstance(sampler, RandomSampler)
        and not sampler.replacement
        and sampler.num_samples == len(dataset)  # type: ignore[arg-type]
    )
    if not every:
        raise InputError(
            f"A DataLoader's {type(sampler).__name__} does not give every sample once; {REMEDY}."
        )
    return dataset


def _tensors(dataset: Any) -> tuple[Tensor, Tensor] | None:
    """Inputs and targets of a data set that is nothing but these, whole or in part."""
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    if type(dataset) is Subset:
        whole = _tensors(dataset.dataset)
        if whole is not None:
            chosen = torch.as_tensor(list(dataset.indices), dtype=torch.int64)
            return whole[0][chosen], whole[1][chosen]
    return None


def _read(split: DatasetSplit) -> tuple[Tensor, Tensor] | None:
    """All samples of ``split``, read once; None where they take too much, differ in shape, or are
    several tensors."""
    first, _ = next(iter(split.batches(1)))
    if not isinstance(first, Tensor) or split.single:
        return None
    if first.nbytes * len(split) > HELD_BYTES:
        return None
    batches = list(split.batches(SCAN_BATCH))
    if len({(inputs.shape[1:], each.shape[1:]) for inputs, each in batches}) > 1:
        return None
    return torch.cat([inputs for inputs, _ in batches]), torch.cat([each for _, each in batches])


def _named(dataset: object) -> str:
    return f"The data set {type(dataset).__name__}"
