"""``prunelimit demo``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from prunelimit.results.types import DemoResult, OneShot, Threshold

from .options import cli_command, flag, general_options, titled
from .outputs import Outputs
from .spelling import spelled_result

DIRECTORY = titled(
    "Output",
    ["directory", "-o", "--output"],
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("prunelimit-demo"),
    show_default=True,
    help="Folder to write to.",
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
    examples=(
        "prunelimit demo",
        "prunelimit demo -o story --force",
    ),
)
def command(directory: Path, seed: int, **given: Any) -> None:
    """Train, predict, prune, measure and compare on embedded data.

    The handwritten digits come with scikit-learn, so nothing is downloaded. It needs no GPU and
    takes about a minute. It leaves a folder with checkpoints, JSON files, plots and a report.
    """
    outputs = Outputs.of(given)
    from prunelimit.commands.demo import demo

    with outputs.progress() as progress:
        result = demo(directory, force=outputs.force, seed=seed, progress=progress)
    outputs.document(result)
    outputs.show(_story(spelled_result(result)))


def _story(result: DemoResult) -> str:
    """What happened, for people; percentages of the prunable weights."""
    low, high = result.interval
    model, file = result.model, result.sparse_artifact
    lines = [
        f"Trained {model.spec} on {result.data.spec}: {model.parameters:,} parameters, "
        f"{result.dense.accuracy:.1%} of the test samples right.",
        f"Predicted limit: {result.predicted:.2%} of its prunable weights can go "
        f"({low:.2%} to {high:.2%}) if the surviving weights may move.",
        *_expected(result.one_shot),
        f"Pruned to {result.pruned_sparsity:.2%} with nothing moved: {result.pruned_accuracy:.1%} "
        "of the test samples right.",
        *_measured("with nothing moved", result.fixed, "accuracy", "loss"),
        *_measured("with the surviving weights trained", result.trained, "feasibility"),
        *_accuracy(result),
        f"The prediction {'holds' if result.passed else 'FAILS'}: it is "
        f"{result.difference_pp:+.2f} percentage points from what training the survivors reaches "
        f"(tolerance {result.tolerance_pp:g}).",
        f"Stored sparse, the pruned network takes {file.bytes:,} bytes instead of "
        f"{file.bytes_dense:,}; unstructured zeros do not make a CPU or GPU faster.",
    ]
    if not result.reliability.ok:
        lines.append(f"The estimate is not reliable: {' '.join(result.reliability.reasons)}")
    lines.append(f"Everything is in {result.directory}; begin with {result.directory}/report.html.")
    return "\n".join(lines)


def _expected(found: OneShot | None) -> list[str]:
    if found is None:
        return []
    low, high = found.interval
    return [
        f"Predicted plain: {found.sparsity:.2%} ({low:.2%} to {high:.2%}), nothing moved, until "
        "the loss has risen by epsilon."
    ]


def _measured(how: str, thresholds: Sequence[Threshold], *rules: str) -> list[str]:
    return [
        f"Measured {how}: {each.sparsity:.2%} until {_broken(each)}."
        for each in thresholds
        if each.rule in rules
    ]


def _accuracy(result: DemoResult) -> list[str]:
    """What the loss does not say: how accurate the sparsest trained network is."""
    if result.trained_accuracy is None:
        return []
    lost = 100 * (result.dense.accuracy - result.trained_accuracy)
    return [
        f"There {result.trained_accuracy:.1%} of the test samples are right, {lost:.1f} points "
        "fewer: the limit is about the training loss, and promises no accuracy."
    ]


def _broken(threshold: Threshold) -> str:
    """What happens beyond a threshold."""
    if threshold.rule == "accuracy":
        return f"{100 * threshold.tolerance:g} pp of accuracy are lost"
    return "the loss has risen by epsilon"
