"""What ``export`` and ``densify`` wrote, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...errors import shown
from ...inputs.formats import loading_line
from ...results.types import ExportResult
from .parts import BLANK, columns, pairs, titled

__all__ = ["export_table"]

NAMES = {"nm": "nm (N:M)"}


def export_table(result: ExportResult) -> RenderableType:
    """What was written and how it is loaded, and what each packing would take."""
    table = columns(("format", "bytes", "of dense", "smaller from"))
    dense = max(1, result.packings[0].bytes or 0)
    for each in result.packings:
        size = "no such masks" if each.bytes is None else f"{each.bytes:,}"
        share = "" if each.bytes is None else f"{each.bytes / dense:.1%}"
        even = "" if each.break_even is None else f"{each.break_even:.1%} zeros"
        table.add_row(NAMES.get(each.name, each.name), size, share, even)
    parts: list[RenderableType] = [
        pairs(shown(result.source), _facts(result)),
        BLANK,
        titled("Bytes of the weights", table),
    ]
    if result.format != "dense" and not result.packed:
        parts.append(
            Text(
                f"Warning: no matrix has zeros enough to be smaller as {result.format}; the file "
                "is dense."
            )
        )
    elif result.artifact.bytes > result.artifact.bytes_dense:
        parts.append(
            Text("Warning: with its own bookkeeping this small file is larger than the dense one.")
        )
    return Group(*parts)


def _facts(result: ExportResult) -> list[tuple[str, str]]:
    file = result.artifact
    zeros = result.zeros / max(1, result.entries)
    found = []
    if result.state:
        found.append(("read is", f"{shown(result.state)} (`key`)"))
    found += [
        ("matrices", f"{result.matrices} of {result.tensors} tensors, {zeros:.1%} zeros"),
        ("checkpoint", f"{file.path}: {file.bytes:,} bytes ({file.format})"),
    ]
    if file.bytes != file.bytes_dense:
        found.append(("dense", f"{file.bytes_dense:,} bytes, {file.bytes / file.bytes_dense:.1%}"))
    if result.packed:
        found.append(("packed", f"{len(result.packed)} of {result.matrices} matrices"))
    if result.difference is not None:
        found.append(
            (
                "onnxruntime",
                f"differs from torch by {result.difference:.1e} of the largest output, on "
                f"{result.samples} test samples",
            )
        )
    found.append(("loaded by", loading_line(file.path, file.format)))
    return found
