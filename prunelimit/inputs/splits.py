"""Splits of data: in memory, or behind a map-style data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ..errors import InputError
from ..hashing import digest
from ..randomness import generator
from .portable import PortableCall, PortableDataset
from .problem import Split
from .resolve import reason
from .structure import Inputs, equal, leaves, mapped, plain

__all__ = [
    "DatasetSplit",
    "SplitSubset",
    "TensorSplit",
    "check_deterministic",
    "check_inputs",
    "check_type",
    "draw",
    "fingerprint",
    "shuffled",
    "target_batches",
]

FLOAT_BYTES = 2**29
"""Most bytes of images once converted; larger sets stay 8-bit and are converted by batch."""

CODES = (torch.int8, torch.int16, torch.int32, torch.int64)
NUMBERS = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of inputs that are codes, such as tokens, and types that are numbers."""

SCAN_BATCH = 500

SPREAD = 64
"""Samples by which data that are too large for memory are identified."""


def draw(length: int, count: int, seed: int) -> Tensor:
    """Sorted int64 indices of ``count`` of ``length`` samples, nested in ``count`` for a seed."""
    if count == 0 or count >= length:
        return torch.arange(length)
    return _drawn(length, count, seed).sort().values


def _drawn(length: int, count: int, seed: int) -> Tensor:
    """The same indices in the order that they were drawn in; all of them where ``count`` is 0."""
    order = torch.randperm(length, generator=generator(seed, "samples"))
    return order[: count or length]


def check_inputs(what: str, inputs: Inputs) -> None:
    """Refuse inputs of types that would lose something; masks (bool) may stand beside others.

    Raises:
        InputError: a tensor holds neither numbers nor codes. Or it holds bytes beside other inputs;
            bytes are images only if they are the only input.
    """
    if isinstance(inputs, Tensor):
        check_type(what, inputs)
        return
    for each in leaves(inputs):
        if each.dtype == torch.uint8:
            raise InputError(
                f"{what} hold a tensor of uint8 among several; give images as floating-point "
                "numbers, codes as signed integers, and masks as bool."
            )
        if each.dtype != torch.bool:
            check_type(what, each)


def check_type(what: str, inputs: Tensor) -> None:
    """Refuse inputs of a type that would lose something.

    Raises:
        InputError: they are neither numbers nor codes.
    """
    if inputs.dtype not in CODES + NUMBERS:
        raise InputError(
            f"{what} are {str(inputs.dtype).removeprefix('torch.')}, which cannot be read without "
            "change; give floating-point numbers of 16 bits or more, bytes of images (uint8), or "
            "codes as signed integers."
        )


def _targets(targets: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Targets as losses take them: classes are int64, numbers and answers (bool) ``dtype``."""
    answers = targets.dtype == torch.bool and targets.ndim > 1
    if targets.is_complex():
        return targets.to(device)
    return targets.to(device, dtype if targets.is_floating_point() or answers else torch.int64)


def _convert(
    inputs: Inputs,
    dtype: torch.dtype,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Inputs:
    """Inputs (n, channels, ...) as ``dtype``: bytes divided by 255, channels normalised. Other
    integers, which are codes, become int64 and stay as they are. So does each of several tensors,
    without normalisation; masks stay bool.

    Raises:
        InputError: they are of a type that would lose something.
    """
    check_inputs("The inputs", inputs)
    if not isinstance(inputs, Tensor):
        return mapped(
            lambda x: x if x.dtype == torch.bool else _convert(x, dtype, None, None), inputs
        )
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
    integers. Large sets of bytes stay bytes, converted batch by batch. Several tensors come in a
    tuple or a dict. ``targets`` (n, ...) are int64 classes, or floating-point numbers; several
    answers of type bool become those.
    """

    def __init__(
        self,
        inputs: Inputs,
        targets: Tensor,
        *,
        device: torch.device,
        dtype: torch.dtype,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self._device, self._dtype = device, dtype
        self._mean, self._std = mean, std
        inputs = plain(inputs, len(targets))
        size = sum(each.numel() for each in leaves(inputs)) * torch.finfo(dtype).bits // 8
        self._bytes = isinstance(inputs, Tensor) and inputs.dtype == torch.uint8
        if not self._bytes or size <= FLOAT_BYTES:
            inputs = _convert(inputs, dtype, mean, std)
            self._mean = self._std = None
            self._bytes = False
        self._inputs = mapped(lambda x: x.to(device), inputs)
        self.targets = _targets(targets, device, dtype)
        self._digest: tuple[object, str] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        order = None if order is None else order.to(self._device)
        for begin in range(0, len(self) if order is None else len(order), batch_size):
            end = begin + batch_size
            if order is None:
                inputs = _rows(self._inputs, begin, end)
                targets = self.targets[begin:end]
            else:
                inputs = _chosen(self._inputs, order[begin:end])
                targets = self.targets.index_select(0, order[begin:end])
            if self._bytes:
                inputs = _convert(inputs, self._dtype, self._mean, self._std)
            yield inputs, targets

    def digest(self) -> str:
        """A hash of all samples and of how they are converted; taken once while nothing writes to
        them."""
        tensors = (*leaves(self._inputs), self.targets)
        state = tuple(
            (id(each), None if each.is_inference() else each._version) for each in tensors
        )
        if self._digest is None or self._digest[0] != state:
            facts = (self._dtype, self._bytes, self._mean, self._std)
            self._digest = state, digest((*facts, *tensors))
        return self._digest[1]

    def subset(self, count: int, seed: int) -> TensorSplit:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        if count == 0 or count >= len(self):
            return self
        chosen = draw(len(self), count, seed).to(self._device)
        return TensorSplit(
            _chosen(self._inputs, chosen),
            self.targets[chosen],
            device=self._device,
            dtype=self._dtype,
            mean=self._mean,
            std=self._std,
        )


def _rows(inputs: Inputs, begin: int, end: int) -> Inputs:
    return mapped(lambda x: x[begin:end], inputs)


def _chosen(inputs: Inputs, order: Tensor) -> Inputs:
    return mapped(lambda x: x.index_select(0, order), inputs)


class DatasetSplit:
    """Samples of a map-style data set of (input, target) pairs, loaded as they are needed.

    Inputs are converted as in :class:`TensorSplit`. If a batch is a dict with ``labels``, those are
    the targets. ``workers`` processes load them. ``collate`` makes a batch from a list of samples;
    None takes torch's. ``single`` is for samples that differ in size: every batch then has one.
    ``ragged`` says that batches may differ in shape.
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
        single: bool = False,
    ) -> None:
        self.dataset, self.collate, self.single = dataset, collate, single
        self.ragged = single or collate is not None
        self._device, self._dtype, self._workers = device, dtype, workers
        self._mean, self._std = mean, std

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
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
            batch_size=1 if self.single else batch_size,
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
                inputs, targets = _pair(batch)
            except InputError:
                raise
            except Exception as error:
                padding = ""
                if "equal size" in str(error):
                    padding = (
                        ", or, where samples differ in size, give a DataLoader whose `collate_fn` "
                        "pads them and adds a mask, or one of batch size 1"
                    )
                raise InputError(
                    f"A {type(self.dataset).__name__} does not give (input, target) pairs of "
                    f"tensors ({reason(error)}); correct that data set{padding}."
                ) from error
            there = mapped(lambda x: x.to(self._device), inputs)
            converted = _convert(there, self._dtype, self._mean, self._std)
            yield converted, _targets(targets, self._device, self._dtype)

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
            single=self.single,
        )


def _pair(batch: Any) -> tuple[Inputs, Tensor]:
    """Inputs and targets of a collated batch."""
    if isinstance(batch, Mapping) and "labels" in batch:
        rest = {name: each for name, each in batch.items() if name != "labels"}
        batch = rest, batch["labels"]
    elif isinstance(batch, Mapping):
        raise ValueError("a batch is a dict without labels")
    given, targets = batch
    targets = torch.as_tensor(targets)
    if targets.ndim < 1:
        raise ValueError("the targets have no row per sample")
    return plain(given, len(targets)), targets


class SplitSubset:
    """The samples of ``split`` at ``indices`` (n,) int64, in that order."""

    def __init__(self, split: Split, indices: Tensor) -> None:
        self._split = split
        self._indices = indices
        self.single = bool(getattr(split, "single", False))
        self.ragged = bool(getattr(split, "ragged", False))

    def __len__(self) -> int:
        return len(self._indices)

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        chosen = self._indices if order is None else self._indices[order]
        return self._split.batches(batch_size, order=chosen)

    def subset(self, count: int, seed: int) -> Split:
        """See :class:`~prunelimit.inputs.problem.Split`."""
        if count == 0 or count >= len(self):
            return self
        return SplitSubset(self._split, self._indices[draw(len(self), count, seed)])


def shuffled(split: Split, count: int, seed: int) -> Split:
    """The samples of ``split.subset(count, seed)`` in the order that they were drawn in.

    Data often lie class by class. Whoever reads the first few of some samples needs this order.
    """
    return SplitSubset(split, _drawn(len(split), count, seed))


def target_batches(split: Split) -> Iterator[Tensor]:
    """All targets of ``split``, in order, in one piece or by batches. If possible, inputs are not
    read."""
    if isinstance(split, TensorSplit):
        yield split.targets
        return
    if isinstance(split, DatasetSplit) and split.collate is None:
        known = getattr(split.dataset, "targets", None)
        if isinstance(known, (list, Tensor)) and len(known) == len(split) and _plain(split.dataset):
            yield torch.as_tensor(known)
            return
    for _, targets in split.batches(SCAN_BATCH):
        yield targets


def _plain(dataset: Any) -> bool:
    """Whether ``dataset.targets`` are the targets that it gives. Of others' data sets that is only
    seen in the samples. A class of the user's or a transform may change those."""
    transforms = ("transforms", "target_transform")
    changed = any(getattr(dataset, name, None) is not None for name in transforms)
    return type(dataset).__module__.split(".")[0] in ("torchvision", "prunelimit") and not changed


def fingerprint(split: Split) -> str:
    """A hash of the samples of ``split``. It tells whether interrupted work belongs to these data.

    For data in memory all samples count. For others all targets count, and the inputs of some
    samples spread over the split.
    """
    if isinstance(split, TensorSplit):
        return split.digest()
    step = max(1, len(split) // SPREAD)
    batches = split.batches(SPREAD, order=torch.arange(0, len(split), step))
    pieces = (each for inputs, _ in batches for each in leaves(inputs))
    return digest(itertools.chain(target_batches(split), pieces))


def check_deterministic(split: Split) -> None:
    """Read some samples, spread over the split, twice and compare.

    Raises:
        InputError: the two differ, as random augmentation makes them; curvature would be noise.
    """
    order = torch.arange(0, len(split), max(1, len(split) // SPREAD))[:SPREAD]
    # Both readings at once. Samples that differ in size are batches of one.
    for first, again in zip(
        split.batches(SPREAD, order=order), split.batches(SPREAD, order=order), strict=True
    ):
        numbers = [each for each in leaves(first[0]) if each.is_floating_point()]
        if isinstance(first[0], Tensor) and not all(bool(torch.isfinite(x).all()) for x in numbers):
            raise InputError("The data hold a NaN or infinity; remove that sample.")
        if not all(map(equal, first, again)):
            raise InputError(
                "The data differ between two readings; remove random augmentation from the data "
                "set, since curvature needs one fixed loss."
            )
