"""Folders of images, one per class."""

from __future__ import annotations

from pathlib import Path

from ...config import DataConfig
from ..folders import MEMORY_BYTES, read_folder
from ..source import DataSource, Raw, Sets

NAME = "folder"
ORDER = 6
FORM = r"(?s:folder:.*)"
LABEL = "folder:PATH"
SOURCE = "the layout of torchvision.datasets.ImageFolder"
HELP = "Images in PATH/train/CLASS and PATH/test/CLASS."

__all__ = ["DATA"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _read(spec: str, config: DataConfig) -> Raw | Sets:
    train, test = read_folder(Path(spec.removeprefix("folder:")), config.image_size)
    if train.nbytes + test.nbytes > MEMORY_BYTES:
        return train, test
    return (*train.tensors(), *test.tensors())


DATA = DataSource(NAME, SOURCE, HELP, read=_read, moments=IMAGENET)
