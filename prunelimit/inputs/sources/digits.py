"""Handwritten digits of 8 x 8 pixels, embedded in scikit-learn."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
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
    # As load_digits does, without the seconds that importing scikit-learn takes.
    found = find_spec("sklearn")
    assert found is not None and found.submodule_search_locations
    path = Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    with gzip.open(path, "rt") as file:
        rows = np.loadtxt(file, delimiter=",")
    images = torch.tensor(rows[:, :-1], dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    labels = torch.tensor(rows[:, -1], dtype=torch.int64)
    # Neighbours in the file come from one writer: a fixed shuffle mixes the splits.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    test, train = order[:DIGITS_TEST], order[DIGITS_TEST:]
    return images[train], labels[train], images[test], labels[test]


DATA = DataSource(NAME, SOURCE, HELP, read=_read)
