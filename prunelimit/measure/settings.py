"""What may be asked of a measurement."""

from __future__ import annotations

import math

from ..compensation.options import check_compensation
from ..config import METHODS, MeasureConfig
from ..errors import UsageError
from ..inputs.resolve import did_you_mean, is_attribute
from ..limit.tolerance import accuracy_points, parse_tolerance
from ..pruning.criteria import find_criterion

__all__ = ["MOVED", "check_measure", "parse_sparsities"]

MOVED = ("compensated", "staged")
"""Methods that move survivors; the first in one stage."""
MOST_SPARSITIES = 10_000


def parse_sparsities(text: str) -> tuple[float, ...]:
    """``"0,0.5,0.9"`` or ``"START:STOP:STEP"`` (STOP included) as sorted fractions, each once.

    Raises:
        UsageError: it is neither, a value is not from 0 to 1, or there are too many.
    """
    form = "give fractions from 0 to 1 as 0,0.5,0.9 or START:STOP:STEP"
    try:
        if ":" in text:
            start, stop, step = (float(part) for part in text.split(":"))
            if not (0 <= start <= stop <= 1 and step > 0):
                raise ValueError
            count = (stop - start) / step
            if count >= MOST_SPARSITIES:
                raise UsageError(
                    f"--sparsities {text} names more than {MOST_SPARSITIES} values; "
                    "give a larger step."
                )
            steps = math.floor(count + 1e-9)
            values = [min(1.0, round(start + step * i, 12)) for i in range(steps + 1)]
        else:
            values = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--sparsities {text!r} is not understood; {form}.") from None
    for value in values:
        if not 0 <= value <= 1:
            raise UsageError(f"--sparsities names {value}; {form}.")
    return tuple(sorted(set(values)))


def check_measure(config: MeasureConfig) -> tuple[float, ...]:
    """The tolerances as fractions, each once.

    Raises:
        UsageError: a setting makes no sense.
        InputError: a user's own criterion cannot be read.
    """
    known = (*METHODS, "magnitude")
    if config.method not in known and not is_attribute(config.method):
        raise UsageError(
            f"There is no method {config.method!r}; {did_you_mean(config.method, known)}"
        )
    if is_attribute(config.method):
        find_criterion(config.method)
    if not 0 < config.confidence < 1:
        raise UsageError(f"--confidence is {config.confidence}; give a level between 0 and 1.")
    if not 0 < config.resolution < 1:
        raise UsageError(
            f"--resolution is {config.resolution}; give a fraction between 0 and 1, such as 0.001."
        )
    if config.method == "refit":
        if config.refit_passes < 0:
            raise UsageError(f"--refit-passes is {config.refit_passes}; give 0 or more.")
        if not 0 < config.refit_lr < math.inf:
            raise UsageError(f"--refit-lr is {config.refit_lr}; give a number greater than 0.")
        if config.refit_batch_size < 1:
            raise UsageError(f"--refit-batch-size is {config.refit_batch_size}; give 1 or more.")
    if config.method in MOVED:
        check_compensation(config)
        if config.allocation not in (None, "global"):
            raise UsageError(
                f"{config.method} removes the smallest weights of all layers together; leave out "
                "--allocation, or choose another method."
            )
    accuracy_points(config.epsilon)
    tolerances = tuple(dict.fromkeys(parse_tolerance(text) for text in config.tolerance))
    if not tolerances:
        raise UsageError("No --tolerance is given; give one such as 0.5pp.")
    if config.sparsities is not None:
        parse_sparsities(config.sparsities)
    return tolerances
