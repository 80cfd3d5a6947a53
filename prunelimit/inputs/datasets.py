"""Data by name: embedded, torchvision's, folders of images, arrays, and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .. import plugins
from ..config import DataConfig, RunConfig
from ..errors import InputError, UsageError
from ..values import is_attribute
from .arrays import samples, tensors
from .device import device_of, dtype_of
from .loaders import Samples, dataset_split, split_of_dataset
from .loss import DEFAULT_FORM
from .problem import Split
from .resolve import did_you_mean, guarded, reason, resolve_attribute
from .source import DataSource, Moments, Raw, Sets
from .splits import DatasetSplit, TensorSplit, check_deterministic, check_inputs
from .structure import Inputs, leaves, mapped, shape_of
from .targets import Targets, check_targets

__all__ = ["Data", "load_data", "split_of"]


@dataclass(frozen=True)
class Data:
    """Both splits. ``input_shape`` is that of one sample; () if a sample has several tensors or
    samples differ in size. ``classes`` is 0 if ``targets`` are numbers. ``mean`` and ``std`` are
    those that were applied."""

    train: Split
    test: Split
    targets: Targets
    classes: int
    input_shape: tuple[int, ...]
    spec: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


Shapes = tuple[tuple[int, ...], tuple[int, ...]]


def load_data(config: DataConfig, run: RunConfig) -> Data:
    """The data that ``config`` names, on the device and of the dtype that ``run`` names.

    Raises:
        UsageError: no data are named, the name is unknown, or an option does not fit.
        InputError: the data cannot be read or cannot be used.
    """
    if config.data is None:
        raise UsageError("No data are named; give `data`, for example mnist.")
    if config.image_size is not None and not config.data.startswith("folder:"):
        raise UsageError(
            f"`image_size` applies to folder:PATH, not to {config.data}; leave `image_size` out."
        )
    device = device_of(run.device)
    dtype = dtype_of(run.dtype, device)
    spec = config.data
    read, usual = _reader(spec, config)
    moments = _moments(config, usual)
    found = read()
    mean, std = moments if moments is not None else (None, None)
    options: dict[str, Any] = {"device": device, "dtype": dtype, "mean": mean, "std": std}
    if len(found) == 4:
        whole, test, shapes = _in_memory(spec, found, options)
    else:
        whole, test, shapes = _behind_datasets(spec, found, options, run.workers)
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{spec} has inputs of shape {shapes[0]} for training but {shapes[1]} for test; make "
            "them the same."
        )
    ignored = DEFAULT_FORM.ignored if config.ignore_index is None else config.ignore_index
    targets = check_targets(spec, whole, test, ignored)
    train = whole.subset(config.train_samples or 0, run.seed)
    if run.batch_size is not None and run.batch_size > len(train):
        raise UsageError(
            f"`batch_size` is {run.batch_size}, more than the number of training samples, "
            f"{len(train)}; lower `batch_size` or leave it out."
        )
    return Data(
        train=train,
        test=test,
        targets=targets,
        classes=targets.classes,
        input_shape=shapes[0],
        spec=spec,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
    )


def _reader(spec: str, config: DataConfig) -> tuple[Callable[[], Raw | Sets], Moments]:
    name = plugins.written("data", spec)
    if name is not None:
        source: DataSource = plugins.find("data", name)
        return lambda: source.read(spec, config), source.moments
    if is_attribute(spec):
        return lambda: _own(spec), None
    forms = [each.label for each in plugins.describe("data")]
    forms += ["package.module:attr", "file.py:attr"]
    raise UsageError(f"There are no data {spec!r}; {did_you_mean(spec, forms)}")


def _moments(config: DataConfig, default: Moments) -> Moments:
    if config.mean is None and config.std is None:
        return default
    if config.mean is None or config.std is None:
        raise UsageError("`mean` and `std` go together; give both.")
    mean, std = _numbers("`mean`", config.mean), _numbers("`std`", config.std)
    if len(mean) != len(std) or min(std) <= 0:
        raise UsageError("`std` needs as many numbers as `mean`, all of them positive.")
    return mean, std


def _numbers(flag: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(piece) for piece in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} is {text!r}; give numbers separated by commas.") from None


def _in_memory(spec: str, found: Raw, options: dict[str, Any]) -> tuple[Split, Split, Shapes]:
    x_train, y_train, x_test, y_test = found
    _check_arrays(f"{spec} (train)", x_train, y_train)
    _check_arrays(f"{spec} (test)", x_test, y_test)
    for each in (x_train, x_test):
        _check_channels(spec, options["mean"], each)
    return (
        TensorSplit(x_train, y_train, **options),
        TensorSplit(x_test, y_test, **options),
        (shape_of(x_train), shape_of(x_test)),
    )


def _behind_datasets(
    spec: str, found: Sets, options: dict[str, Any], workers: int
) -> tuple[Split, Split, Shapes]:
    for name, each in zip(("train", "test"), found, strict=True):
        inner = each.dataset if isinstance(each, DataLoader) else each
        if hasattr(inner, "__len__") and not _length(spec, inner):
            raise InputError(f"{spec} has an empty {name} split; give at least one sample.")
    splits = [dataset_split(each, workers=workers, **options) for each in found]
    ragged = any(each.ragged for each in splits)
    shapes = []
    for split in splits:
        inputs, _ = next(iter(_unnormalised(split, options).batches(1)))
        shapes.append(() if ragged else shape_of(inputs))
        _check_channels(spec, options["mean"], inputs)
        check_deterministic(split)
    return splits[0], splits[1], (shapes[0], shapes[1])


def _length(spec: str, data: Any) -> int:
    try:
        return len(data)
    except Exception as error:
        raise InputError(
            f"{spec} gives a {type(data).__name__}, whose length cannot be read "
            f"({reason(error)}); correct its __len__."
        ) from error


def _unnormalised(split: DatasetSplit, options: dict[str, Any]) -> DatasetSplit:
    return DatasetSplit(
        split.dataset,
        device=options["device"],
        dtype=options["dtype"],
        collate=split.collate,
        single=split.single,
    )


def _check_channels(spec: str, mean: Sequence[float] | None, inputs: Inputs) -> None:
    if mean is None:
        return
    if not isinstance(inputs, Tensor):
        raise UsageError(
            f"`mean` normalises one tensor of inputs, and {spec} has several; leave `mean` out."
        )
    shape = tuple(inputs.shape[1:])
    if mean is not None and len(mean) not in (1, *shape[:1]):
        raise UsageError(
            f"`mean` has {len(mean)} numbers, but inputs of {spec} have shape {shape}; give one "
            "number for each channel."
        )


def _check_arrays(where: str, inputs: Inputs, targets: Tensor) -> None:
    for each in leaves(inputs):
        if each.ndim < 1 or (isinstance(inputs, Tensor) and each.ndim < 2) or targets.ndim < 1:
            raise InputError(
                f"{where} has inputs of shape {tuple(each.shape)}; give one row per sample."
            )
        if len(each) != len(targets):
            raise InputError(
                f"{where} has {len(each)} inputs but {len(targets)} labels; give one label for "
                "each input."
            )
        if not each.numel():
            raise InputError(f"{where} is empty; give at least one sample.")
    check_inputs(f"The inputs of {where}", inputs)
    if not isinstance(inputs, Tensor):
        return
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        first = int((~torch.isfinite(inputs.flatten(1)).all(dim=1)).nonzero()[0])
        raise InputError(f"{where} has a NaN or infinity in sample {first}; remove that sample.")


def _own(spec: str) -> Raw | Sets:
    found = resolve_attribute(spec)
    if callable(found) and not isinstance(found, Dataset):
        try:
            with guarded():
                found = found()
        except Exception as error:
            raise InputError(f"{spec} failed ({reason(error)}); correct its code.") from error
    if isinstance(found, (tuple, list)) and len(found) == 4:
        found = (found[0], found[1]), (found[2], found[3])
    if isinstance(found, (tuple, list)) and len(found) == 2:
        found = [_listed(spec, each) for each in found]
        if all(map(_is_pair, found)):
            return tensors(spec, [*found[0], *found[1]])
        sets = [_as_dataset(spec, each) for each in found]
        if all(isinstance(each, DataLoader) or _is_dataset(each) for each in sets):
            return sets[0], sets[1]
    raise InputError(
        f"{spec} gives a {type(found).__name__}; it should give (train, test), each a DataLoader, "
        "a map-style data set or a pair of tensors."
    )


def _listed(spec: str, data: Any) -> Any:
    """``data`` is a pair of a list of samples and targets. It is returned as tensors, or as a data
    set if samples differ in size."""
    if not _is_pair(data):
        return data
    found = samples(spec, *data)
    if found is None or isinstance(found[0], Tensor):
        return data if found is None else found
    for number, each in enumerate(found[0]):
        if not each.numel():
            raise InputError(f"{spec} has nothing in sample {number}; leave that sample out.")
        if each.is_floating_point() and not bool(torch.isfinite(each).all()):
            raise InputError(
                f"{spec} has a NaN or infinity in sample {number}; remove that sample."
            )
    return Samples(*found)


def _as_dataset(spec: str, data: Any) -> Any:
    """A DataLoader or a map-style data set, if ``data`` is one or a pair of tensors."""
    if _is_pair(data):
        inputs, targets, _, _ = tensors(spec, [*data, *data])
        _check_arrays(spec, inputs, targets)
        return Rows(inputs, targets)
    return data


def _is_pair(data: Any) -> bool:
    """Whether ``data`` are inputs, one or several tensors, and targets, rather than two samples."""
    pair = isinstance(data, (tuple, list)) and len(data) == 2
    return pair and (not _is_sample(data[1]) or _are_labels(data[1]))


def _are_labels(data: Any) -> bool:
    """Whether ``data``, a list or tuple, are the labels of many samples rather than a sample."""
    single = (bool, int, float, np.number, np.bool_)
    return len(data) > 0 and all(
        isinstance(each, single) or (isinstance(each, Tensor) and not each.ndim) for each in data
    )


class Rows(Dataset[Any]):
    """Samples of inputs, one or several tensors, and of targets."""

    def __init__(self, inputs: Inputs, targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Inputs, Tensor]:
        return mapped(lambda x: x[index], self._inputs), self._targets[index]


def _is_sample(each: Any) -> bool:
    """Whether ``each`` is a sample (input, target). A container of such samples is a data set."""
    return isinstance(each, (tuple, list))


def _is_dataset(data: Any) -> bool:
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


def split_of(data: Any, *, device: torch.device, dtype: torch.dtype, workers: int = 0) -> Split:
    """A split from a live object: a Split as it is, (inputs, targets), a map-style data set, or a
    DataLoader. A DataLoader is read in the order of its data set.

    Raises:
        InputError: ``data`` is none of these, or changes between readings; see
            :func:`.loaders.split_of_dataset`.
    """
    if hasattr(data, "batches") and hasattr(data, "subset"):
        return data  # type: ignore[no-any-return]
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = _listed("The data", data)
    if isinstance(data, (Dataset, DataLoader)):
        data = split_of_dataset(data, device=device, dtype=dtype, workers=workers)
        if isinstance(data, DatasetSplit):
            return data
    if isinstance(data, (tuple, list)) and len(data) == 2:
        inputs, targets, _, _ = tensors("The data", [*data, *data])
        _check_arrays("The data", inputs, targets)
        return TensorSplit(inputs, targets, device=device, dtype=dtype)
    if _is_dataset(data):
        if not len(data):
            raise InputError("A data set is empty; give at least one sample.")
        split = dataset_split(data, device=device, dtype=dtype, workers=workers)
        check_deterministic(split)
        return split
    raise InputError(
        f"Data of type {type(data).__name__} cannot be used; give (inputs, targets), a data set or "
        "a DataLoader."
    )
