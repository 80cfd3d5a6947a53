"""Handwritten digits of 8 x 8 pixels, embedded in scikit-learn."""

from __future__ import annotations

import torch

from ...config import DataConfig
from ..source import DataSource, Raw

NAME = "digits"
ORDER = 1
FORM = r"digits"
LABEL = "digits"
SOURCE = "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits. UCI 1998"
HELP = "Handwritten digits of 8 x 8 pixels, which scikit-learn brings."

__all__ = ["DATA"]

DIGITS_TEST = 360


def _read(spec: str, config: DataConfig) -> Raw:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    # Neighbours in the file come from one writer: a fixed shuffle mixes the splits.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    test, train = order[:DIGITS_TEST], order[DIGITS_TEST:]
    return images[train], labels[train], images[test], labels[test]


DATA = DataSource(NAME, SOURCE, HELP, read=_read)
