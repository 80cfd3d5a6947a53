"""Accuracy and loss against sparsity, and the thresholds read from them, with their errors.

A threshold is the largest sparsity that holds a rule *at every sparsity up to it*. Accuracy is
only nearly monotone, so every crossing found by bisection is confirmed just below it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from .config import METHODS, MeasureConfig
from .epsilon import loss_tolerance, parse_tolerance
from .errors import UsageError
from .inputs.problem import Evaluation, Problem, evaluate
from .inputs.resolve import did_you_mean, is_attribute
from .progress import Progress, silent
from .pruning.criteria import find_criterion
from .pruning.magnitude import removal_count
from .pruning.options import check_compensation, compensator
from .pruning.path import Path
from .pruning.refit import RefitResult, refit
from .pruning.selection import Selection
from .results import Cost, Dense, Epsilon, MeasurePoint, Threshold

__all__ = ["Measurement", "check_measure", "measure", "parse_sparsities", "parse_tolerance"]

COARSE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
SPACING = math.sqrt(0.5)
"""Where survivors move, the first sparsities leave this share of the survivors before: halvings, by
which stages begin, in two steps."""
BEYOND = 2
"""So many of those sparsities in a row that hold no rule end them."""
MOVED = ("compensated", "staged")
"""Methods that move survivors; the first in one stage."""
CONFIRMING = 3
"""Points measured just below a crossing."""
END_COARSENESS = 5
"""The ends of an interval are found to this many times the resolution, rounded outwards."""
FIRST_LR = 2e-3
"""Peak learning rate of refit that the search for a better one begins at."""
MOST_SPARSITIES = 10_000


@dataclass(frozen=True)
class Measurement:
    """What was measured; ``curve`` is in order of sparsity. ``refit_lr`` is the peak learning rate
    that survivors were refitted with, None for others; ``allocation`` and ``calibration`` say how
    masks were shared among layers, and how many training samples were read for them; ``cost`` is
    what it took."""

    dense: Dense
    epsilon: Epsilon
    curve: tuple[MeasurePoint, ...]
    thresholds: tuple[Threshold, ...]
    refit_lr: float | None
    allocation: str
    calibration: int
    cost: Cost


@dataclass(frozen=True)
class _Point:
    """One pruned network: accuracy drop (fraction) with its paired standard error, and loss."""

    accuracy: float
    drop: float
    standard_error: float
    loss: float
    nonzero: int
    feasible: bool


_Rule = Callable[[_Point], bool]


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


def measure(problem: Problem, config: MeasureConfig, *, progress: Progress = silent) -> Measurement:
    """Measure the thresholds of pruning ``problem``, by magnitude unless told otherwise.

    ``one-shot`` evaluates the pruned networks as they are: thresholds ``accuracy`` for every
    tolerance, ``dense-accuracy`` (the largest sparsity at least as accurate as dense) and ``loss``
    (mean training loss within epsilon of dense). The interval of an accuracy threshold covers the
    paired sampling error: the change of correctness of each test sample, normal at
    ``config.confidence``. The interval of the loss threshold is the pair that brackets it.

    ``refit`` trains the survivors of each mask first: threshold ``feasibility`` (loss within
    epsilon of dense), whose interval is [last feasible, first infeasible], and ``accuracy`` of the
    refitted networks, read from the points that feasibility was searched at and no finer. A
    training budget can fail where more of it would succeed, so the feasibility threshold is a
    lower bound on the true one. Unless the learning rate is given, the one that reaches the least
    loss, by factors of two, is found at the first sparsity that fails and used from there on.

    ``compensated`` moves the survivors of each mask by conjugate gradients, from the dense network
    in one stage (``prune --compensate``); ``staged`` goes on from lower to higher sparsity in as
    many stages as the quadratic model can be trusted for (``prune --stages auto``). Both give the
    thresholds of ``one-shot``. Their first sparsities are spaced by the survivors and end where
    every rule has failed. A crossing of ``staged`` is refined by paths that branch off the last
    network below it: what is removed stays removed, so each point is a network that was reached on
    the way, and what was asked for before has a part in it.

    The name of a criterion, or FILE.py:ATTR, measures as ``one-shot`` does what that criterion
    leaves, survivors moved where its method moves them. ``config.allocation`` shares what is
    removed among layers, for every method.

    Explicit ``config.sparsities`` are measured alone, and the thresholds read from them. The ends
    of an interval are measured points, rounded outwards; the upper one is 1 where nothing that was
    measured fails.

    Raises:
        UsageError: a setting makes no sense, or nothing is prunable.
    """
    tolerances = check_measure(config)
    wanted = None if config.sparsities is None else parse_sparsities(config.sparsities)
    return _Measuring(problem, config, tolerances, progress).run(wanted)


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
        if config.refit_epochs < 0:
            raise UsageError(f"--refit-epochs is {config.refit_epochs}; give 0 or more.")
        if config.refit_lr is not None and not 0 < config.refit_lr < math.inf:
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
    tolerances = tuple(dict.fromkeys(parse_tolerance(text) for text in config.tolerance))
    if not tolerances:
        raise UsageError("No --tolerance is given; give one such as 0.5pp.")
    if config.sparsities is not None:
        parse_sparsities(config.sparsities)
    return tolerances


class _Measuring:
    """Points by number of removed weights, each measured once."""

    def __init__(
        self,
        problem: Problem,
        config: MeasureConfig,
        tolerances: tuple[float, ...],
        progress: Progress,
    ) -> None:
        self.problem = problem
        self.config = config
        self.tolerances = tolerances
        self.progress = progress
        begin = time.perf_counter()
        plain = config.method in ("one-shot", "refit", *MOVED)
        self.selection = Selection(
            problem,
            "magnitude" if plain else config.method,
            allocation=config.allocation,
            calibration=config.calibration,
            progress=progress,
        )
        self.prunable = int(problem.prunable_mask().sum())
        if not self.prunable:
            raise UsageError("No weight of the network is prunable; give fewer --exclude patterns.")
        self.step = max(1, math.floor(config.resolution * self.prunable))
        train = evaluate(problem, problem.train)
        self.test = evaluate(problem, problem.test)
        self.dense = Dense(loss=train.loss, accuracy=self.test.accuracy)
        self.epsilon = loss_tolerance(train.losses, config.epsilon, problem.seed)
        self.target = self.dense.loss + self.epsilon.value
        self.z = NormalDist().inv_cdf(0.5 + config.confidence / 2)
        weights = problem.vector()[problem.prunable_mask()]
        self.points: dict[int, _Point] = {
            0: _Point(
                self.dense.accuracy, 0.0, 0.0, self.dense.loss, int((weights != 0).sum()), True
            )
        }
        self.planned = 0
        self.lr = FIRST_LR if config.refit_lr is None else config.refit_lr
        self.climbs = config.refit_lr is None
        self.epochs = 0
        self.where = ""
        self.path = self._path() if config.method in MOVED else None
        self.begin = begin

    def _path(self) -> Path:
        stages = 1 if self.config.method == MOVED[0] else None
        return Path(
            compensator(
                self.problem,
                self.config,
                stages=stages,
                epsilon=self.config.epsilon,
                progress=self._within_a_point,
            )
        )

    # -- points ----------------------------------------------------------------------------

    def at(self, removed: int) -> _Point:
        if removed not in self.points:
            if self.path is not None:
                self.points[removed] = self._moved(self.path, removed)
            elif self.config.method == "refit":
                self.points[removed] = self._refitted(removed)
            else:
                self.points[removed] = self._one_shot(removed)
            self._tell(removed)
        return self.points[removed]

    def _one_shot(self, removed: int) -> _Point:
        return self._judged(self.problem, self.selection.weights(self.selection.mask(removed)))

    def _moved(self, path: Path, removed: int) -> _Point:
        self.where = f"at {removed / self.prunable:.2%}"
        state = path.at(removed)
        return self._judged(path.compensator.problem_at(state), state.weights)

    def _within_a_point(self, stage: str, done: int, total: int, note: str = "") -> None:
        # The many stages of a path would each begin a bar anew.
        if stage == "solving":
            self.progress(f"{stage} {self.where}", done, total, note)

    def _judged(self, problem: Problem, weights: Tensor) -> _Point:
        loss = evaluate(problem, problem.train, weights).loss
        test = evaluate(problem, problem.test, weights)
        nonzero = int((weights[problem.prunable_mask()] != 0).sum())
        return self._point(test, loss, nonzero)

    def _refitted(self, removed: int) -> _Point:
        problem = self.problem
        found = self._refit(removed, self.lr)
        if self.climbs and not found.feasible:
            self.climbs = False
            found = self._climb(removed, found)
        test = evaluate(problem, problem.test, found.weights)
        nonzero = int((found.weights[problem.prunable_mask()] != 0).sum())
        return self._point(test, found.loss, nonzero)

    def _refit(self, removed: int, lr: float) -> RefitResult:
        problem, config = self.problem, self.config
        where = f"at {removed / self.prunable:.2%}"

        def named(stage: str, done: int, total: int, note: str = "") -> None:
            self.progress(f"{stage} {where}", done, total, note)

        found = refit(
            problem,
            self.selection.mask(removed),
            target_loss=self.target,
            epochs=config.refit_epochs,
            lr=lr,
            batch_size=config.refit_batch_size,
            seed=problem.seed,
            progress=named,
        )
        self.epochs += found.epochs_used
        return found

    def _climb(self, removed: int, found: RefitResult) -> RefitResult:
        """Double or halve the learning rate while that reaches a lower loss."""
        for factor in (2.0, 0.5):
            climbed = False
            while not found.feasible:
                other = self._refit(removed, self.lr * factor)
                if not other.loss < found.loss:
                    break
                self.lr, found, climbed = self.lr * factor, other, True
            if climbed:
                break
        return found

    def _point(self, test: Evaluation, loss: float, nonzero: int) -> _Point:
        change = self.test.correct.astype(float) - test.correct.astype(float)
        error = float(change.std(ddof=1)) / math.sqrt(len(change)) if len(change) > 1 else 0.0
        feasible = loss <= self.target
        return _Point(test.accuracy, float(change.mean()), error, loss, nonzero, feasible)

    def _tell(self, removed: int) -> None:
        if self.config.method == "refit":
            return
        done = len(self.points)
        self.planned = max(self.planned, done + 1)
        point = self.points[removed]
        note = f"sparsity {removed / self.prunable:.2%}, accuracy {point.accuracy:.2%}"
        self.progress("measuring", done, self.planned, note)

    # -- searches --------------------------------------------------------------------------

    def run(self, wanted: Sequence[float] | None) -> Measurement:
        if wanted is not None:
            counts = [removal_count(value, self.prunable) for value in wanted]
            self.planned = len({0, *counts}) + 1
            for removed in counts:
                self.at(removed)
        elif self.config.method == "refit":
            counts = self._search_refit()
        elif self.path is not None:
            counts = self._search_moved()
        else:
            counts = self._search_one_shot()
        thresholds = self._thresholds()
        if self.config.method != "refit":
            self.progress("measuring", len(self.points), len(self.points))
        chosen = sorted(self.points if wanted is None else set(counts))
        curve = tuple(
            MeasurePoint(
                sparsity=removed / self.prunable,
                accuracy=self.points[removed].accuracy,
                loss=self.points[removed].loss,
                nonzero=self.points[removed].nonzero,
            )
            for removed in chosen
        )
        lr = self.lr if self.config.method == "refit" else None
        allocation, calibration = self.selection.allocation, self.selection.calibration
        if self.path is None:
            products, samples = self.selection.products, calibration
        else:
            moving = self.path.compensator
            calibration = moving.calibration
            products, samples = moving.products, moving.windows.size
        cost = Cost(
            products=products,
            samples=samples if products else 0,
            epochs=self.epochs,
            seconds=time.perf_counter() - self.begin,
        )
        how = allocation, calibration, cost
        return Measurement(self.dense, self.epsilon, curve, thresholds, lr, *how)

    def _search_one_shot(self) -> list[int]:
        coarse = sorted({removal_count(value, self.prunable) for value in COARSE})
        self._plan(len(coarse))
        for removed in coarse:
            self.at(removed)
        return self._refine_all()

    def _search_moved(self) -> list[int]:
        """Fewer survivors by :data:`SPACING` until no rule holds any more, then bisect."""
        self._plan(math.ceil(math.log(self.prunable) / -math.log(SPACING)))
        rules = [self._within(tolerance, -1) for tolerance in (*self.tolerances, 0.0)]
        kept, failed = self.prunable, 0
        while kept and failed < BEYOND:
            kept = min(kept - 1, round(kept * SPACING))
            point = self.at(self.prunable - kept)
            failed = 0 if any(rule(point) for rule in (*rules, _feasible)) else failed + 1
        return self._refine_all()

    def _plan(self, coarse: int) -> None:
        bisections = math.ceil(math.log2(max(2.0, 0.1 / self.config.resolution)))
        self.planned = coarse + (bisections + CONFIRMING) * (len(self.tolerances) + 2)

    def _refine_all(self) -> list[int]:
        for tolerance in self.tolerances:
            self._refine(self._within(tolerance, 0), confirm=True)
            for sign in (1, -1):
                self._refine(self._within(tolerance, sign), coarseness=END_COARSENESS)
        self._refine(_feasible, confirm=True)
        self._refine(self._within(0.0, 0), last=True)
        return sorted(self.points)

    def _search_refit(self) -> list[int]:
        """Halve the survivors until infeasible, then bisect in the logarithm of survivors."""
        kept = self.prunable
        while kept:
            smaller = kept // 2
            if not self.at(self.prunable - smaller).feasible:
                self._bisect_refit(smaller, kept)
                break
            kept = smaller
        return sorted(self.points)

    def _bisect_refit(self, failing: int, holding: int) -> None:
        while holding - failing > max(self.step, 0.05 * holding):
            middle = round(math.sqrt(max(failing, 0.5) * holding))
            middle = min(holding - 1, max(failing + 1, middle))
            if self.at(self.prunable - middle).feasible:
                holding = middle
            else:
                failing = middle

    def _within(self, tolerance: float, sign: int) -> _Rule:
        """Drop within tolerance; by ``sign`` also when the sampling error is added or taken."""
        # Shares of samples are sums of 1/n: a drop of exactly the tolerance must hold.
        slack = 1e-12
        return lambda p: p.drop + sign * self.z * p.standard_error <= tolerance + slack

    def _crossing(self, rule: _Rule, *, last: bool = False) -> tuple[int, int | None]:
        """Removed counts: the last that holds with all before it, and the one after (fails).

        With ``last``, the largest that holds at all. The second is None when there is none after.
        """
        counts = sorted(self.points)
        held = [rule(self.points[removed]) for removed in counts]
        if last:
            index = max(i for i, ok in enumerate(held) if ok)
        else:
            index = held.index(False) - 1 if False in held else len(held) - 1
        return counts[index], counts[index + 1] if index + 1 < len(counts) else None

    def _refine(
        self, rule: _Rule, *, coarseness: int = 1, confirm: bool = False, last: bool = False
    ) -> None:
        """Measure points until the crossing is known to the resolution, and confirmed below."""
        step = self.step * coarseness
        while True:
            low, high = self._crossing(rule, last=last)
            if high is not None and high - low > step:
                self.at((low + high) // 2)
                continue
            below = [low - k * self.step for k in range(1, CONFIRMING + 1)] if confirm else []
            missing = [removed for removed in below if removed > 0 and removed not in self.points]
            if not missing:
                return
            for removed in missing:
                self.at(removed)

    # -- thresholds ------------------------------------------------------------------------

    def _thresholds(self) -> tuple[Threshold, ...]:
        thresholds = []
        if self.config.method == "refit":
            thresholds.append(self._bracketed("feasibility"))
        thresholds += [self._accuracy("accuracy", tolerance) for tolerance in self.tolerances]
        if self.config.method != "refit":
            thresholds.append(self._accuracy("dense-accuracy", 0.0, last=True))
            thresholds.append(self._bracketed("loss"))
        return tuple(thresholds)

    def _bracketed(self, rule: str) -> Threshold:
        low, high = self._crossing(_feasible)
        return Threshold(
            rule=rule,
            tolerance=self.epsilon.value,
            sparsity=low / self.prunable,
            interval=(low / self.prunable, self._end(high)),
        )

    def _accuracy(self, rule: str, tolerance: float, *, last: bool = False) -> Threshold:
        """The threshold with its interval, whose upper end is the first point beyond it."""
        sparsity, _ = self._crossing(self._within(tolerance, 0), last=last)
        low, _ = self._crossing(self._within(tolerance, 1), last=last)
        _, high = self._crossing(self._within(tolerance, -1), last=last)
        return Threshold(
            rule=rule,
            tolerance=tolerance,
            sparsity=sparsity / self.prunable,
            interval=(low / self.prunable, self._end(high)),
        )

    def _end(self, removed: int | None) -> float:
        """A sparsity; 1 where nothing measured has failed."""
        return 1.0 if removed is None else removed / self.prunable


def _feasible(point: _Point) -> bool:
    return point.feasible
