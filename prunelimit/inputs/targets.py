"""The targets of a data set: one class per sample, classes of positions, or numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..devices import wide
from ..errors import InputError
from .problem import Split
from .splits import target_batches

__all__ = [
    "Targets",
    "check_labels",
    "check_targets",
    "scan",
]

MOST_CLASSES = 10_000
"""If labels go beyond this number, and beyond the number of samples, they do not count classes."""

WHOLE = 1e-4
"""How near to one the probabilities of a soft target have to sum."""


@dataclass(frozen=True)
class Targets:
    """The targets of a split, all of them looked at.

    ``shape`` is that of a sample's, ``ragged`` says that it differs from batch to batch.
    ``lowest`` and ``highest`` leave out those that are ignored. ``binary`` says that all are 0 or
    1, ``shares`` that they are probabilities: none negative, each row with a sum of one.
    """

    numbers: bool
    shape: tuple[int, ...]
    ragged: bool
    lowest: float
    highest: float
    binary: bool
    shares: bool

    @property
    def labels(self) -> bool:
        """Whether they are one class per sample."""
        return not self.numbers and not self.shape

    @property
    def classes(self) -> int:
        """Number of classes; 0 of numbers."""
        return 0 if self.numbers else int(self.highest) + 1

    @property
    def outputs(self) -> int:
        """Outputs per sample or position of a network made for them."""
        if self.numbers or (len(self.shape) == 1 and self.binary):
            return max(1, torch.Size(self.shape).numel())
        return self.classes

    def words(self) -> str:
        """In words for messages."""
        kind = "classes"
        if self.numbers:
            kind = "probabilities" if self.shares else "answers" if self.binary else "numbers"
        size = "several" if self.ragged else " x ".join(map(str, self.shape)) or "1"
        return f"{kind}, {size} per sample"


def scan(split: Split, where: str, ignored: int) -> Targets:
    """Look at all targets of ``split``.

    Raises:
        InputError: they are complex, not finite, or a sample has none that counts.
    """
    shapes: set[tuple[int, ...]] = set()
    lowest, highest = float("inf"), float("-inf")
    numbers = binary = shares = True
    begin = 0
    for targets in target_batches(split):
        if targets.is_complex():
            raise InputError(f"{where} has complex targets; give real numbers or classes.")
        numbers = targets.is_floating_point()
        shapes.add(tuple(targets.shape[1:]))
        if numbers and not bool(torch.isfinite(targets).all()):
            bad = ~torch.isfinite(targets.reshape(len(targets), -1)).all(1)
            first = begin + int(bad.nonzero()[0])
            raise InputError(
                f"{where} has a NaN or infinity in the target of sample {first}; remove that "
                "sample."
            )
        some = targets
        if not numbers and targets.ndim > 1:
            counted = targets != ignored
            empty = ~counted.flatten(1).any(1)
            if bool(empty.any()):
                first = begin + int(empty.nonzero()[0])
                raise InputError(
                    f"{where} has only the ignored target {ignored} in sample {first}; remove "
                    "that sample."
                )
            some = targets[counted]
        lowest, highest = min(lowest, float(some.min())), max(highest, float(some.max()))
        binary = binary and bool(((some == 0) | (some == 1)).all())
        if numbers and targets.ndim > 1 and targets.shape[1] > 1:
            sums = wide(targets).sum(1)
            shares = shares and lowest >= 0 and bool(((sums - 1).abs() <= WHOLE).all())
        else:
            shares = False
        begin += len(targets)
    ragged = len(shapes) > 1
    return Targets(numbers, max(shapes), ragged, lowest, highest, binary, shares)


def check_labels(spec: str, name: str, found: Targets) -> None:
    """Refuse a negative class in the split called ``name``.

    Raises:
        InputError: there is one.
    """
    if found.numbers or found.lowest >= 0:
        return
    hint = "" if found.labels else ", or give this label as `ignore_index` if it does not count"
    raise InputError(
        f"{spec} has the label {int(found.lowest)} in its {name} split; count classes from 0{hint}."
    )


def check_targets(spec: str, train: Split, test: Split, ignored: int) -> Targets:
    """The training targets, once both splits' are known to make sense together.

    Raises:
        InputError: they do not.
    """
    both = {name: scan(each, f"{spec} ({name})", ignored) for name, each in _named(train, test)}
    found, other = both["train"], both["test"]
    same = len(found.shape) == len(other.shape) and found.numbers == other.numbers
    if not same or (not found.ragged and not other.ragged and found.shape != other.shape):
        raise InputError(
            f"{spec} has other targets for training ({found.words()}) than for test "
            f"({other.words()}); give both the same kind."
        )
    if found.numbers:
        return found
    for name, each in both.items():
        check_labels(spec, name, each)
    if found.lowest == found.highest:
        raise InputError(f"{spec} has only one class in its train split; at least two are needed.")
    classes, entries = found.classes, len(train) * torch.Size(found.shape).numel()
    if classes > max(MOST_CLASSES, entries):
        raise InputError(
            f"{spec} has the label {classes - 1} among {len(train)} samples; count classes from 0."
        )
    if found.labels and other.highest >= classes:
        raise InputError(
            f"{spec} has the label {int(other.highest)} in its test split, but training labels "
            f"end at {classes - 1}; give both splits the same classes."
        )
    return found


def _named(train: Split, test: Split) -> tuple[tuple[str, Split], tuple[str, Split]]:
    return ("train", train), ("test", test)
