"""A source of data says how a spec is read, and how its inputs are usually normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ..config import DataConfig
from ..plugins import Plugin

__all__ = ["DataSource", "Moments", "Raw", "Sets"]

Raw = tuple[Tensor, Tensor, Tensor, Tensor]
"""x_train, y_train, x_test, y_test; inputs (n, ...), labels (n,) of an integer type."""

Sets = tuple[Dataset[Any], Dataset[Any]]
"""Two map-style data sets, train and test."""

Moments = tuple[Sequence[float], Sequence[float]] | None
"""Channel means and deviations."""


@dataclass(frozen=True, kw_only=True)
class DataSource(Plugin):
    """Data by name: the object DATA of a file in ``sources``.

    ``read(spec, config)`` gives both splits of what ``spec`` names; ``moments`` are those that its
    inputs are normalised with where none are given. The literal ``FORM`` at the top of the file is
    the regular expression of such specs (default: the name, or NAME:ANYTHING). ``LABEL`` says how
    they are written, as in folder:PATH.
    """

    read: Callable[[str, DataConfig], Raw | Sets]
    moments: Moments = None
