"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..results import (
    CheckResult,
    LayerResult,
    MeasureResult,
    PredictResult,
    PruneResult,
    Reliability,
    SpectrumResult,
    TrainResult,
)
from .words import interval, percent, rule

__all__ = [
    "check_table",
    "measure_table",
    "predict_table",
    "prune_table",
    "spectrum_table",
    "train_table",
]


def _pairs(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=title, show_header=False, title_justify="left", box=None, padding=(0, 2))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _grid(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _layers(layers: Iterable[LayerResult]) -> Table:
    table = _grid("Layers", "weight", "shape", "kept", "sparsity")
    for layer in layers:
        shape = "x".join(str(size) for size in layer.shape)
        table.add_row(layer.name, shape, f"{layer.kept:,}", percent(layer.sparsity))
    return table


def _verdict(reliability: Reliability) -> RenderableType:
    text = Text("Reliable: " + ("yes" if reliability.ok else "NO"))
    for reason in reliability.reasons:
        text.append(f"\n  - {reason}")
    return text


def train_table(result: TrainResult) -> RenderableType:
    """A finished training."""
    return _pairs(
        f"{result.model.spec} trained on {result.data.spec}",
        [
            ("test accuracy", percent(result.dense.accuracy)),
            ("training loss", f"{result.dense.loss:.4g}"),
            ("parameters", f"{result.model.parameters:,}"),
            ("prunable weights", f"{result.model.prunable:,}"),
            ("checkpoint", f"{result.artifact.path} ({result.artifact.bytes:,} bytes)"),
        ],
    )


def spectrum_table(result: SpectrumResult) -> RenderableType:
    """The spectrum in a few numbers."""
    found = result.curvature
    return _pairs(
        f"{found.kind} of {result.model.spec} on {result.data.spec}",
        [
            ("free parameters", f"{result.model.free:,}"),
            ("samples", f"{found.samples:,}"),
            ("probes x Lanczos steps", f"{found.probes} x {found.steps}"),
            ("largest eigenvalue", f"{found.lambda_max:.5g}"),
            ("smallest eigenvalue", f"{found.lambda_min:.5g}"),
            ("trace", f"{found.trace:.5g} +- {found.trace_standard_error:.2g} (one sd)"),
            ("negative eigenvalues", percent(found.negative_mass)),
            ("seconds per product", f"{found.product_seconds:.3g}"),
            ("seconds per gradient", f"{found.gradient_seconds:.3g}"),
        ],
    )


def predict_table(result: PredictResult) -> RenderableType:
    """The limit, its variants, the evidence and the layers."""
    limit = result.limit
    head = _pairs(
        f"Pruning limit of {result.model.spec} on {result.data.spec}",
        [
            (
                "limit",
                f"{interval(limit.sparsity, limit.interval)} of prunable weights, "
                f"{limit.kept:,} kept",
            ),
            ("", f"{percent(limit.sparsity_of_all)} of all parameters"),
            ("formula", f"{limit.formula}, {limit.operator}, {100 * limit.confidence:g}% interval"),
            ("ALMT band", " to ".join(percent(bound) for bound in limit.band)),
            ("loss tolerance", f"{result.epsilon.value:.4g} ({result.epsilon.rule})"),
            (
                "dense",
                f"loss {result.dense.loss:.4g}, test accuracy {percent(result.dense.accuracy)}",
            ),
            (
                "curvature",
                f"{result.curvature.products} products on {result.curvature.samples:,} samples",
            ),
        ],
    )
    variants = _grid("By formula and operator", "formula", "operator", "limit")
    for each in result.variants:
        variants.add_row(each.formula, each.operator, interval(each.sparsity, each.interval))
    path = _grid("Along the pruning path", "sparsity", "loss rise", "quadratic part", "linear part")
    for point in result.reliability.path:
        path.add_row(
            percent(point.sparsity),
            f"{point.loss_rise:.3g}",
            f"{point.quadratic_rise:.3g}",
            f"{point.linear_rise:.3g}",
        )
    blank = Text("")
    return Group(
        head, blank, variants, blank, path, blank, _verdict(result.reliability), blank,
        _layers(result.layers),
    )  # fmt: skip


def prune_table(result: PruneResult) -> RenderableType:
    """What was removed, and what the file saves."""
    file = result.artifact
    head = _pairs(
        f"{result.model.spec} pruned by {result.method}",
        [
            ("sparsity", f"{percent(result.sparsity)} of prunable weights"),
            ("weights that are not zero", f"{result.nonzero:,}"),
            (
                "test accuracy",
                f"{percent(result.accuracy_before)} before, {percent(result.accuracy_after)} after",
            ),
            ("checkpoint", f"{file.path}: {file.bytes:,} bytes ({file.format})"),
            ("dense, same format", f"{file.bytes_dense:,} bytes"),
        ],
    )
    return Group(head, Text(""), _layers(result.layers))


def measure_table(result: MeasureResult) -> RenderableType:
    """The thresholds, then the curve."""
    thresholds = _grid(
        f"Thresholds of {result.model.spec} by {result.method} "
        f"(dense accuracy {percent(result.dense.accuracy)})",
        "largest sparsity with",
        "of prunable weights",
    )
    for each in result.thresholds:
        thresholds.add_row(rule(each), interval(each.sparsity, each.interval))
    curve = _grid("Measured", "sparsity", "accuracy", "loss", "weights kept")
    for point in result.curve:
        curve.add_row(
            percent(point.sparsity),
            percent(point.accuracy),
            f"{point.loss:.4g}",
            f"{point.nonzero:,}",
        )
    return Group(thresholds, Text(""), curve)


def check_table(result: CheckResult) -> RenderableType:
    """The verdict."""
    head = _pairs(
        f"{'PASSED' if result.passed else 'FAILED'}: {result.model.spec}",
        [
            ("predicted", interval(result.predicted, result.predicted_interval)),
            (
                f"measured ({result.rule})",
                interval(result.measured, result.measured_interval),
            ),
            ("difference", f"{result.difference_pp:+.2f} pp"),
            ("tolerance", f"{result.tolerance_pp:g} pp"),
        ],
    )
    return Group(head, *(Text(f"  - {reason}") for reason in result.reasons))
