"""Results in the formats of other programs: numpy arrays and tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from prunelimit.results.history import HistoryResult
from prunelimit.results.sensitivity import SensitivityResult
from prunelimit.results.types import CompareResult, MeasurePoint, MeasureResult, SpectrumResult

__all__ = ["write_csv", "write_curves", "write_history", "write_layers", "write_npz"]

POINT = ("sparsity", "accuracy", "loss", "nonzero")


def write_npz(result: SpectrumResult, path: Path, *, force: bool) -> None:
    """``ritz_values`` and ``quadrature_weights``, one row per probe, float64.

    Probes that ended at different depths are padded with weight zero.
    """
    import numpy as np

    from prunelimit.storage.files import writing

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
    _write(POINT, (_cells(point) for point in result.curve), path, force)


def write_curves(result: CompareResult, path: Path, *, force: bool) -> None:
    """The curves of all methods, one line per method and sparsity."""
    rows = ([each.method, *_cells(point)] for each in result.methods for point in each.curve)
    _write(("method", *POINT), rows, path, force)


def write_layers(result: SensitivityResult, path: Path, *, force: bool) -> None:
    """The curves of all layers, one line per layer and sparsity."""
    names = ("sparsity", "changed", "accuracy", "drop", "standard_error", "loss", "rise")
    rows = (
        [layer.name, *(getattr(point, name) for name in names)]
        for layer in result.layers
        for point in layer.curve
    )
    _write(("layer", *names), rows, path, force)


def write_history(result: HistoryResult, path: Path, *, force: bool) -> None:
    """One line per checkpoint."""
    names = ("name", "epoch", "step", "accuracy", "loss", "plain", "limit", "reliable")
    rows = ([getattr(point, name) for name in names] for point in result.points)
    _write(names, rows, path, force)


def _cells(point: MeasurePoint) -> list[object]:
    return [getattr(point, field) for field in POINT]


def _write(head: Sequence[str], rows: Iterable[list[object]], path: Path, force: bool) -> None:
    from prunelimit.storage.files import writing

    if path.suffix.lower() == ".parquet":
        _write_parquet(head, rows, path, force)
        return
    with (
        writing(path, force=force) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


def _write_parquet(
    head: Sequence[str], rows: Iterable[list[object]], path: Path, force: bool
) -> None:
    from prunelimit.inputs.extras import extra
    from prunelimit.storage.files import writing

    pyarrow = extra("pyarrow", "parquet")
    parquet = extra("pyarrow.parquet", "parquet")
    columns = list(zip(*rows, strict=True)) or [()] * len(head)
    table = pyarrow.table({name: list(each) for name, each in zip(head, columns, strict=True)})
    with writing(path, force=force) as temporary:
        parquet.write_table(table, temporary)
