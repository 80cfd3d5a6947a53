"""``prunelimit plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunelimit.config import PlotConfig
from prunelimit.errors import UsageError

from .options import PLOT, RESULTS, build, cli_command, general_options, path_option
from .outputs import Outputs


@cli_command(
    "plot",
    RESULTS,
    path_option("Output", ["output", "-o", "--output"], "FILE", "Draw here (png, pdf, svg)."),
    PLOT,
    general_options(),
    examples=(
        "prunelimit plot measure.json predict.json -o measure.pdf --width 3.25in --no-title",
        "prunelimit plot predict.json --figure layers -o layers.svg",
    ),
)
def command(files: tuple[Path, ...], output: Path | None, **given: Any) -> None:
    """Draw any figure again from saved JSON, ready for a paper.

    FILES are JSON files of one network: one result, several measurements, or a prediction with
    measurements, which then share a figure. Fonts are TrueType in PDF. Text stays text in SVG.
    """
    config = build(PlotConfig, given)
    if not files:
        raise UsageError("plot needs at least one JSON file of a result.")
    if output is None:
        raise UsageError("plot needs -o FILE, which ends with .png, .pdf or .svg.")
    outputs = Outputs.of({**given, "output": output}, inputs=files)
    from prunelimit.commands.plot import plot_results
    from prunelimit.commands.saved import load_result

    named = [(path.name, load_result(path)) for path in files]
    plot_results(named, config, output, force=outputs.force)
    outputs.show(f"Drawn: {output}")
