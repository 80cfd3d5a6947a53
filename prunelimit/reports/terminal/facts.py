"""What the tables of several commands say in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ...results.types import (
    CrossCheck,
    CurvatureSummary,
    DataInfo,
    Dense,
    Epsilon,
    LayerResult,
    Reliability,
)
from ..words import digits, metric, percent, score, unit
from .parts import BLANK, grid, point

__all__ = [
    "checked_rows",
    "dense_row",
    "layers",
    "reliability_part",
    "rounded_rows",
    "shared_rows",
    "tolerance_rows",
]


def dense_row(dense: Dense, data: DataInfo) -> tuple[str, str]:
    """Loss and score of the network as it came."""
    scored = f"test {metric(data)} {score(dense.accuracy, data)}"
    return "dense network", f"loss {dense.loss:.4g}, {scored}"


def tolerance_rows(epsilon: Epsilon, data: DataInfo) -> list[tuple[str, str]]:
    """With where it comes from, and what is to be said of it."""
    rows = [("loss tolerance", f"{epsilon.value:.4g}{unit(data)} ({epsilon.rule})")]
    if epsilon.interval is not None and epsilon.sparsity is not None:
        low, high = epsilon.interval
        rows.append(
            (
                "",
                f"{low:.4g} to {high:.4g}: what plain pruning to {percent(epsilon.sparsity, 2)} "
                f"adds, where {metric(data)} on {epsilon.held_out:,} training samples has "
                "fallen so far",
            )
        )
    if epsilon.note is not None:
        rows.append(("", epsilon.note))
    return rows


def rounded_rows(found: CurvatureSummary) -> list[tuple[str, str]]:
    """How far products in low precision are off; nothing in full precision."""
    if found.rounding_error is None:
        return []
    text = f"{found.precision}: a product is off by {100 * found.rounding_error:.2g}%"
    return [("precision", text)]


def checked_rows(found: CrossCheck | None) -> list[tuple[str, str]]:
    """Whether PyHessian agrees, where it was asked."""
    if found is None:
        return []
    return [
        (
            "PyHessian",
            f"{'agrees' if found.agree else 'disagrees'}: largest eigenvalue "
            f"{found.lambda_max:.5g}, trace {found.trace:.5g} +- {found.trace_standard_error:.2g}",
        )
    ]


def shared_rows(allocation: str | None, calibration: int) -> list[tuple[str, str]]:
    """How layers share what is removed, and the samples that were needed for it."""
    facts = []
    if allocation not in (None, "global"):
        facts.append(("allocation", str(allocation)))
    if calibration:
        facts.append(("calibration", f"{calibration:,} training samples"))
    return facts


def layers(found: Sequence[LayerResult]) -> Group:
    """What is left of every layer."""
    places = digits(layer.sparsity for layer in found)
    return grid(
        "Layers",
        ("weight", "shape", "kept", "sparsity"),
        (
            (
                layer.name,
                "x".join(str(size) for size in layer.shape),
                f"{layer.kept:,}",
                percent(layer.sparsity, places),
            )
            for layer in found
        ),
    )


def reliability_part(reliability: Reliability) -> Group:
    """The verdict, its reasons and the losses it rests on."""
    parts: list[RenderableType] = []
    if reliability.ok:
        parts.append(Text("Reliable: yes", style="bold green"))
    else:
        parts.append(Text("Reliable: NO", style="bold red"))
    parts += [point(reason) for reason in reliability.reasons]
    if reliability.ok and reliability.nonquadraticity is not None:
        parts.append(
            point(
                "Where the loss has risen by epsilon, this rise is "
                f"{reliability.nonquadraticity:.2g} times what the second-order model says."
            )
        )
    places = digits(place.sparsity for place in reliability.path)
    path = grid(
        "Loss rise along the pruning path",
        ("sparsity", "actual", "quadratic part", "linear part"),
        (
            (
                percent(place.sparsity, places),
                f"{place.loss_rise:.2e}",
                f"{place.quadratic_rise:.2e}",
                f"{place.linear_rise:.2e}",
            )
            for place in reliability.path
        ),
    )
    return Group(*parts, BLANK, path) if reliability.path else Group(*parts)
