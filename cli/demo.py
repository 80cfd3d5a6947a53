"""``prunelimit demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunelimit.results import DemoResult, Threshold

from .options import cli_command, flag, general_options, titled
from .outputs import Outputs

DIRECTORY = titled(
    "Output",
    ["directory", "-o", "--output"],
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("prunelimit-demo"),
    show_default=True,
    help="Folder to leave everything in.",
)
SEED = titled(
    "Computation",
    ["--seed"],
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of everything random.",
)


@cli_command(
    "demo",
    DIRECTORY,
    SEED,
    flag("Output", "--json", "Print the result as JSON, and nothing else, on stdout."),
    general_options(),
)
def command(directory: Path, seed: int, **given: Any) -> None:
    """Train, predict, prune, measure and compare on embedded data.

    The handwritten digits come with scikit-learn: no download, no GPU, about a minute. Leaves a
    folder with the checkpoints, the JSON files, the plots and a report.
    """
    outputs = Outputs.of(given)
    from prunelimit.pipeline.demo import demo

    with outputs.progress() as progress:
        result = demo(directory, force=outputs.force, seed=seed, progress=progress)
    outputs.document(result)
    outputs.show(_story(result))


def _story(result: DemoResult) -> str:
    """What happened, for people; percentages of the prunable weights."""
    low, high = result.interval
    model, file = result.model, result.artifact
    lines = [
        f"Trained {model.spec} on {result.data.spec}: {model.parameters:,} parameters, "
        f"{result.dense.accuracy:.1%} of the test samples right.",
        f"Predicted: {result.predicted:.2%} of its prunable weights can go "
        f"({low:.2%} to {high:.2%}).",
        f"Pruned at {result.pruned_sparsity:.2%} in one shot: {result.pruned_accuracy:.1%} right.",
        *(f"Measured, {_rule(each)}: {each.sparsity:.2%}." for each in result.thresholds),
        f"The prediction {'holds' if result.passed else 'FAILS'}: it is "
        f"{result.difference_pp:+.2f} percentage points from the measured feasibility "
        f"(tolerance {result.tolerance_pp:g}).",
        f"The pruned checkpoint takes {file.bytes:,} bytes of {file.bytes_dense:,}; "
        "unstructured zeros do not make a CPU or GPU faster.",
    ]
    if not result.reliability.ok:
        lines.append(f"Not to be trusted blindly: {' '.join(result.reliability.reasons)}")
    lines.append(f"Everything is in {result.directory}; begin with {result.directory}/report.html.")
    return "\n".join(lines)


def _rule(threshold: Threshold) -> str:
    if threshold.rule == "accuracy":
        return f"accuracy within {100 * threshold.tolerance:g} pp"
    return {
        "dense-accuracy": "accuracy at least that of the dense network",
        "loss": "loss within epsilon, one-shot",
        "feasibility": "loss within epsilon once the survivors are trained",
    }.get(threshold.rule, threshold.rule)
