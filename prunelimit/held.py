"""Which of the predicted numbers a pruning method is to be held to.

Two are predicted: the *one-shot threshold*, where the loss of plain magnitude pruning leaves the
tolerance with nothing moved, and the *limit*, up to which some setting of the survivors keeps it.
A method that leaves survivors alone is held to the first, one that trains them to the second. One
that moves them along a model of the loss can do no worse than leave them, and no better than the
best setting: it lies between the two. All of it is about masks of smallest magnitude, all layers
together; a criterion that removes other weights is held to neither.
"""

from __future__ import annotations

from .config import METHODS
from .errors import InputError, UsageError
from .inputs.resolve import did_you_mean, is_attribute
from .results import HeldTo, Limit, OneShot

__all__ = ["hold", "number_and_rule"]

NUMBERS = {
    "one-shot": ("one-shot", "loss"),
    "magnitude": ("one-shot", "loss"),
    "refit": ("limit", "feasibility"),
    "compensated": ("between", "loss"),
    "staged": ("between", "loss"),
}


def number_and_rule(method: str) -> tuple[str, str]:
    """The predicted number ("limit", "one-shot", "between", "none") that ``method`` is held to,
    and the measured threshold ("loss", "feasibility", or none: "") that is about the same event.

    Raises:
        UsageError: there is no such method.
    """
    if method in NUMBERS:
        return NUMBERS[method]
    if method not in METHODS and not is_attribute(method):
        raise UsageError(f"There is no method {method!r}; {did_you_mean(method, METHODS)}")
    return "none", ""


def hold(method: str, limit: Limit, one_shot: OneShot | None) -> HeldTo:
    """What ``method`` is to be held to, given both predicted numbers.

    Raises:
        UsageError: there is no such method.
        InputError: it takes the one-shot threshold, and ``one_shot`` is None: the prediction was
            made before there was such a number.
    """
    number, rule = number_and_rule(method)
    if number == "none":
        return HeldTo(
            method=method, number=number, rule=rule, lowest=0.0, highest=1.0, interval=(0.0, 1.0)
        )
    found = []
    if number in ("one-shot", "between"):
        if one_shot is None:
            raise InputError(
                "The prediction was made before one-shot thresholds were predicted, and "
                f"{method} is held to one; run predict again."
            )
        found.append((one_shot.sparsity, one_shot.interval))
    if number in ("limit", "between"):
        found.append((limit.sparsity, limit.interval))
    # Two estimates: nothing but their errors can make the limit the smaller.
    return HeldTo(
        method=method,
        number=number,
        rule=rule,
        lowest=min(sparsity for sparsity, _ in found),
        highest=max(sparsity for sparsity, _ in found),
        interval=(
            min(interval[0] for _, interval in found),
            max(interval[1] for _, interval in found),
        ),
    )
