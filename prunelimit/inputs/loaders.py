"""DataLoaders as data: what one reads, in one fixed order."""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["map_style", "split_of_dataset"]

REMEDY = "give its data set, or tensors"

HELD_BYTES = 2**30
"""Bytes up to which the samples of a data set are read once and stay in memory: decoding an image
takes longer than a small network takes with it, and hundreds of products read it."""


def split_of_dataset(
    data: Dataset[Any] | DataLoader[Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    workers: int = 0,
) -> DatasetSplit | tuple[Tensor, Tensor]:
    """The samples of a data set, or of what a loader reads, in the order of the data set.

    A loader's samples come once each, with its ``collate_fn``, whether it shuffles or not; what its
    sampler leaves out is left out. ``workers`` is how many processes load, those of the loader
    where it is 0.

    Returns:
        Inputs and targets, where they are small enough to be read once and kept, else a split.

    Raises:
        InputError: there is no order, a loader does not give every sample once, or two readings
            differ, as random augmentation makes them.
    """
    if isinstance(data, IterableDataset):
        raise InputError(f"{_named(data)} is a stream, which has no order; {REMEDY}.")
    collate = None
    if isinstance(data, DataLoader):
        workers = workers or data.num_workers
        collate = None if data.collate_fn is default_collate else data.collate_fn
        data = _in_order(data)
    known = _tensors(data) if collate is None else None
    if known is not None:
        return known
    if not len(data):  # type: ignore[arg-type]
        raise InputError(f"{_named(data)} is empty; give at least one sample.")
    split = DatasetSplit(data, device=device, dtype=dtype, workers=workers, collate=collate)
    check_deterministic(split, min(64, len(split)))
    return _read(split) or split


class _Collated(Dataset[Any]):
    """Samples of a data set as a loader's own ``collate_fn`` gives them."""

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any]) -> None:
        self._dataset, self._collate = dataset, collate

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self._collate([self._dataset[index]])
        return inputs[0], targets[0]


def map_style(loader: DataLoader[Any]) -> Dataset[Any]:
    """What ``loader`` reads as a map-style data set, whether it shuffles or not.

    Raises:
        InputError: there is no order, or it does not give every sample once.
    """
    dataset = _in_order(loader)
    if loader.collate_fn is default_collate:
        return dataset
    return _Collated(dataset, loader.collate_fn)


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
        raise InputError(f"A DataLoader makes its batches in a way of its own; {REMEDY}.")
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
    """All samples of ``split``, read once; None where they take too much or differ in shape."""
    first, _ = next(iter(split.batches(1)))
    if first.nbytes * len(split) > HELD_BYTES:
        return None
    batches = list(split.batches(SCAN_BATCH))
    if len({inputs.shape[1:] for inputs, _ in batches}) > 1:
        return None
    return torch.cat([inputs for inputs, _ in batches]), torch.cat([each for _, each in batches])


def _named(dataset: object) -> str:
    return f"The data set {type(dataset).__name__}"
