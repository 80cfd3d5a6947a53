"""Results as text, tables and figures: what the methods of results do."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from .. import plugins
from ..commands.plot import plot_results
from ..config import PlotConfig
from ..errors import PruneLimitError, UsageError
from ..reports.figure import choose
from ..reports.paper import Paper
from ..reports.svg import inline_svg
from ..reports.terminal.check import check_table
from ..reports.terminal.compare import compare_table
from ..reports.terminal.export import export_table
from ..reports.terminal.history import history_table
from ..reports.terminal.measure import measure_table
from ..reports.terminal.predict import predict_table
from ..reports.terminal.prune import prune_table
from ..reports.terminal.regime import regime_table
from ..reports.terminal.sensitivity import sensitivity_table
from ..reports.terminal.spectrum import spectrum_table
from ..reports.terminal.train import train_table
from ..results.history import HistoryPoint, HistoryResult
from ..results.methods import Result
from ..results.sensitivity import SensitivityResult
from ..results.serialization import to_json
from ..results.types import (
    CheckResult,
    CompareResult,
    ExportResult,
    MeasureResult,
    PredictResult,
    PruneResult,
    RegimeResult,
    SpectrumResult,
    TrainResult,
)
from ..storage.files import write_json
from .options import configured

__all__ = ["html", "plot", "save", "summary", "to_dict", "to_pandas"]

UNWRAPPED = 1_000
"""Columns where nothing is wrapped."""

NOTEBOOK = Paper(width=6.0)
"""Size of a figure in a notebook."""

Rows = Iterable[dict[str, Any]]


def _predict(result: PredictResult, verbose: bool) -> RenderableType:
    checkpoint = None if result.model.sha256 is None else "CKPT"
    return predict_table(result, checkpoint, verbose=verbose, more="in `reliability.reasons`")


TABLES: dict[type[Any], Callable[[Any, bool], RenderableType]] = {
    PredictResult: _predict,
    PruneResult: lambda result, verbose: prune_table(result, verbose=verbose),
    MeasureResult: lambda result, verbose: measure_table(result),
    CompareResult: lambda result, verbose: compare_table(result),
    SensitivityResult: lambda result, verbose: sensitivity_table(result),
    HistoryResult: lambda result, verbose: history_table(result),
    CheckResult: lambda result, verbose: check_table(result),
    SpectrumResult: lambda result, verbose: spectrum_table(result),
    TrainResult: lambda result, verbose: train_table(result),
    RegimeResult: lambda result, verbose: regime_table(result),
    ExportResult: lambda result, verbose: export_table(result),
}
"""The table of each command."""


def _rows(each: Iterable[Any], **beside: Any) -> Rows:
    return [{**beside, **_flat(dataclasses.asdict(one))} for one in each]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """``row`` with an interval in two columns."""
    low, high = row.pop("interval", (None, None))
    return row if low is None else {**row, "low": low, "high": high}


def _of_methods(result: CompareResult, field: str) -> Rows:
    return [
        row for each in result.methods for row in _rows(getattr(each, field), method=each.method)
    ]


def _quadrature(result: SpectrumResult) -> Rows:
    return [
        {"probe": probe, "ritz_value": value, "weight": weight}
        for probe, rule in enumerate(
            zip(result.ritz_values, result.quadrature_weights, strict=True)
        )
        for value, weight in zip(*rule, strict=True)
    ]


def _gates(result: CheckResult) -> Rows:
    names = ("name", "kind", "passed", "value", "bound", "reason", "self_check")
    return [{name: getattr(gate, name) for name in names} for gate in result.gates]


def _alone(result: SensitivityResult) -> Rows:
    names = ("name", "weights", "zeros", "holds", "mean_rise", "mean_drop", "why")
    return [{name: getattr(each, name) for name in names} for each in result.layers]


def _without_intervals(point: HistoryPoint) -> dict[str, Any]:
    """A checkpoint with each interval in two columns."""
    row = dataclasses.asdict(point)
    for name in ("plain", "limit"):
        low, high = row.pop(f"{name}_interval") or (None, None)
        row |= {f"{name}_low": low, f"{name}_high": high}
    return row


FRAMES: dict[type[Any], dict[str, Callable[[Any], Rows]]] = {
    PredictResult: {
        "curve": lambda result: _rows(result.curve),
        "variants": lambda result: _rows(result.variants),
        "layers": lambda result: _rows(result.layers),
        "path": lambda result: _rows(result.reliability.path),
    },
    PruneResult: {"layers": lambda result: _rows(result.layers)},
    MeasureResult: {
        "curve": lambda result: _rows(result.curve),
        "thresholds": lambda result: _rows(result.thresholds),
    },
    CompareResult: {
        "thresholds": lambda result: _of_methods(result, "thresholds"),
        "curve": lambda result: _of_methods(result, "curve"),
    },
    SensitivityResult: {
        "curves": lambda result: [
            row for each in result.layers for row in _rows(each.curve, layer=each.name)
        ],
        "layers": _alone,
    },
    HistoryResult: {"points": lambda result: [_without_intervals(each) for each in result.points]},
    CheckResult: {"gates": _gates},
    SpectrumResult: {
        "quadrature": _quadrature,
        "sharpness": lambda result: _rows(result.sharpness.measures) if result.sharpness else [],
    },
    RegimeResult: {
        "pairs": lambda result: [
            {
                name: getattr(each, name)
                for name in ("first", "second", "connectivity", "similarity")
            }
            for each in result.pairs
        ],
        "lines": lambda result: [
            {"first": each.first, "second": each.second, **dataclasses.asdict(place)}
            for each in result.pairs
            for place in each.line
        ],
    },
    ExportResult: {"packings": lambda result: _rows(result.packings)},
    TrainResult: {"history": lambda result: [dict(each) for each in result.history]},
}
"""The tables of each result by name, the main one first."""


def summary(result: Result, *, verbose: bool = False) -> str:
    """See :class:`Result`."""
    file = io.StringIO()
    console = Console(file=file, width=UNWRAPPED, color_system=None, force_terminal=False)
    console.print(_of(TABLES, result, "table")(result, verbose), highlight=False, markup=False)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def html(result: Result) -> str:
    """See :class:`Result`."""
    console = Console(file=io.StringIO(), width=UNWRAPPED, record=True)
    console.print(_of(TABLES, result, "table")(result, False), highlight=False, markup=False)
    code = console.export_html(inline_styles=True, code_format="{code}")
    text = "\n".join(line.rstrip() for line in code.rstrip().splitlines())
    table = f'<pre style="white-space: pre; overflow-x: auto">{text}</pre>'
    return f"<div>{table}{_picture(result)}</div>"


def _picture(result: Result) -> str:
    """The figure on white paper, whatever the notebook's colours are."""
    command = result.SCHEMA.split(".")[1].split("/")[0]
    try:
        name = choose([command])
    except UsageError:
        return ""  # there is no figure of such results
    drawn = hashlib.sha256(repr(result).encode("utf-8", "backslashreplace")).hexdigest()[:12]
    try:
        svg = inline_svg(
            name, [result], prefix=f"prunelimit-{drawn}", title=f"Figure of {command}",
            description=next(each.help for each in plugins.describe("figure") if each.name == name),
            sheet=NOTEBOOK,
        )  # fmt: skip
    except PruneLimitError as lacking:
        return f"<p>{escape(str(lacking))}</p>"
    return f'<div style="max-width: 48em; background: #ffffff">{svg}</div>'


def to_dict(result: Result) -> dict[str, Any]:
    """See :class:`Result`."""
    return to_json(result)


def to_pandas(result: Result, table: str | None = None) -> Any:
    """See :class:`Result`."""
    frames = _of(FRAMES, result, "data frame")
    name = next(iter(frames)) if table is None else table
    if name not in frames:
        raise UsageError(f"There is no `table` {name!r}; this result has {', '.join(frames)}.")
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise UsageError(
            "pandas is not installed; pip install 'prunelimit[pandas]' brings it."
        ) from None
    return pandas.DataFrame(list(frames[name](result)))


def save(result: Result, path: str | Path, *, force: bool = False) -> None:
    """See :class:`Result`."""
    write_json(Path(path), to_json(result), force=force)


def plot(
    result: Result, path: str | Path | None = None, *, force: bool = False, **options: Any
) -> Any:
    """See :class:`Result`."""
    command = result.SCHEMA.split(".")[1].split("/")[0]
    target = None if path is None else Path(path)
    named = [(f"{command}.json", result)]
    return plot_results(named, configured(PlotConfig, options), target, force=force)


def _of(known: dict[type[Any], Any], result: Result, what: str) -> Any:
    if type(result) not in known:
        has = ", ".join(kind.__name__ for kind in known)
        raise UsageError(f"A {type(result).__name__} has no {what}; these have one: {has}.")
    return known[type(result)]
