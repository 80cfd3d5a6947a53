"""Pruning in stages: prune, move the survivors, look again.

A linear model of the outputs holds only near the point that it is taken at. So a stage removes some
weights and fits the layers one by one (:mod:`.layerwise`), or takes the statistics of batch
normalisation anew where that is nearer. Then it draws the outputs on calibration inputs back to the
dense network's: by minibatches (:mod:`.descent`), and by one damped Gauss-Newton step where the
inputs determine the survivors (:mod:`.conjugate_gradients`, :mod:`.preconditioner`). The next stage
begins from there, on other inputs. How far to go is read from the divergence on inputs held out;
whether the quadratic model can be trusted, from what it said of its own inputs.

Sources: Hassibi and Stork 1993 (the update); Levenberg 1944, Marquardt 1963 (damping raised when
actual and predicted change disagree); Martens 2010 (choosing among iterates on other samples).
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..curvature import CurvatureProduct
from ..curvature.memory import LIBRARIES, RECORDER, RECORDING, available_bytes
from ..curvature.products import WORTH_RECORDING, samples_of_batch
from ..devices import bfloat16_tiles, wide
from ..distributed import ALONE, Group
from ..errors import UsageError
from ..inputs.loss import Loss, is_cross_entropy
from ..inputs.problem import Problem, Split
from ..limit.tolerance import batch_std, loss_tolerance
from ..progress import Progress, silent
from ..pruning.selection import Selection
from ..values import EpsilonRule
from .calibration import Calibration, Windows, own_losses
from .conjugate_gradients import Solution, natural_damping, solve
from .descent import descent, passes_of
from .layerwise import LEAST_SAMPLES, layerwise, working_bytes
from .line_search import Watch, choose, trusted
from .preconditioner import RowBlocks, block_size
from .state import FIRST_STEP, Stage, State
from .student import Point, Student, fill

__all__ = ["Compensator", "Cost"]

HELD_OUT = 0.25
"""Share of the calibration inputs that judge a step and do not make it."""

LEAST_STEP = math.log(1 / 0.95)
"""A stage that removes no more than a twentieth of the survivors is never undone."""

TRUSTED, DOUBTFUL, REFUSED = 0.75, 0.5, 0.25
"""Bounds of actual over predicted decrease. Above the first, steps grow and damping falls back.
Below the second, steps shrink. Below the third, a stage is undone and damping is raised."""

GROWTH = 1.4
DAMPING_FACTOR = 4.0
"""Factors of step and damping."""

WHOLE_WEIGHTS = 0.05
"""If the number of stages is given, a rest of less than this share of a stage is no stage of its
own. Such a rest is left because stages end at whole weights."""

STEEPEST = 2.0
"""With ``auto``, the cut of a stage may add so many times the divergence so far, once its layers
are fitted."""

SHALLOW = 0.25
"""Share of epsilon that the cut may add in any case. The damping rests on the model holding that
far."""

NEGLIGIBLE = 0.01
"""A rise below this share of epsilon needs no compensation."""

MOST_STEPS = 25
"""Steps of a solve at most, where they are left to the tool."""

DETERMINED = 2
"""Directions that the inputs of a solve see of every survivor, at least, where ``cg_steps`` is left
to itself: with fewer the solve fits what is its own inputs' alone."""

FEW_INPUTS = 2_500
"""Most inputs of a solve where ``cg_steps`` is left to itself: with more of them, minibatches reach
as far in less time."""

FASTEST = 0.05
"""Highest rate of the descent: a share of the typical size of a tensor's survivors."""

RATE_GROWTH = 1.5
RATE_FALL = 4.0
"""Factors of that rate, where the whole of a descent was of use and where nothing was."""

SHORTER = (1.0, 0.5, 0.25)
"""Shares of a descent that are tried."""

FEW = 64
"""Inputs whose graphs are measured to plan memory."""

SKETCHED = 200
"""Inputs that give the diagonal of the preconditioner."""

RECALIBRATE = 2_000
"""Inputs that give statistics of batch normalisation."""


@dataclass(frozen=True)
class Cost:
    """What pruning is going to take, about. ``stages`` may be more with ``auto`` where cuts are
    steep. ``products`` are curvature products. ``seconds`` follow from the time of one forward
    pass. ``bytes`` are what the process is going to grow by at its peak."""

    stages: int
    products: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class _Cut:
    """The start of a stage: the weights that are ``kept``, and its survivors ``unmoved`` and
    ``fitted``. ``rows`` have read the layers' Gram matrices, if a solve is to come; None where
    nothing needs to move."""

    kept: Tensor
    unmoved: Point
    fitted: Point
    rows: RowBlocks | None


class Compensator:
    """Prunes ``problem`` and moves the survivors; reads inputs only, never labels.

    ``epsilon`` is the loss tolerance that damps the steps, mu = 2 epsilon / R^2 with R the length
    of all that is removed: a number of nats, or for cross-entropy a rule as for
    :func:`~prunelimit.limit.tolerance.loss_tolerance`, with labels drawn from the network's own
    outputs. Every stage has ``calibration`` inputs of ``inputs`` (default: the training split; 0
    takes all). A quarter of them, at most a thousand, are always the same and judge; see
    :class:`~.calibration.Windows`.
    ``cg_steps`` bounds each solve, which ends earlier when the inputs that judge gain no more; None
    for :data:`MOST_STEPS` where the inputs are few and yet determine the survivors, or where there
    is one stage, else for none, as 0 is.
    ``bn_recalibrate`` of the first inputs give the statistics of batch normalisation where that is
    nearer than layers fitted without (None: up to 2,000, 0: they stay).
    ``stages`` is how many stages to begin with. None takes as many as the model needs to be
    trusted. ``selection`` says which weights go (default: the smallest of all layers together).

    The processes of ``group`` do the same stages and share the inputs of every solve and judgement.
    The first process fits layers and takes statistics.

    ``products`` counts the curvature products spent, each over the inputs of one solve.

    The problem is unchanged. Everything is deterministic. :meth:`advance` may go on from a state of
    lower sparsity, so a whole curve costs no more than its last point.

    Raises:
        UsageError: a setting makes no sense, or the loss has no GGN.
        InputError: the network does not take the inputs.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        epsilon: float | EpsilonRule,
        calibration: int,
        cg_steps: int | None = None,
        stages: int | None = None,
        bn_recalibrate: int | None = None,
        selection: Selection | None = None,
        inputs: Split | None = None,
        group: Group = ALONE,
        progress: Progress = silent,
    ) -> None:
        _check(cg_steps, stages, bn_recalibrate)
        self.problem = problem
        self.cg_steps = cg_steps
        self.number = stages
        self.progress = progress
        self.products = 0
        self.selection = Selection(problem) if selection is None else selection
        self.windows = Windows(problem, calibration, HELD_OUT, inputs)
        begin = time.perf_counter()
        fit = self.windows.at(0)
        self._forward = (time.perf_counter() - begin) / len(fit)
        held = self.windows.held
        self.epsilon = _tolerance(problem, torch.cat([fit.dense, held.dense]), epsilon)
        wanted = RECALIBRATE if bn_recalibrate is None else bn_recalibrate
        self.group = group
        self.student = Student(problem, fit, held, wanted, group)
        self.prunable = int(problem.prunable_mask().sum())
        self._dense = problem.vector()

    # -- what is known beforehand ----------------------------------------------------------

    @property
    def calibration(self) -> int:
        """Inputs of one stage."""
        return self.windows.size + len(self.windows.held)

    @property
    def removable(self) -> int:
        """The most weights that can go."""
        return self.selection.removable

    def cost(self, removed: int) -> Cost:
        """About what it takes to remove ``removed`` weights from the dense network."""
        log = math.log(self.prunable / max(self.prunable - removed, 0.5))
        stages = self.number or max(1, math.ceil(log / FIRST_STEP) * 2)
        begin = max(1, round(self.prunable * math.exp(-log / stages)))
        steps = [
            self._most_steps(max(1, round(begin * math.exp(-place * log / stages))))
            for place in range(stages)
        ]
        products = sum(steps)
        # A product takes about 4 forward passes, the gradient 3, the dense outputs and the trust
        # 2, every candidate and every cut that is looked at 1. A step of the descent takes 3 of its
        # inputs. Layers are fitted on some of the inputs; their regressions take about as long
        # again as the passes of both networks.
        passes = (4 * products + 5 * stages) * self.windows.size
        passes += 3 * stages * passes_of(self.windows.size) * self.windows.size
        passes += stages * (8 * len(self.windows.held) + 4 * min(LEAST_SAMPLES, self.windows.size))
        vectors = 6 + math.ceil(math.log(max(steps) + 1) / math.log(1.4))
        bytes_taken = vectors * self.problem.layout.size * self.problem.dtype.itemsize
        # Layers are fitted before the solve. By then their memory is free again, but for the blocks
        # of the preconditioner, which are made on the way. Where there is no solve, holes between
        # tensors and the minibatches took about as much.
        kept = math.exp(-log / stages)
        survivors = max(1, round(kept * self.prunable))
        longest = max(shape[1:].numel() for shape in self.problem.layout.shapes)
        piece = min(longest, block_size(survivors, self.problem.dtype.itemsize))
        blocks = survivors * piece * self.problem.dtype.itemsize
        systems, passes_waiting = working_bytes(self.problem, kept, self.windows.at(0))
        graphs = self._graphs(blocks) if products else 0
        bytes_taken += max(graphs, systems + passes_waiting + blocks)
        bytes_taken += LIBRARIES
        return Cost(stages, products, passes * self._forward, bytes_taken)

    def _graphs(self, blocks: int) -> int:
        """About how many bytes a solve takes: graphs, from those of a few inputs, beside the
        ``blocks`` of its preconditioner; or recording, if that takes more."""
        fit = self.windows.at(0)
        few = fit.subset(FEW, 0)
        assert isinstance(few, Calibration)
        judged = few.fit_problem(self.problem, self.problem.model)
        product = CurvatureProduct(judged, few, "ggn", route="double-backward")
        room = available_bytes(self.problem.device) // 2
        each = max(1.0, product.kept_bytes / len(few))
        batch = int(each * min(len(fit), samples_of_batch(self.problem, len(fit), each)))
        found = int(each * len(fit)) // self.group.size
        recorded = found >= WORTH_RECORDING
        if recorded and self.problem.dtype == torch.float32 and bfloat16_tiles(self.problem.device):
            found //= 2
        kept = min(room, found) + batch + blocks
        return RECORDER + max(kept, int(RECORDING * batch) + blocks) if recorded else kept

    def warnings(self, state: State) -> tuple[str, ...]:
        """What the user has to know about ``state``: one sentence each, empty where all is well."""
        survivors = int(state.kept.sum())
        last = self.windows.at(max(0, state.solves - 1))
        # Each sample gives the GGN at most as many directions as there are outputs.
        seen = len(last) * last.dense[0].numel()
        found = []
        if survivors > 4 * seen:
            on_fit = self.student.rise(state.weights, state.buffers, last)
            found.append(
                f"The {len(last):,} calibration inputs of a stage determine at most {seen:,} "
                f"directions of {survivors:,} surviving parameters. The divergence is "
                f"{state.rise:.2g} on inputs held out and {on_fit:.2g} on the inputs of the last "
                "stage; raise `calibration`."
            )
        return tuple(found)

    # -- states ----------------------------------------------------------------------------

    def begin(self) -> State:
        """The dense network."""
        return State(self._dense.clone(), torch.ones_like(self._dense, dtype=torch.bool), {})

    def problem_at(self, state: State) -> Problem:
        """The problem with the network of ``state``: a copy, with labels and loss as given."""
        model = copy.deepcopy(self.problem.model)
        fill(model, self.problem, state.weights, state.buffers)
        return dataclasses.replace(self.problem, model=model)

    def rise(self, state: State) -> float:
        """Mean divergence of ``state`` from the dense network, nats, on the held-out inputs."""
        return self.student.rise(state.weights, state.buffers)

    def advance(
        self,
        state: State,
        removed: int,
        *,
        budget: float = math.inf,
        on_stage: Callable[[State], None] | None = None,
    ) -> State:
        """Go on from ``state`` until ``removed`` weights are removed, exactly.

        With ``auto`` a stage is begun shorter while its cut is too steep. That is read before any
        solve: the cut with its layers fitted adds more than ``STEEPEST`` times the divergence so
        far, and more than ``SHALLOW`` times epsilon. A stage is undone and begun again half as long
        in two cases. Either the misfit of its own inputs fell by less than a quarter of what its
        model predicted. Or it ends above ``budget`` (nats of divergence). A short stage whose model
        still fails is kept at the best point found. One that still exceeds the budget is undone for
        good, and the state before it is returned. No state is worse than the survivors unmoved.
        With ``stages=1`` nothing is repeated. ``on_stage`` is called with every state reached.

        Raises:
            UsageError: fewer weights are removed than before, or more than can go.
        """
        if not state.removed <= removed <= self.removable:
            raise UsageError(
                f"{removed} weights cannot be removed, only {state.removed} to {self.removable}; "
                "give a smaller `amount`, or another `min_keep`."
            )
        begin, total = state.removed, removed - state.removed
        if self.number is not None and total and state.goal != removed:
            step = self._log_left(state, removed) / self.number
            state = dataclasses.replace(state, log_keep_ratio=step, goal=removed)
        while state.removed < removed:
            left = self._log_left(state, removed)
            over = 1e-9 if self.number is None else WHOLE_WEIGHTS
            count = max(1, math.ceil(left / state.log_keep_ratio - over))
            target = removed
            if count > 1:
                kept = (self.prunable - state.removed) * math.exp(-left / count)
                target = min(removed, max(state.removed + 1, self.prunable - round(kept)))
            cut = self._cut(state, target)
            long = self.number is None and left / count > 1.001 * LEAST_STEP
            allowed = max(SHALLOW * self.epsilon, STEEPEST * state.rise)
            if long and cut.fitted.rise - state.rise > allowed:
                state = dataclasses.replace(
                    state, log_keep_ratio=max(LEAST_STEP, left / count / GROWTH)
                )
                continue
            following = self._stage(state, cut, left / count, budget)
            if following is None:
                break
            if state.stages and following.removed > state.removed:
                following = self._no_worse(following)
            state = following
            if on_stage is not None:
                on_stage(state)
            note = f"divergence {state.rise:.3g}"
            self.progress("compensating", state.removed - begin, total, note)
        return state

    def _log_left(self, state: State, removed: int) -> float:
        return math.log((self.prunable - state.removed) / max(self.prunable - removed, 0.5))

    def _cut(self, state: State, removed: int) -> _Cut:
        """``state`` with ``removed`` weights gone, and its layers fitted if it needs that. This
        takes forward passes only, so no solve is spent to see that a cut is too steep."""
        kept = self._mask(state, removed)
        weights = state.weights.masked_fill(~kept, 0)
        unmoved = Point(weights, state.buffers, self.student.rise(weights, state.buffers))
        return self._fitted(state, kept, unmoved)

    def _no_worse(self, state: State) -> State:
        """``state``, or the dense network compensated in a single stage. The latter is taken if the
        path went astray: the dense network, just cut to as many weights, is then nearer to the
        uncut one. What was removed may return."""
        dense = self.begin()
        kept = self._mask(dense, state.removed)
        weights = dense.weights.masked_fill(~kept, 0)
        rise = self.student.rise(weights, {}, above=state.rise)
        if state.rise <= rise:
            return state
        begun = dataclasses.replace(dense, solves=state.solves)
        found = self._stage(
            begun, self._fitted(begun, kept, Point(weights, {}, rise)), 0.0, math.inf
        )
        assert found is not None  # a step of no length is never undone
        anew = dataclasses.replace(found.stages[-1], outcome="anew")
        step = max(LEAST_STEP, state.log_keep_ratio / GROWTH)
        return dataclasses.replace(
            found,
            log_keep_ratio=state.log_keep_ratio if self.number is not None else step,
            stages=(*state.stages[:-1], anew),
            undone=state.undone + 1,
            goal=state.goal,
        )

    # -- one stage -------------------------------------------------------------------------

    def _stage(self, state: State, begun: _Cut, step: float, budget: float) -> State | None:
        """The state with what the cut leaves. If that cannot be trusted, the same state with a
        shorter step. None if the budget allows nothing."""
        kept, unmoved, cut = begun.kept, begun.unmoved, begun.fitted
        removed = int((~kept).sum())
        repeats = self.number != 1 and step > (1 + WHOLE_WEIGHTS) * LEAST_STEP
        if begun.rows is None:
            stage = Stage(removed, cut.rise, cut.rise, cut.rise, None, 0.0, 0, 0, 0.0, "free")
            moved = self._moved(state, kept, cut, stage)
            return moved if cut.rise <= budget else None
        fit = self.windows.at(state.solves)
        if cut.rise > SHALLOW * self.epsilon:
            cut, rate = self._descended(cut, kept, fit, state)
            state = dataclasses.replace(state, rate=rate)
        state = dataclasses.replace(state, solves=state.solves + 1)
        shorter = max(step / 2, LEAST_STEP * 0.999)
        steps = self._most_steps(int(kept.sum()))
        if not steps:
            rises = unmoved.rise, begun.fitted.rise, cut.rise
            stage = Stage(removed, *rises, None, 0.0, 0, 0, 0.0, "no solve")
            if cut.rise <= budget:
                return self._moved(state, kept, cut, stage)
            undone = dataclasses.replace(state, log_keep_ratio=shorter, undone=state.undone + 1)
            return undone if repeats else None
        radius = float(wide(self._dense.masked_fill(kept, 0)).norm())
        damping = natural_damping(self.epsilon, radius) * state.damping_scale
        watch = Watch(self.student, cut, steps)
        found, misfit = self._solve(cut, kept, damping, fit, begun.rows, watch)
        dense = self._dense.masked_fill(~kept, 0)
        choice = choose(self.student, cut, dense, found, watch.rises)
        best = choice.point
        trust = trusted(self.student, cut, found, choice, fit, misfit)
        stage = Stage(
            removed=removed,
            cut=unmoved.rise,
            fitted=begun.fitted.rise,
            rise=best.rise,
            trust=trust,
            damping=damping,
            steps=found.steps,
            chosen=0 if choice.iterate is None else choice.iterate.steps,
            length=choice.length,
            outcome=found.outcome,
        )
        damping_scale, following = state.damping_scale, state.log_keep_ratio
        if trust > TRUSTED:
            damping_scale, following = (
                max(1.0, damping_scale / DAMPING_FACTOR),
                max(step, state.log_keep_ratio) * GROWTH,
            )
        elif trust < DOUBTFUL:
            following = max(LEAST_STEP, step / GROWTH)
        if trust < REFUSED:
            damping_scale *= DAMPING_FACTOR
        if self.number is not None:
            following = state.log_keep_ratio
        if repeats and (trust < REFUSED or best.rise > budget):
            return dataclasses.replace(
                state, log_keep_ratio=shorter, damping_scale=damping_scale, undone=state.undone + 1
            )
        if best.rise > budget:
            return None
        return dataclasses.replace(
            self._moved(state, kept, best, stage),
            log_keep_ratio=following,
            damping_scale=damping_scale,
        )

    def _most_steps(self, survivors: int) -> int:
        """Steps that the solve of a stage that leaves so many may take."""
        if self.cg_steps is not None:
            return self.cg_steps
        inputs = self.windows.size
        seen = inputs * self.windows.held.dense[0].numel()
        worth = inputs <= FEW_INPUTS and DETERMINED * survivors <= seen
        return MOST_STEPS if self.number == 1 or worth else 0

    def _descended(
        self, cut: Point, kept: Tensor, fit: Calibration, state: State
    ) -> tuple[Point, float]:
        """The cut with its outputs drawn back by minibatches, as far as that helps, and the rate
        that the next stage is to begin with."""
        self.student.fill(cut.weights, cut.buffers)
        end = descent(
            self.student.fitting(fit),
            fit,
            cut.weights,
            kept,
            rate=state.rate,
            place=state.solves,
            progress=self.progress,
        )
        way = self.group.of_first(end) - cut.weights
        best, length = cut, 0.0
        for share in SHORTER:
            weights = torch.add(cut.weights, way, alpha=share)
            rise = self.student.rise(weights, cut.buffers, above=best.rise)
            if rise < best.rise:
                best, length = Point(weights, cut.buffers, rise), share
            elif length:
                break
        if length == 1:
            return best, min(FASTEST, state.rate * RATE_GROWTH)
        return best, state.rate if length else state.rate / RATE_FALL

    def _moved(self, state: State, kept: Tensor, point: Point, stage: Stage) -> State:
        return dataclasses.replace(
            state,
            weights=point.weights,
            kept=kept,
            buffers=point.buffers,
            rise=point.rise,
            stages=(*state.stages, stage),
        )

    def _mask(self, state: State, removed: int) -> Tensor:
        """True where kept; what is removed already stays removed."""
        return self.selection.following(
            state.weights, state.kept, removed, lambda: self.problem_at(state)
        )

    def _fitted(self, state: State, kept: Tensor, unmoved: Point) -> _Cut:
        """The cut with its layers fitted one by one, if that is nearer. It is a start for the solve
        that costs a few forward passes.

        The statistics of batch normalisation are the dense network's, as the targets are. They are
        taken anew in one case: fitting gives back less than half of what the cut added, and new
        statistics are nearer still."""
        added = unmoved.rise - state.rise
        if self.number != 1 and added <= NEGLIGIBLE * self.epsilon:
            return _Cut(kept, unmoved, unmoved, None)
        rows = RowBlocks(self.problem, kept)
        fit = self.windows.at(state.solves)
        read = rows.read if self._most_steps(int(kept.sum())) else None
        weights = layerwise(self.problem, unmoved.weights, kept, fit, on_gram=read)
        weights = self.group.of_first(weights)
        found = Point(weights, {}, self.student.rise(weights, {}))
        if self.student.recalibrate and not found.rise - state.rise < 0.5 * added:
            anew = self.student.anew(unmoved.weights)
            found = anew if anew.rise < found.rise else found
        return _Cut(kept, unmoved, found if found.rise < unmoved.rise else unmoved, rows)

    def _solve(
        self,
        cut: Point,
        kept: Tensor,
        damping: float,
        fit: Calibration,
        rows: RowBlocks,
        watch: Watch,
    ) -> tuple[Solution, float]:
        """The survivors' step by the model at the cut, and the misfit there. If outputs are linear
        in the weights, the gradient there is G d + g. The step is then the one from before the
        cut."""
        product = self.student.product(cut.weights, cut.buffers, fit)

        diagonal = self.student.diagonal(cut.weights, cut.buffers, fit, SKETCHED)
        inverse = rows.inverse(diagonal, damping)

        def told(step: int) -> None:
            self.progress("solving", step, watch.steps)

        found = solve(
            product,
            -product.gradient(),
            kept,
            damping=damping,
            max_steps=watch.steps,
            precondition=lambda residual: self.group.of_first(inverse(residual)),
            stop=watch,
            on_step=told,
        )
        self.products += product.products
        if found.steps < watch.steps:
            self.progress("solving", watch.steps, watch.steps)
        return found, product.value


def _tolerance(problem: Problem, dense: Tensor, epsilon: float | EpsilonRule) -> float:
    if isinstance(epsilon, EpsilonRule):
        if isinstance(problem.loss, Loss) and is_cross_entropy(problem.loss):
            losses = own_losses(dense, problem.seed, problem.loss.form.axis).numpy()
            if epsilon.kind == "batch-std":  # how far a step is damped needs no exact number
                return batch_std(losses)
            return loss_tolerance(losses, epsilon).value
        if epsilon.kind != "nats":
            raise UsageError(
                f"`epsilon` is {epsilon}, which needs cross-entropy where no labels are read; "
                "give a number."
            )
        epsilon = epsilon.value
    natural_damping(epsilon, 1.0)
    return epsilon


def _check(cg_steps: int | None, stages: int | None, bn_recalibrate: int | None) -> None:
    if cg_steps is not None and cg_steps < 0:
        raise UsageError(f"`cg_steps` is {cg_steps}; give auto, or 0 or more.")
    if stages is not None and stages < 1:
        raise UsageError(f"`stages` is {stages}; give auto, or 1 or more.")
    if bn_recalibrate is not None and (bn_recalibrate < 0 or bn_recalibrate == 1):
        raise UsageError(
            f"`bn_recalibrate` is {bn_recalibrate}; give 2 samples or more, or 0 to leave batch "
            "normalisation as it is."
        )
