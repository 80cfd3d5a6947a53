"""Data by name: embedded, torchvision's, folders of images, arrays, and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..config import DataConfig, RunConfig
from ..errors import InputError, UsageError
from .problem import Split
from .resolve import did_you_mean, is_attribute, resolve_attribute
from .splits import DatasetSplit, TensorSplit, check_deterministic

__all__ = ["Data", "load_data", "split_of"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TORCHVISION: dict[str, tuple[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "mnist": ("MNIST", ((0.1307,), (0.3081,))),
    "fashion-mnist": ("FashionMNIST", ((0.2860,), (0.3530,))),
    "cifar10": ("CIFAR10", ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))),
    "cifar100": ("CIFAR100", ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))),
}
"""Class in torchvision.datasets, and the channel means and deviations usual for the set."""

FORMS = ("digits", *TORCHVISION, "folder:PATH", "npz:PATH", "package.module:attr", "file.py:attr")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")
DIGITS_TEST = 360


@dataclass(frozen=True)
class Data:
    """Both splits; ``input_shape`` is of one sample; ``mean`` and ``std`` as they were applied."""

    train: Split
    test: Split
    classes: int
    input_shape: tuple[int, ...]
    spec: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


Raw = tuple[Tensor, Tensor, Tensor, Tensor]
Moments = tuple[Sequence[float], Sequence[float]] | None


def load_data(config: DataConfig, run: RunConfig) -> Data:
    """The data that ``config`` names, on the device and of the dtype that ``run`` names.

    Raises:
        UsageError: no data are named, the name is unknown, or an option does not fit.
        InputError: the data cannot be read or cannot be used.
    """
    if config.data is None:
        raise UsageError("No data are named; give -d/--data, for example -d mnist.")
    if config.train_samples < 0:
        raise UsageError(f"--train-samples is {config.train_samples}; give 0 for all, or more.")
    spec = config.data
    reader, moments = _reader(spec, config)
    found = reader()
    moments = _moments(config, moments)
    device, dtype = torch.device(run.device), getattr(torch, run.dtype)
    if isinstance(found[0], Tensor):
        return _in_memory(spec, found, moments, config, run, device, dtype)
    return _behind_datasets(spec, found, config, run, device, dtype)


def _reader(spec: str, config: DataConfig) -> tuple[Callable[[], Any], Moments]:
    if spec == "digits":
        return _digits, None
    if spec in TORCHVISION:
        name, moments = TORCHVISION[spec]
        return lambda: _torchvision(name, config), moments
    if spec.startswith("folder:"):
        return lambda: _folder(Path(spec.removeprefix("folder:")), config.image_size), IMAGENET
    if spec.startswith("npz:"):
        return lambda: _npz(Path(spec.removeprefix("npz:"))), None
    if is_attribute(spec):
        return lambda: _own(spec), None
    raise UsageError(f"There are no data {spec!r}; {did_you_mean(spec, FORMS)}")


def _moments(config: DataConfig, default: Moments) -> Moments:
    if config.mean is None and config.std is None:
        return default
    if config.mean is None or config.std is None:
        raise UsageError("--mean and --std go together; give both.")
    mean, std = _numbers("--mean", config.mean), _numbers("--std", config.std)
    if len(mean) != len(std) or min(std) <= 0:
        raise UsageError("--std needs as many numbers as --mean, all of them positive.")
    return mean, std


def _numbers(flag: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(piece) for piece in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} is {text!r}; give numbers separated by commas.") from None


def _in_memory(
    spec: str,
    raw: Raw,
    moments: Moments,
    config: DataConfig,
    run: RunConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> Data:
    x_train, y_train, x_test, y_test = raw
    classes = _check_arrays(spec, raw)
    channels = x_train.shape[1] if x_train.ndim > 1 else 1
    mean, std = moments if moments is not None else (None, None)
    if mean is not None and len(mean) not in (1, channels):
        raise UsageError(
            f"--mean has {len(mean)} numbers, but {spec} has {channels} channels; give one each."
        )
    options: dict[str, Any] = {"device": device, "dtype": dtype, "mean": mean, "std": std}
    train = TensorSplit(x_train, y_train, **options).subset(config.train_samples, run.seed)
    test = TensorSplit(x_test, y_test, **options)
    _check_batch(run, len(train))
    return Data(
        train=train,
        test=test,
        classes=classes,
        input_shape=tuple(x_train.shape[1:]),
        spec=spec,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
    )


def _behind_datasets(
    spec: str,
    found: tuple[Dataset[Any], Dataset[Any]],
    config: DataConfig,
    run: RunConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> Data:
    if config.mean is not None:
        raise UsageError(f"--mean and --std do not apply to {spec}; normalise in the data set.")
    whole, test = (
        DatasetSplit(each, device=device, dtype=dtype, workers=run.workers) for each in found
    )
    if not len(whole) or not len(test):
        raise InputError(f"{spec} has an empty split; both need at least one sample.")
    train = whole.subset(config.train_samples, run.seed)
    _check_batch(run, len(train))
    check_deterministic(train, min(64, len(train)))
    highest = max(int(targets.max()) for _, targets in whole.batches(500))
    classes = highest + 1
    if classes < 2:
        raise InputError(f"{spec} has only one class; at least two are needed.")
    inputs, _ = next(iter(test.batches(1)))
    return Data(train, test, classes, tuple(inputs.shape[1:]), spec, None, None)


def _check_batch(run: RunConfig, samples: int) -> None:
    if run.batch_size is not None and run.batch_size > samples:
        raise UsageError(
            f"--batch-size is {run.batch_size}, but there are only {samples} training samples; "
            "lower it or leave it out."
        )


def _check_arrays(spec: str, raw: Raw) -> int:
    """Number of classes, once the arrays are known to make sense."""
    for name, inputs, targets in (("train", raw[0], raw[1]), ("test", raw[2], raw[3])):
        if len(inputs) != len(targets):
            raise InputError(
                f"{spec} has {len(inputs)} inputs but {len(targets)} labels in its {name} split."
            )
        if not len(inputs):
            raise InputError(f"{spec} has an empty {name} split; give at least one sample.")
        if targets.is_floating_point() or targets.ndim != 1:
            raise InputError(f"{spec} has labels that are not whole numbers, one per sample.")
        if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
            first = int((~torch.isfinite(inputs.flatten(1)).all(dim=1)).nonzero()[0])
            raise InputError(f"{spec} has a NaN or infinity in {name} sample {first}; remove it.")
        if int(targets.min()) < 0:
            raise InputError(
                f"{spec} has the label {int(targets.min())} in its {name} split; count from 0."
            )
    if raw[0].shape[1:] != raw[2].shape[1:]:
        raise InputError(
            f"{spec} has inputs of shape {tuple(raw[0].shape[1:])} for training but "
            f"{tuple(raw[2].shape[1:])} for test; make them the same."
        )
    classes = int(raw[1].max()) + 1
    if len(raw[1].unique()) < 2:
        raise InputError(f"{spec} has only one class in its train split; at least two are needed.")
    if int(raw[3].max()) >= classes:
        raise InputError(
            f"{spec} has the label {int(raw[3].max())} in its test split, but training labels end "
            f"at {classes - 1}."
        )
    return classes


def _digits() -> Raw:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    # Neighbours in the file come from one writer: a fixed shuffle mixes the splits.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    test, train = order[:DIGITS_TEST], order[DIGITS_TEST:]
    return images[train], labels[train], images[test], labels[test]


def _torchvision(name: str, config: DataConfig) -> Raw:
    from torchvision import datasets

    pieces: list[Tensor] = []
    for train in (True, False):
        try:
            found = getattr(datasets, name)(config.data_dir, train=train, download=config.download)
        except RuntimeError as error:
            if "download" in str(error):
                raise InputError(
                    f"{name} is not in {config.data_dir}; give --data-dir or --download."
                ) from None
            raise InputError(f"{name} cannot be read ({error}).") from error
        except OSError as error:
            raise InputError(f"{name} in {config.data_dir} cannot be read ({error}).") from error
        images = torch.as_tensor(np.asarray(found.data))
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        pieces += [images, torch.as_tensor(np.asarray(found.targets), dtype=torch.int64)]
    return pieces[0], pieces[1], pieces[2], pieces[3]


def _folder(root: Path, image_size: int | None) -> Raw:
    if not root.is_dir():
        raise InputError(
            f"There is no folder {root}; give folder:PATH with train/ and test/ in it."
        )
    train = root / "train"
    tests = [root / name for name in ("test", "val") if (root / name).is_dir()]
    if not train.is_dir() or not tests:
        raise InputError(
            f"{root} lacks train/ and test/ (or val/) with a folder per class in each."
        )
    names = sorted(path.name for path in train.iterdir() if path.is_dir())
    if not names:
        raise InputError(f"{train} has no class folders; put each class's images in a folder.")
    size = _image_size(train, names, image_size)
    x_train, y_train = _class_folders(train, names, size)
    x_test, y_test = _class_folders(tests[0], names, size)
    return x_train, y_train, x_test, y_test


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES)


def _image_size(folder: Path, names: list[str], image_size: int | None) -> tuple[int, int, bool]:
    """Width, height, and whether images are to be resized to it."""
    from PIL import Image

    if image_size is not None:
        if image_size < 1:
            raise UsageError(f"--image-size is {image_size}; give 1 or more.")
        return image_size, image_size, True
    for name in names:
        for path in _files_of(folder / name)[:1]:
            with Image.open(path) as image:
                return image.width, image.height, False
    raise InputError(f"{folder} holds no images ({', '.join(IMAGES)}).")


def _class_folders(
    folder: Path, names: list[str], size: tuple[int, int, bool]
) -> tuple[Tensor, Tensor]:
    from PIL import Image, UnidentifiedImageError

    unknown = {path.name for path in folder.iterdir() if path.is_dir()} - set(names)
    if unknown:
        raise InputError(f"{folder} has the class {min(unknown)}, which train/ lacks.")
    labelled = [
        (path, label) for label, name in enumerate(names) for path in _files_of(folder / name)
    ]
    if not labelled:
        raise InputError(f"{folder} holds no images ({', '.join(IMAGES)}).")
    width, height, resize = size
    images = np.empty((len(labelled), 3, height, width), dtype=np.uint8)

    def read(index: int) -> None:
        path = labelled[index][0]
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"{path} cannot be read as an image ({error}).") from error
        if resize:
            image = _resize(image, width)
        if image.size != (width, height):
            raise InputError(
                f"{path} is {image.width}x{image.height} pixels and others are {width}x{height}; "
                "give --image-size."
            )
        images[index] = np.asarray(image).transpose(2, 0, 1)

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(read, range(len(labelled)), chunksize=64):
            pass
    return torch.from_numpy(images), torch.tensor([label for _, label in labelled])


def _resize(image: Any, side: int) -> Any:
    scale = side / min(image.size)
    wide, high = (max(side, round(length * scale)) for length in image.size)
    left, top = (wide - side) // 2, (high - side) // 2
    return image.resize((wide, high)).crop((left, top, left + side, top + side))


def _npz(path: Path) -> Raw:
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = ("x_train", "y_train", "x_test", "y_test")
            missing = [key for key in keys if key not in archive]
            if missing:
                raise InputError(f"{path} lacks {missing[0]}; it needs {', '.join(keys)}.")
            arrays = [archive[key] for key in keys]
    except FileNotFoundError:
        raise InputError(f"There is no file {path}; check the name.") from None
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read as an .npz archive ({error}).") from error
    return _tensors(str(path), arrays)


def _tensors(spec: str, arrays: Sequence[Any]) -> Raw:
    try:
        x_train, y_train, x_test, y_test = (torch.as_tensor(np.asarray(each)) for each in arrays)
    except (TypeError, ValueError) as error:
        raise InputError(f"{spec} does not hold four numeric arrays ({error}).") from error
    labels = [y if y.is_floating_point() else y.to(torch.int64) for y in (y_train, y_test)]
    inputs = [
        x if x.is_floating_point() or x.dtype == torch.uint8 else x.to(torch.float32)
        for x in (x_train, x_test)
    ]
    return inputs[0], labels[0], inputs[1], labels[1]


def _own(spec: str) -> Any:
    found = resolve_attribute(spec)
    if callable(found) and not isinstance(found, Dataset):
        try:
            found = found()
        except Exception as error:
            raise InputError(f"{spec} failed ({type(error).__name__}: {error}).") from error
    if not isinstance(found, (tuple, list)) or len(found) not in (2, 4):
        raise InputError(
            f"{spec} should give (x_train, y_train, x_test, y_test) or two data sets."
        )
    return _tensors(spec, found) if len(found) == 4 else tuple(found)


def split_of(data: Any, *, device: torch.device, dtype: torch.dtype, workers: int = 0) -> Split:
    """A split from a live object: a Split as it is, (inputs, targets), or a map-style data set.

    Raises:
        InputError: ``data`` is none of these, or a data set that changes between readings.
    """
    if hasattr(data, "batches") and hasattr(data, "subset"):
        return data  # type: ignore[no-any-return]
    if isinstance(data, (tuple, list)) and len(data) == 2:
        inputs, targets = (torch.as_tensor(each) for each in data)
        return TensorSplit(inputs, targets, device=device, dtype=dtype)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        split = DatasetSplit(data, device=device, dtype=dtype, workers=workers)
        check_deterministic(split, min(64, len(split)))
        return split
    raise InputError(
        f"Data of type {type(data).__name__} cannot be used; give (inputs, targets) or a data set."
    )
