"""A finished training in a terminal."""

from __future__ import annotations

from rich.console import RenderableType

from ...inputs.formats import loading_line
from ...results.types import Artifact, TrainResult
from ..words import metric, score, unit
from .parts import pairs

__all__ = ["train_table", "written_rows"]


def train_table(result: TrainResult) -> RenderableType:
    """A finished training."""
    return pairs(
        f"{result.model.spec} trained on {result.data.spec}",
        [
            (f"test {metric(result.data)}", score(result.dense.accuracy, result.data)),
            ("training loss", f"{result.dense.loss:.4g}{unit(result.data)}"),
            ("parameters", f"{result.model.parameters:,}"),
            ("prunable weights", f"{result.model.prunable:,}"),
            *written_rows(result.artifact),
        ],
    )


def written_rows(file: Artifact | None) -> list[tuple[str, str]]:
    if file is None:
        return []
    return [
        ("checkpoint", f"{file.path} ({file.bytes:,} bytes)"),
        ("loaded by", loading_line(file.path, file.format)),
    ]
