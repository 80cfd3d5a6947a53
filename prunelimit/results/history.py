"""How sparse a network could be made, over its checkpoints."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from .methods import Result
from .types import DataInfo, ModelInfo, Provenance

__all__ = ["HistoryPoint", "HistoryResult"]


@dataclass(frozen=True, kw_only=True)
class HistoryPoint:
    """The prediction for one checkpoint.

    ``accuracy`` and ``loss`` are the dense network's. ``plain`` and ``limit`` are shares of the
    prunable weights with their intervals, None if there is no such number. ``reliable`` is about
    the limit; ``reason`` is the first reason against it. ``epoch`` and ``step`` are read from the
    name. ``kept`` says that the prediction was there already.
    """

    name: str
    epoch: int | None
    step: int | None
    sha256: str | None
    accuracy: float
    loss: float
    epsilon: float
    plain: float | None
    plain_interval: tuple[float, float] | None
    limit: float
    limit_interval: tuple[float, float]
    reliable: bool
    reason: str | None
    kept: bool


@dataclass(frozen=True, kw_only=True)
class HistoryResult(Result):
    """The checkpoints of a folder in ``order``: by "epoch" or "step" of their names, by the one
    "number" in these, or by "time". ``model`` and ``data`` are those of the last.

    ``left_out`` are files that could not be read, each with the reason. ``notes`` are what a reader
    has to know.
    """

    SCHEMA: typing.ClassVar[str] = "prunelimit.history/1"
    provenance: Provenance
    model: ModelInfo
    data: DataInfo
    directory: str
    order: str
    points: tuple[HistoryPoint, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
