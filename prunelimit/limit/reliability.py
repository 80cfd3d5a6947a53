"""Whether a predicted limit can be trusted: the evidence judged, each reason in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..results.types import CrossCheck, LayerResult, Limit, OneShot, PathPoint, Reliability, Variant
from .expected import COMPARED

__all__ = ["judge", "judge_one_shot", "nonquadraticity"]

WIDEST_INTERVAL = 0.02
"""Widest interval, as a fraction of the prunable weights, that still names one limit."""

KNOWN = 0.005
"""Half-width of an interval, as a fraction of the prunable weights, that is good enough whatever
ended the work. Limits and converged witnesses lie further apart than this
(``benchmarks/prediction.py``)."""

FARTHEST = 0.015
"""Largest distance, as a fraction of the prunable weights, from where trained survivors of such a
network are expected to stop. In ``benchmarks/prediction.py``, one in seven of the nearer limits is
more than two points from the witness, and one in two of the others."""

FARTHEST_END = 0.04
"""The same for the farther end of the interval that holds where they stop. In that table, no limit
that keeps both rules is three points from the witness."""

LARGEST_DISAGREEMENT = 0.02
"""Largest difference between ways to read negative eigenvalues before curvature is ambiguous."""

LARGEST_ROUNDING = 0.02
"""Largest shift of the limit by rounding that is accepted, as a fraction of the prunable
weights."""

QUADRATIC_RANGE = (0.5, 2.0)
"""Actual over modelled loss rise within which the second-order model describes the loss."""


REMEDIES = {
    "probe": "`probes`",
    "depth": "`steps`",
    "direction": "`directional_steps`",
    "samples": "`samples`",
}
"""Options that lessen an error."""

BUDGETS = {
    "max-products": "The products ran out (`max_products`, 600 by default)",
    "max-seconds": "The time ran out (`max_seconds`)",
    "memory": "There was no memory for more Lanczos vectors (see `basis`)",
    "interrupted": "The work was interrupted",
}


def nonquadraticity(crossing: PathPoint | None) -> float | None:
    """Actual over modelled loss rise at ``crossing``; None when the model predicts no rise."""
    if crossing is None:
        return None
    modelled = crossing.quadratic_rise + crossing.linear_rise
    return crossing.loss_rise / modelled if modelled > 0 else None


def judge(
    limit: Limit,
    variants: Sequence[Variant],
    crossing: PathPoint | None,
    path: Sequence[PathPoint],
    ended: str = "given",
    tolerance: float | None = None,
    checked: CrossCheck | None = None,
    rounding: float | None = None,
    flat: Literal["loss", "network"] | None = None,
    layers: Sequence[LayerResult] = (),
    linear: bool = False,
    plain: OneShot | None = None,
) -> Reliability:
    """Verdict on ``limit``.

    ``variants`` are the same limit by other formulas and operators. ``crossing`` is the first point
    of the pruning path that was found where the actual loss rise is beyond epsilon (None: it never
    is). ``plain`` is the plain threshold. Survivors that may move cannot do worse.
    ``ended`` is what ended the work (``CurvatureSummary.ended``), ``tolerance`` the width that was
    aimed at. ``checked`` is what another package found, if it was asked. ``rounding`` is how far
    products of lower precision may have moved the limit, as a fraction of the prunable weights.
    ``layers`` are those at the limit. ``linear`` says that the curvature is that of the linearised
    network. ``flat`` says why the GGN is zero, if it is: the ``loss`` has no second derivative, or
    the ``network`` is sure of every sample.
    """
    reasons = []
    if flat == "loss":
        reasons.append(
            "The loss has no second derivative in the outputs, so the GGN is zero and says "
            "nothing; give a smooth `loss`."
        )
    elif flat == "network":
        reasons.append(
            "The network is sure of every training sample, so the GGN is zero up to rounding and "
            "says nothing; use `curvature` hessian, or measure with a larger `epsilon`."
        )
    low, high = limit.interval
    leaning = limit.errors.get("network", 0.0)
    if ended in BUDGETS and (high - low) / 2 > KNOWN:
        reasons.append(
            f"{BUDGETS[ended]} before the limit was known to {100 * (tolerance or 0):g}pp: half "
            f"its interval is {50 * (high - low):.2f} percentage points."
        )
    elif not 2 * leaning > WIDEST_INTERVAL and high - low > WIDEST_INTERVAL:
        worst = max(REMEDIES, key=lambda name: limit.errors.get(name, 0.0))
        reasons.append(
            f"The spectrum is not resolved: the interval spans {100 * (high - low):.1f} percentage "
            f"points; raise {REMEDIES[worst]}, which narrows it most."
        )
    empty = [layer.name for layer in layers if layer.kept == 0]
    if empty and linear:
        reasons.append(
            f"At the limit no weight is left in {empty[0]}"
            + (f" and {len(empty) - 1} more" if len(empty) > 1 else "")
            + (
                ". The linear model does not describe the loss of a whole layer; measure with "
                "`survivors` trained to see how far survivors reach."
            )
        )
    if 2 * leaning > WIDEST_INTERVAL:
        reasons.append(
            "The network leans on what is not pruned: with biases, embeddings and the like free to "
            f"move, the linear model puts the limit at {_free(limit):.1%}, and with them held at "
            f"{_held(limit):.1%}. It lets these parameters replace removed weights more than real "
            "networks do, so the limit lies somewhere between; measure with `survivors` trained to "
            "see where."
        )
    elif by_others := _by_others(limit):
        reasons.append(by_others)
    elif _unlike_others(limit) and not empty:
        reasons.append(
            "No network that the limit was compared with is like this one, so nobody knows where "
            "trained survivors stop; measure with `survivors` trained to see where."
        )
    if rounding is not None and rounding > LARGEST_ROUNDING:
        most = 100 * min(1.0, rounding)
        reasons.append(
            "The products are rounded too coarsely: the eigenvalues nearest zero are blurred, "
            f"which may move the limit by as much as {most:.1f} percentage points; leave "
            "`precision` out."
        )
    if checked is not None and not checked.agree:
        reasons.append(
            f"PyHessian finds another spectrum: largest eigenvalue {checked.lambda_max:.5g}, trace "
            f"{checked.trace:.5g} +- {checked.trace_standard_error:.2g}."
        )
    for variant in variants:
        apart = abs(variant.sparsity - limit.sparsity)
        if variant.formula == limit.formula and apart > LARGEST_DISAGREEMENT:
            reasons.append(
                f"Negative curvature matters: {variant.operator} instead of {limit.operator} moves "
                f"the limit by {100 * apart:.1f} percentage points."
            )
    if plain is not None and plain.interval[0] > high:
        reasons.append(
            "With nothing moved the loss stays within epsilon up to "
            f"{100 * plain.sparsity:.1f}%, which is beyond the limit for survivors that may "
            "move: the second-order model does not describe this network."
        )
    ratio = nonquadraticity(crossing)
    if not linear and crossing is not None and ratio is None:
        reasons.append(
            "The loss rises along the pruning path where the second-order model says it falls."
        )
    if not linear and ratio is not None and not QUADRATIC_RANGE[0] <= ratio <= QUADRATIC_RANGE[1]:
        reasons.append(
            "The loss is not quadratic as far as pruning goes: where the loss has risen by "
            f"epsilon, this rise is {ratio:.2g} times what the second-order model says."
        )
    return Reliability(
        ok=not reasons, reasons=tuple(reasons), nonquadraticity=ratio, path=tuple(path)
    )


def judge_one_shot(one_shot: OneShot, path: Sequence[PathPoint] = ()) -> Reliability:
    """Verdict on the plain threshold alone.

    It is where a loss that was evaluated crosses, and rests on no model. What the limit is doubted
    for says nothing of it. Only its own interval does. ``path`` is the evidence to go with it.
    """
    low, high = one_shot.interval
    reasons = []
    if high - low > WIDEST_INTERVAL:
        reasons.append(
            f"The plain threshold is not resolved: its interval spans {100 * (high - low):.1f} "
            f"percentage points on {one_shot.samples:,} of {one_shot.of_samples:,} samples; give "
            "more `max_seconds` or, with the Hessian, more `samples`."
        )
    return Reliability(
        ok=not reasons, reasons=tuple(reasons), nonquadraticity=one_shot.ratio, path=tuple(path)
    )


def _free(limit: Limit) -> float:
    """The limit with all parameters free, of one that is the middle of two."""
    return min(1.0, limit.sparsity + limit.errors["network"])


def _held(limit: Limit) -> float:
    """The limit with the prunable weights alone free, of one that is the middle of two."""
    return (
        max(0.0, limit.sparsity - limit.errors["network"]) if limit.alone is None else limit.alone
    )


def _by_others(limit: Limit) -> str | None:
    """Why the limit is doubted by where trained survivors are expected to stop."""
    if limit.expected is None or limit.expected_middle is None:
        return None
    apart = 100 * (limit.sparsity - limit.expected_middle)
    if abs(apart) > 100 * FARTHEST:
        return (
            f"Judging by other networks, trained survivors should stop {abs(apart):.1f} percentage "
            f"points {'below' if apart > 0 else 'above'} the limit, at which "
            f"{limit.norm_kept or 0:.0%} of the norm of all prunable weights is left; measure "
            "with `survivors` trained to see where."
        )
    apart = 100 * max((limit.sparsity - end for end in limit.expected), key=abs)
    if abs(apart) > 100 * FARTHEST_END:
        return (
            f"Judging by other networks, trained survivors may stop as far as {abs(apart):.1f} "
            f"percentage points {'below' if apart > 0 else 'above'} the limit; measure with "
            "`survivors` trained to see where."
        )
    return None


def _unlike_others(limit: Limit) -> bool:
    """Whether a limit of the kind that was compared with networks is far from all of them."""
    compared = (limit.formula, limit.operator) == COMPARED
    read = limit.alone is not None and limit.alone < 1
    return compared and read and limit.expected_middle is None
