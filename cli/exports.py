"""Results in the formats of other programs: numpy arrays and comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from prunelimit.results import MeasureResult, SpectrumResult

__all__ = ["write_csv", "write_npz"]


def write_npz(result: SpectrumResult, path: Path, *, force: bool) -> None:
    """``ritz_values`` and ``quadrature_weights``, one row per probe, float64.

    Probes that ended at different depths are padded with weight zero.
    """
    import numpy as np

    from prunelimit.files import writing

    depth = max(len(row) for row in result.ritz_values)

    def padded(rows: Sequence[Sequence[float]]) -> np.ndarray:
        return np.array([[*row, *[0.0] * (depth - len(row))] for row in rows])

    with writing(path, force=force) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            ritz_values=padded(result.ritz_values),
            quadrature_weights=padded(result.quadrature_weights),
        )


def write_csv(result: MeasureResult, path: Path, *, force: bool) -> None:
    """The measured curve, one line per sparsity."""
    from prunelimit.files import writing

    fields = ("sparsity", "accuracy", "loss", "nonzero")
    with writing(path, force=force) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(fields)
        for point in result.curve:
            writer.writerow([getattr(point, field) for field in fields])
