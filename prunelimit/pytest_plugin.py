"""A fixture and an assertion for pytest about how sparse a network can be made.

    def test_it_can_be_pruned(prunelimit):
        prunelimit.assert_prunable(model, (train, test), sparsity=0.8, within="0.5pp")

Nothing is loaded before an assertion is made.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import pytest

from .errors import PruneLimitError, UsageError
from .values import points

if TYPE_CHECKING:
    from .results.types import PruneResult

__all__ = ["Prunability", "PrunabilityWarning", "Verdict", "assert_prunable"]

CONFIDENCE = 0.95
"""Confidence at which a loss of accuracy counts as more than its sampling error explains."""


class PrunabilityWarning(UserWarning):
    """More accuracy is lost than was allowed, but no more than the sampling error explains."""


@dataclass(frozen=True)
class Verdict:
    """What an assertion found; all but ``explained`` are fractions.

    ``drop`` is the accuracy lost on the test data, with its paired ``standard_error``. It is
    ``explained`` if it exceeds ``within`` by no more than the error.
    """

    sparsity: float
    drop: float
    standard_error: float
    within: float
    explained: bool
    result: PruneResult


def assert_prunable(
    model: Any,
    data: Any = None,
    *,
    sparsity: float,
    within: str | float = "0.5pp",
    method: str = "magnitude",
    confidence: float = CONFIDENCE,
    **options: Any,
) -> Verdict:
    """Fail unless a network keeps its accuracy with that share of its weights removed.

    A loss may exceed ``within`` by no more than its paired standard error explains. That is no
    failure, but a :class:`PrunabilityWarning` says so. A missing number never passes.

    Args:
        model: A module, a :class:`prunelimit.Problem`, or the file of a checkpoint.
        data: ``(train, test)``, each as :class:`prunelimit.Problem` takes it, or a function that
            gives them. Left out for a problem, and for a checkpoint that names its data.
        sparsity: Share of the prunable weights that goes, from 0 to 1.
        within: Accuracy that may be lost, such as "0.5pp", or a fraction.
        method: How it is pruned, such as "magnitude+staged".
        confidence: Level of the error that is no failure, from 0 to 1.
        options: Any other argument of :func:`prunelimit.prune`.

    Raises:
        AssertionError: too much accuracy is lost.
        UsageError: a value makes no sense, or the metric does not fall by points.
    """
    __tracebackhide__ = True
    from .api.options import check_points

    check_points("within", within)
    allowed = points(within, "within")
    share = _share(sparsity)
    if not 0 < confidence < 1:
        raise UsageError(f"`confidence` is {confidence}; give a number between 0 and 1.")
    if "amount" in options:
        raise UsageError("Here `sparsity` says how much to remove; leave out `amount`.")
    import prunelimit as pl

    try:
        decided = pl.Method.parse(method).decided
        amount: dict[str, Any] = {} if decided else {"amount": share}
        result = pl.prune(_problem(model, data), method=method, **amount, **options).result
    except PruneLimitError as refusal:
        if "`amount`" not in str(refusal):
            raise
        # What prune calls the amount is the sparsity here.
        raise type(refusal)(str(refusal).replace("`amount`", "`sparsity`")) from refusal
    if result.sparsity < share - 0.5 / max(1, result.model.prunable):
        raise UsageError(
            f"`method` {method} removes {100 * result.sparsity:.1f}% and no more, and `sparsity` "
            f"is {share:g}; give that or less, or another `method`."
        )
    if not result.data.points:
        raise UsageError(
            f"The metric {result.data.metric} has no percentage points, so `within` {within} does "
            "not apply to it; give a metric that is 1 for a perfect network."
        )
    drop, error = result.drop, result.standard_error
    slack = NormalDist().inv_cdf((1 + confidence) / 2) * error
    passed = drop <= allowed + slack  # never true for NaN
    explained = passed and drop > allowed
    verdict = Verdict(result.sparsity, drop, error, allowed, explained, result)
    if explained:
        warnings.warn(PrunabilityWarning(_sentence(verdict, result, confidence)), stacklevel=2)
    if not passed or math.isnan(drop):
        pytest.fail(_sentence(verdict, result, confidence), pytrace=False)
    return verdict


def _share(sparsity: float) -> float:
    """A number from 0 to 1, or a usage error."""
    try:
        share = math.nan if isinstance(sparsity, (str, bool)) else float(sparsity)
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share <= 1:
        raise UsageError(
            f"`sparsity` is {sparsity!r}; give the fraction to remove from 0 to 1, such as 0.8."
        )
    return share


def _sentence(verdict: Verdict, result: PruneResult, confidence: float) -> str:
    """What was found, and what to do about it."""
    import prunelimit as pl

    name = result.data.metric.rpartition(":")[2]
    found = (
        f"{result.model.spec} pruned by {result.method} to {100 * verdict.sparsity:.1f}% loses "
        f"{100 * verdict.drop:.2f} pp of {name} (paired standard error "
        f"{100 * verdict.standard_error:.2f} pp on {result.data.test_samples:,} test samples), "
        f"and {100 * verdict.within:g} pp are allowed."
    )
    if verdict.explained:
        return (
            f"{found} At {100 * confidence:g}% the sampling error explains the difference, so this "
            "is no failure; more test samples would tell."
        )
    method = pl.Method.parse(result.method)
    if method.decided:
        staged = dataclasses.replace(method, survivors="staged").name
        return found if method.survivors == "staged" else f"{found} {staged} may lose less."
    points_ = f"{100 * verdict.within:g}pp"
    moved = "staged" if result.method.partition("+")[2] in ("", "staged") else "trained"
    network = " -m FILE.py:network -d FILE.py:data" if result.model.sha256 is None else ""
    return (
        f"{found} This finds the sparsest network that keeps it: prunelimit prune CKPT{network} "
        f"--within {points_} --survivors {moved} -o pruned.pt"
    )


def _problem(model: Any, data: Any) -> Any:
    import prunelimit as pl

    given = data() if callable(data) and not hasattr(data, "__len__") else data
    if isinstance(model, pl.Problem):
        if given is not None:
            raise UsageError("A problem has its data already; leave out `data`.")
        return model
    if isinstance(model, (str, Path)):
        if given is not None:
            raise UsageError(
                "A checkpoint names its network and data, or Problem.from_checkpoint does; leave "
                "out `data`."
            )
        try:
            return pl.Problem.from_checkpoint(model)
        except UsageError as refusal:
            if "does not say" not in str(refusal):
                raise
            raise UsageError(
                f"{model} does not say which network and data it belongs to; give "
                "prunelimit.Problem.from_checkpoint(FILE, model=..., data=...) in its place."
            ) from refusal
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise UsageError(
            "`data` is not (train, test); give these two, or a function that returns them."
        )
    return pl.Problem(model, *given)


class Prunability:
    """The fixture: the assertion, and what else a test of a network asks for."""

    assert_prunable: Callable[..., Verdict] = staticmethod(assert_prunable)


@pytest.fixture(scope="session")
def prunelimit() -> Prunability:
    """``prunelimit.assert_prunable(model, (train, test), sparsity=0.8, within="0.5pp")``."""
    return Prunability()
