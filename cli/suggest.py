"""The nearest known name to a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


MEANT = {"--sparsity": "--amount", "--target": "--amount", "--ratio": "--amount"}
"""What other tools call an option of ours."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean NAME?"`` for the closest of ``known``, or ``"."`` when none is close."""
    names = list(known)
    found = [each for each in [MEANT.get(name)] if each in names]
    found = found or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else "."
