"""The checkpoints and predictions of a folder, in the order in which they were made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

__all__ = ["SUFFIXES", "Numbered", "checkpoints", "in_order", "numbered"]

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pt.gz", ".pth.gz")
"""Names of checkpoints end so."""

WORDS = {
    "epoch": re.compile(r"(?<![a-z])(?:epoch|ep)[-_=. ]*(\d+)", re.IGNORECASE),
    "step": re.compile(
        r"(?<![a-z])(?:step|iteration|iter|it|checkpoint)[-_=. ]*(\d+)", re.IGNORECASE
    ),
}
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Numbered:
    """A checkpoint or prediction, with the epoch, step or number in its name."""

    path: Path
    epoch: int | None
    step: int | None
    number: int | None
    time: float


def numbered(path: Path) -> Numbered:
    """The numbers in a file's name: ``epoch=3-step=120.ckpt``, ``checkpoint-500``, or just the last
    number in it."""
    stem = path.name
    for suffix in (".json", ".predict", *SUFFIXES):
        stem = stem.removesuffix(suffix)
    found = {word: int(match[1]) for word, form in WORDS.items() if (match := form.search(stem))}
    numbers = NUMBER.findall(stem)
    return Numbered(
        path,
        found.get("epoch"),
        found.get("step"),
        int(numbers[-1]) if numbers else None,
        path.stat().st_mtime,
    )


def in_order(found: Sequence[Numbered]) -> tuple[str, list[Numbered]]:
    """The order for which all files have the numbers, and the files in it: by epoch (then step), by
    step, by the last number of the name, or by time. Equal ones go by name."""
    for order in ("epoch", "step", "number"):
        values = [getattr(each, order) for each in found]
        if all(value is not None for value in values):
            break
    else:
        order = "time"
    return order, sorted(
        found, key=lambda each: (getattr(each, order), each.step or 0, each.path.name)
    )


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in ``folder``: files by their suffix, and folders of Hugging Face.

    Raises:
        InputError: it is no folder.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder} cannot be listed ({error.strerror}); give a folder of checkpoints."
        ) from error
    return [each for each in inside if _is_checkpoint(each)]


def _is_checkpoint(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return (path / "config.json").is_file()
    return path.name.endswith(SUFFIXES) and path.is_file()
