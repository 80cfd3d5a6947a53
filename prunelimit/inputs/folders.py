"""Images in class folders: ``train/CLASS/*.png`` and ``test/CLASS/*.png``, or ``val/``."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import InputError, UsageError

__all__ = ["ImageFolder", "read_folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")
MEMORY_BYTES = 2**32
"""Most bytes of the decoded images of both splits in memory; larger sets are read as needed."""

THREADS = 4


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """Images of class folders as uint8 (3, height, width); classes are sorted by name.

    ``size`` is (width, height) of every image. With ``resize`` the shorter side is scaled to it and
    the middle cut out; without it other sizes are refused.
    """

    def __init__(
        self, folder: Path, classes: list[str], size: tuple[int, int], *, resize: bool
    ) -> None:
        unknown = {path.name for path in _subfolders(folder)} - set(classes)
        if unknown:
            raise InputError(
                f"{folder} has the class {min(unknown)}, which train/ lacks; give both folders "
                "the same classes."
            )
        self._size, self._resize = size, resize
        self._paths: list[Path] = []
        self.targets: list[int] = []
        for label, name in enumerate(classes):
            paths = _images(folder / name)
            self._paths += paths
            self.targets += [label] * len(paths)
        if not self._paths:
            raise InputError(f"{folder} holds no images ({', '.join(SUFFIXES)}); put some there.")

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self._array(index)), self.targets[index]

    def _array(self, index: int) -> np.ndarray:
        path = self._paths[index]
        image = _open(path)
        if self._resize:
            image = _fit(image, self._size[0])
        if image.size != self._size:
            raise InputError(
                f"{path} is {image.width}x{image.height} pixels and others are "
                f"{self._size[0]}x{self._size[1]}; give `image_size`."
            )
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))

    @property
    def nbytes(self) -> int:
        """Size of all images once decoded."""
        return len(self) * 3 * self._size[0] * self._size[1]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images, uint8 (n, 3, height, width), and labels, int64 (n,)."""
        images = np.empty((len(self), 3, self._size[1], self._size[0]), dtype=np.uint8)

        def read(index: int) -> None:
            images[index] = self._array(index)

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(read, range(len(self))):
                pass
        return torch.from_numpy(images), torch.tensor(self.targets)


def read_folder(root: Path, image_size: int | None) -> tuple[ImageFolder, ImageFolder]:
    """Training and test images under ``root``.

    Raises:
        UsageError: ``image_size`` is not positive.
        InputError: folders or images are missing, or an image cannot be read.
    """
    if image_size is not None and image_size < 1:
        raise UsageError(f"`image_size` is {image_size}; give 1 or more.")
    if not root.is_dir():
        raise InputError(
            f"There is no folder {root}; give folder:PATH with train/ and test/ in it."
        )
    train = root / "train"
    tests = [root / name for name in ("test", "val") if (root / name).is_dir()]
    if not train.is_dir() or not tests:
        raise InputError(
            f"{root} lacks train/ and test/ (or val/) with a folder per class in each; make these "
            "folders."
        )
    names = sorted(path.name for path in _subfolders(train))
    if not names:
        raise InputError(f"{train} has no class folders; put each class's images in a folder.")
    for name in names:
        if not _images(train / name):
            raise InputError(
                f"{train / name} holds no images ({', '.join(SUFFIXES)}); put some there or "
                "remove the folder."
            )
    if image_size is not None:
        size = (image_size, image_size)
    else:
        size = _open(_images(train / names[0])[0]).size
    resize = image_size is not None
    return (
        ImageFolder(train, names, size, resize=resize),
        ImageFolder(tests[0], names, size, resize=resize),
    )


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _open(path: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if _is_deep(path, image.mode):
                raise InputError(
                    f"{path} has more than 8 bits per channel, which would be lost; convert it to "
                    "8 bits, or give npz:PATH with floating-point numbers."
                )
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as an image ({type(error).__name__}); replace or remove it."
        ) from error


def _is_deep(path: Path, mode: str) -> bool:
    """Whether an image has more than 8 bits per channel. Some are read as if they had fewer."""
    if mode not in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "La", "PA", "RGBX", "YCbCr"):
        return True
    with path.open("rb") as file:
        head = file.read(200)
    if head.startswith(b"\x89PNG"):
        return head[24:25] == b"\x10"
    # Comments may stand between the numbers of this format's head.
    numbers = re.match(rb"P[23]?[356]\s+\d+\s+\d+\s+(\d+)\s", re.sub(rb"#[^\n]*\n", b"", head))
    return numbers is not None and int(numbers[1]) > 255


def _fit(image: Any, side: int) -> Any:
    """``image`` with its shorter side scaled to ``side``, and the middle square of that."""
    scale = side / min(image.size)
    wide, high = (max(side, round(length * scale)) for length in image.size)
    left, top = (wide - side) // 2, (high - side) // 2
    return image.resize((wide, high)).crop((left, top, left + side, top + side))
