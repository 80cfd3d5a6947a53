"""Data sets of torchvision that lie in memory."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import torch
from torch import Tensor

from ..config import DataConfig
from ..errors import InputError
from .resolve import reason
from .source import Raw

__all__ = ["DATA_DIR", "read_torchvision"]

DATA_DIR = "data"
"""Where torchvision's data sets lie when nothing else is said."""


def read_torchvision(name: str, config: DataConfig) -> Raw:
    """Both splits of the class ``name`` of torchvision.datasets.

    Raises:
        InputError: it is not there, or cannot be read.
    """
    from torchvision import datasets

    data_dir = config.data_dir or DATA_DIR
    pieces: list[Tensor] = []
    for train in (True, False):
        try:
            # Some versions of torchvision print while downloading; standard output is for results.
            with contextlib.redirect_stdout(sys.stderr):
                found = getattr(datasets, name)(data_dir, train=train, download=config.download)
        except Exception as error:
            if not config.download and "download" in str(error):
                raise InputError(
                    f"{name} is not in the folder {data_dir}; give another `data_dir`, or "
                    "`download`."
                ) from None
            verb = "downloaded" if config.download else "read"
            raise InputError(
                f"{name} in {data_dir} cannot be {verb} ({reason(error)}); replace its files "
                "there, or fetch them by other means."
            ) from error
        images = torch.as_tensor(np.asarray(found.data))
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        pieces += [images, torch.as_tensor(np.asarray(found.targets), dtype=torch.int64)]
    return pieces[0], pieces[1], pieces[2], pieces[3]
