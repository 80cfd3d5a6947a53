"""A spectrum and its sharpness in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType

from ...results.types import SharpnessSummary, SpectrumResult
from ..words import matrix, measure_name, percent
from .facts import checked_rows, rounded_rows
from .parts import BLANK, grid, pairs, point

__all__ = ["sharpness_table", "spectrum_table"]


def spectrum_table(result: SpectrumResult) -> RenderableType:
    """The spectrum in a few numbers."""
    found = result.curvature
    # One probe says nothing of its own error.
    error = f" +- {found.trace_standard_error:.2g} (one sd)" if found.probes > 1 else ""
    table = pairs(
        f"Spectrum of the {matrix(found.kind)} of {result.model.spec} on {result.data.spec}",
        [
            ("free parameters", f"{result.model.free:,}"),
            ("samples", f"{found.samples:,}"),
            ("probes", f"{found.probes} of {found.steps} Lanczos steps"),
            ("largest eigenvalue", f"{found.lambda_max:.5g}"),
            ("smallest eigenvalue", f"{found.lambda_min:.5g}"),
            ("trace", f"{found.trace:.5g}{error}"),
            ("negative eigenvalues", percent(found.negative_mass)),
            ("seconds per product", f"{found.product_seconds:.3g}"),
            ("seconds per gradient", f"{found.gradient_seconds:.3g}"),
            *rounded_rows(found),
            *checked_rows(found.cross_check),
        ],
    )
    sharp = result.sharpness
    return table if sharp is None else Group(table, BLANK, sharpness_table(sharp))


READ = {
    "ggn": "The matrix has no negative eigenvalues.",
    "absolute": "Negative eigenvalues: with their sign in the first two, squared in the third, by "
    "magnitude in the others.",
}
"""How negative eigenvalues are read."""


def sharpness_table(found: SharpnessSummary) -> RenderableType:
    """Every measure of sharpness with its interval."""
    rows = [
        (name, f"{each.value:.5g}", "{:.5g} to {:.5g}".format(*each.interval))
        for each, name in ((each, measure_name(each)) for each in found.measures)
    ]
    measures = grid("Sharpness", ("measure", "value", f"{percent(found.confidence, 0)}"), rows)
    said = [READ.get(found.reading, f"Negative eigenvalues are read as {found.reading}.")]
    if found.note is not None:
        said.append(f"No effective dimension: {found.note}")
    return Group(measures, *(point(each) for each in said))
