"""Pruning criteria by name: what says which weights matter least."""

from __future__ import annotations

from ...errors import UsageError
from ...inputs.resolve import did_you_mean, is_attribute
from .activations import WANDA
from .diagonal import OBD
from .fisher import OBS
from .gradients import GRASP, SNIP
from .interface import SAMPLES, Criterion, Judgement
from .own import own_criterion
from .synflow import SYNFLOW
from .weights import MAGNITUDE, RANDOM

__all__ = ["CRITERIA", "SAMPLES", "Criterion", "Judgement", "find_criterion"]

CRITERIA: dict[str, Criterion] = {
    each.name: each for each in (MAGNITUDE, RANDOM, SNIP, GRASP, SYNFLOW, OBD, OBS, WANDA)
}
"""The names are those of ``config.CRITERIA``."""


def find_criterion(name: str) -> Criterion:
    """The criterion of that name, or the user's own that FILE.py:ATTR names.

    Raises:
        UsageError: there is none of that name.
        InputError: a user's own cannot be read.
    """
    if name in CRITERIA:
        return CRITERIA[name]
    if is_attribute(name):
        return own_criterion(name)
    raise UsageError(f"There is no pruning method {name!r}; {did_you_mean(name, CRITERIA)}")
