"""Pruning in stages: prune, move the survivors, look again.

The quadratic model holds only near the point that it is taken at. A stage removes weights, moves
the survivors by one damped Gauss-Newton step (:mod:`.compensate`) that keeps the outputs on the
calibration inputs near the dense network's, and the next stage begins from there. Gradient and
curvature belong to one part of the calibration inputs; how far to go along the step, and whether
the model could be trusted, is read from the divergence on the part held out.

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
from typing import Any

import torch
from torch import Tensor, nn

from ..curvature import CurvatureProduct
from ..epsilon import loss_tolerance
from ..errors import InputError, UsageError
from ..inputs.problem import Problem, Split, cross_entropy
from ..progress import Progress, silent
from .calibration import Calibration, own_losses
from .compensate import Iterate, Solution, compensate, natural_damping
from .recalibrate import norm_layers, recalibrated, statistics

__all__ = ["Compensator", "Cost", "Stage", "State"]

HELD_OUT = 0.25
"""Share of the calibration inputs that judge a step and do not make it."""

FIRST_STEP = math.log(2.0)
"""Logarithm of the survivors' ratio that ``auto`` begins with: half of them."""

LEAST_STEP = math.log(1 / 0.95)
"""A stage that removes no more than a twentieth of the survivors is taken as it comes."""

TRUSTED, DOUBTFUL, REFUSED = 0.75, 0.5, 0.25
"""Actual over predicted decrease: above the first steps grow and damping falls back, below the
second steps shrink, below the third a stage is undone and damping is raised."""

GROWTH = 1.4
LIFT = 4.0
"""Factors of step and damping."""

STEEPEST = 2.0
"""With ``auto``, how many times the larger of epsilon and the divergence that is there already the
cut of a stage may add to it. Conjugate gradients gave back about two thirds of a cut (on ResNet-20
from 50 to 80%, on LeNet-300-100 a third to two thirds): a cut to three times what is there is the
longest that a step takes back. Below epsilon the quadratic is taken to hold, as its damping has
it."""

NEGLIGIBLE = 0.01
"""Share of epsilon below which a rise asks for no compensation."""

LENGTHS = (0.5, 0.25)
"""Shorter steps along the chosen iterate that are tried."""


@dataclass(frozen=True)
class Stage:
    """One stage that stands: rises are divergences from the dense network, nats, held out.

    ``removed`` weights in all; ``cut`` is the rise with the survivors unmoved, ``rise`` with them
    moved, ``predicted`` how far the model had it fall between, ``trust`` the actual fall over
    that. ``damping`` is mu; ``steps`` of conjugate gradients were taken, the iterate after
    ``chosen`` of them used at ``length`` of its own. ``outcome`` is the solver's, "free" where
    nothing needed to move (trust is then None), or "anew" where the path was left and the dense
    network pruned to this sparsity in one stage.
    """

    removed: int
    cut: float
    rise: float
    predicted: float
    trust: float | None
    damping: float
    steps: int
    chosen: int
    length: float
    outcome: str


@dataclass(frozen=True)
class State:
    """A pruned network between stages.

    ``weights`` (D,) are the free parameters, exactly zero where ``kept`` (bool, (D,)) is False;
    ``buffers`` the statistics of batch normalisation that belong to them, by name, empty where the
    network's own do. ``rise`` is the divergence from the dense network on the held-out inputs,
    nats; ``step`` and ``lift`` are what the next stage begins with: logarithm of the survivors'
    ratio, and factor of the damping. ``undone`` counts stages that were taken back; ``goal`` is how
    many weights were to go when ``step`` was chosen, where the number of stages was given.
    """

    weights: Tensor
    kept: Tensor
    buffers: dict[str, Tensor]
    rise: float = 0.0
    step: float = FIRST_STEP
    lift: float = 1.0
    stages: tuple[Stage, ...] = ()
    undone: int = 0
    goal: int = -1

    @property
    def removed(self) -> int:
        """Weights removed."""
        return int((~self.kept).sum())

    def document(self) -> dict[str, Any]:
        """The state in types that ``torch.load`` reads with ``weights_only``."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**fields, "stages": [dataclasses.asdict(each) for each in self.stages]}

    @staticmethod
    def of(document: dict[str, Any]) -> State:
        """The state that :meth:`document` described.

        Raises:
            InputError: it is of another form.
        """
        try:
            stages = tuple(Stage(**each) for each in document["stages"])
            return State(**{**document, "stages": stages})
        except (KeyError, TypeError) as error:
            raise InputError(
                "The state of the interrupted pruning is of another version; begin again with "
                "--force."
            ) from error


@dataclass(frozen=True)
class Cost:
    """What pruning is going to take, about: ``stages`` (more with ``auto`` where cuts are steep),
    ``products``, ``seconds`` (from the time of one forward pass) and ``bytes`` of vectors, beside
    what products keep of the graphs."""

    stages: int
    products: int
    seconds: float
    bytes: int


class Compensator:
    """Prunes ``problem`` and moves the survivors; reads inputs only, never labels.

    ``epsilon`` is the loss tolerance that damps the steps, mu = 2 epsilon / R^2 with R the length
    of all that is removed: a number of nats, or for cross-entropy a rule as for
    :func:`~prunelimit.epsilon.loss_tolerance`, with labels drawn from the network's own outputs.
    ``calibration`` inputs are drawn by the problem's seed from ``inputs`` (default: the training
    split; 0 takes all); ``cg_steps`` bounds each solve. ``bn_recalibrate`` samples give the
    statistics of batch normalisation after each stage where that lowers the divergence (None: as
    many as there are, 0: they stay). ``stages`` is None for as many as the model can be trusted
    for, or how many to begin with. ``scores`` gives (D,) importances of the weights of the problem
    that it is passed, least removed first; magnitude by default.
    ``min_keep`` of every prunable tensor are never removed.

    ``products`` counts the curvature products spent, each over the inputs of ``fit``.

    The problem is unchanged. Everything is deterministic; :meth:`advance` may go on from a state
    of lower sparsity, so that a curve costs no more than its last point.

    Raises:
        UsageError: a setting makes no sense, or the loss has no GGN.
        InputError: the network does not take the inputs.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        epsilon: float | str,
        calibration: int,
        cg_steps: int,
        stages: int | None = None,
        bn_recalibrate: int | None = None,
        min_keep: int = 0,
        scores: Callable[[Problem], Tensor] | None = None,
        inputs: Split | None = None,
        progress: Progress = silent,
    ) -> None:
        _check(cg_steps, stages, bn_recalibrate, min_keep)
        self.problem = problem
        self.cg_steps = cg_steps
        self.number = stages
        self.progress = progress
        self.products = 0
        self._min_keep = min_keep
        self._scores = scores
        begin = time.perf_counter()
        self.samples = Calibration.of(problem, calibration, problem.seed, inputs)
        self._forward = (time.perf_counter() - begin) / len(self.samples)
        count = len(self.samples)
        if count < 2:
            raise UsageError(f"--calibration is {calibration}; give 2 samples or more.")
        self.epsilon = _tolerance(problem, self.samples, epsilon)
        held = max(1, int(HELD_OUT * count))
        self.fit = self.samples.part(0, count - held)
        self.held = self.samples.part(count - held, count)
        has_norms = bool(norm_layers(problem.model))
        wanted = count if bn_recalibrate is None else bn_recalibrate
        self.recalibrates = wanted if has_norms else 0
        self.prunable = int(problem.prunable_mask().sum())
        self._statistics: dict[str, Tensor] | None = None
        self._dense = problem.vector()
        self._model = copy.deepcopy(problem.model)
        self._moving = self.fit.problem(problem, self._model)

    # -- what is known beforehand ----------------------------------------------------------

    @property
    def removable(self) -> int:
        """The most weights that ``min_keep`` lets go."""
        sizes = dict(zip(self.problem.layout.names, self.problem.layout.sizes, strict=True))
        return sum(max(0, sizes[name] - self._min_keep) for name in self.problem.prunable)

    def cost(self, removed: int) -> Cost:
        """What going from the dense network to ``removed`` weights less takes, about."""
        log = math.log(self.prunable / max(self.prunable - removed, 0.5))
        stages = self.number or max(1, math.ceil(log / FIRST_STEP) * 2)
        products = stages * (self.cg_steps + 1)
        # A product takes about 4 forward passes, the gradient 3, every candidate 1.
        passes = (4 * products + 3 * stages) * len(self.fit) + 10 * stages * len(self.held)
        vectors = 6 + math.ceil(math.log(self.cg_steps + 1) / math.log(1.4))
        bytes_taken = vectors * self.problem.layout.size * self.problem.dtype.itemsize
        return Cost(stages, products, passes * self._forward, bytes_taken)

    def warnings(self, state: State) -> tuple[str, ...]:
        """What is to be known of ``state``: one sentence each, empty where all is well."""
        survivors = int(state.kept.sum())
        # Each sample gives the GGN at most as many directions as there are outputs.
        seen = len(self.fit) * self.samples.dense[0].numel()
        found = []
        if survivors > 4 * seen:
            on_fit = self.rise(state, self.fit)
            found.append(
                f"The {len(self.fit):,} calibration inputs see at most {seen:,} directions of "
                f"{survivors:,} surviving parameters: the divergence is {state.rise:.2g} on "
                f"inputs held out and {on_fit:.2g} on those; raise --calibration."
            )
        return tuple(found)

    # -- states ----------------------------------------------------------------------------

    def begin(self) -> State:
        """The dense network."""
        return State(self._dense.clone(), torch.ones_like(self._dense, dtype=torch.bool), {})

    def problem_at(self, state: State) -> Problem:
        """The problem with the network of ``state``: a copy, with labels and loss as given."""
        model = copy.deepcopy(self.problem.model)
        _fill(model, self.problem, state.weights, state.buffers)
        return dataclasses.replace(self.problem, model=model)

    def rise(self, state: State, split: Calibration | None = None) -> float:
        """Mean divergence of ``state`` from the dense network, nats, on the held-out inputs."""
        _fill(self._model, self.problem, state.weights, state.buffers)
        return self._rise(state.weights, split)

    def advance(
        self,
        state: State,
        removed: int,
        *,
        budget: float = math.inf,
        on_stage: Callable[[State], None] | None = None,
    ) -> State:
        """Go on from ``state`` until ``removed`` weights are removed, exactly.

        With ``auto`` a stage is begun shorter while its cut alone, read before any solve, adds more
        than ``STEEPEST`` times the larger of epsilon and the divergence to it.
        A stage whose actual decrease is below a quarter of the predicted one, or that ends above
        ``budget`` (nats of divergence), is undone and begun again half as long. A short one that
        still misses its prediction is taken as the best point found, never worse than the
        survivors unmoved; one that still exceeds the budget is undone for good, and the state
        before it is returned. No state is worse than magnitude pruning alone. With ``stages=1``
        nothing is repeated. ``on_stage`` is called with every state reached.

        Raises:
            UsageError: fewer weights are removed than before, or more than ``min_keep`` allows.
        """
        if not state.removed <= removed <= self.removable:
            raise UsageError(
                f"{removed} weights cannot be removed, only {state.removed} to {self.removable}; "
                "give a smaller amount or a smaller --min-keep."
            )
        begin, total = state.removed, removed - state.removed
        if self.number is not None and total and state.goal != removed:
            step = self._log_left(state, removed) / self.number
            state = dataclasses.replace(state, step=step, goal=removed)
        while state.removed < removed:
            left = self._log_left(state, removed)
            count = max(1, math.ceil(left / state.step - 1e-9))
            target = removed
            if count > 1:
                kept = (self.prunable - state.removed) * math.exp(-left / count)
                target = min(removed, max(state.removed + 1, self.prunable - round(kept)))
            long = self.number is None and left / count > 1.001 * LEAST_STEP
            if long and self._steep(state, target):
                state = dataclasses.replace(state, step=max(LEAST_STEP, left / count / GROWTH))
                continue
            following = self._stage(state, target, left / count, budget)
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

    def _steep(self, state: State, removed: int) -> bool:
        """Whether the cut to ``removed`` weights raises the divergence by more than a stage may;
        forward passes only, no solve is spent on finding out."""
        kept = self._mask(state, removed)
        _fill(self._model, self.problem, state.weights, state.buffers)
        rise = self._rise(state.weights.masked_fill(~kept, 0)) - state.rise
        return rise > STEEPEST * max(self.epsilon, state.rise)

    def _no_worse(self, state: State) -> State:
        """``state``, or where the dense network cut to as many weights is nearer to it (a path that
        went astray), that one compensated in a single stage: what was removed may then return."""
        dense = self.begin()
        kept = self._mask(dense, state.removed)
        cut = dataclasses.replace(dense, weights=dense.weights.masked_fill(~kept, 0), kept=kept)
        if state.rise <= self.rise(cut):
            return state
        found = self._stage(dense, state.removed, 0.0, math.inf)
        assert found is not None  # a step of no length is taken as it comes
        anew = dataclasses.replace(found.stages[-1], outcome="anew")
        step = max(LEAST_STEP, state.step / GROWTH)
        return dataclasses.replace(
            found,
            step=state.step if self.number is not None else step,
            stages=(*state.stages[:-1], anew),
            undone=state.undone + 1,
            goal=state.goal,
        )

    # -- one stage -------------------------------------------------------------------------

    def _stage(self, state: State, removed: int, step: float, budget: float) -> State | None:
        """The state with ``removed`` weights less; the same one with a shorter step where that
        cannot be trusted; None where the budget allows nothing."""
        kept = self._mask(state, removed)
        _fill(self._model, self.problem, state.weights, state.buffers)
        cut = state.weights.masked_fill(~kept, 0)
        cut_rise = self._rise(cut)
        repeats = self.number != 1 and step > LEAST_STEP
        if self.number != 1 and cut_rise - state.rise <= NEGLIGIBLE * self.epsilon:
            stage = Stage(removed, cut_rise, cut_rise, 0.0, None, 0.0, 0, 0, 0.0, "free")
            moved = dataclasses.replace(
                state, weights=cut, kept=kept, rise=cut_rise, stages=(*state.stages, stage)
            )
            return moved if cut_rise <= budget else None
        radius = float(self._dense.masked_fill(kept, 0).double().norm())
        damping = natural_damping(self.epsilon, radius) * state.lift
        found = self._solve(state, cut, kept, damping)
        best, rise, iterate, length = self._choose(cut, cut_rise, kept, found)
        predicted = found.iterates[-1].decrease if found.iterates else 0.0
        trust = (cut_rise - rise) / predicted if predicted > 0 else 1.0
        buffers, rise = self._recalibrated(state, best, rise)
        stage = Stage(
            removed=removed,
            cut=cut_rise,
            rise=rise,
            predicted=predicted,
            trust=trust,
            damping=damping,
            steps=found.steps,
            chosen=0 if iterate is None else iterate.steps,
            length=length,
            outcome=found.outcome,
        )
        lift, following = state.lift, state.step
        if trust > TRUSTED:
            lift, following = max(1.0, lift / LIFT), max(step, state.step) * GROWTH
        elif trust < DOUBTFUL:
            following = max(LEAST_STEP, step / GROWTH)
        if trust < REFUSED:
            lift *= LIFT
        if self.number is not None:
            following = state.step
        if repeats and (trust < REFUSED or rise > budget):
            shorter = max(step / 2, LEAST_STEP * 0.999)
            return dataclasses.replace(state, step=shorter, lift=lift, undone=state.undone + 1)
        if rise > budget:
            return None
        return dataclasses.replace(
            state,
            weights=best,
            kept=kept,
            buffers=buffers,
            rise=rise,
            step=following,
            lift=lift,
            stages=(*state.stages, stage),
        )

    def _mask(self, state: State, removed: int) -> Tensor:
        """True where kept; what is removed already stays removed, and ties go by index."""
        if self._scores is None:
            scores = state.weights.abs()
        else:
            _fill(self._model, self.problem, state.weights, state.buffers)
            scores = self._scores(self._moving)
        scores = scores.masked_fill(~self.problem.prunable_mask(), math.inf)
        scores = scores.masked_fill(~state.kept, -math.inf)
        if self._min_keep:
            start = 0
            for name, size in zip(
                self.problem.layout.names, self.problem.layout.sizes, strict=True
            ):
                if name in self.problem.prunable:
                    piece = scores[start : start + size]
                    order = torch.argsort(piece, stable=True)
                    piece[order[max(0, size - self._min_keep) :]] = math.inf
                start += size
        kept = torch.ones_like(state.kept)
        kept[torch.argsort(scores, stable=True)[:removed]] = False
        return kept

    def _solve(self, state: State, cut: Tensor, kept: Tensor, damping: float) -> Solution:
        """The survivors' step, by the model at the point before the removal."""
        product = CurvatureProduct(self._moving, self.fit, "ggn")

        def told(step: int) -> None:
            self.progress("solving", step, self.cg_steps)

        found = compensate(
            product,
            cut - state.weights,
            kept,
            damping=damping,
            max_steps=self.cg_steps,
            gradient=product.gradient() if state.stages else None,
            on_step=told,
        )
        self.products += product.products
        if found.steps < self.cg_steps:
            self.progress("solving", self.cg_steps, self.cg_steps)
        return found

    def _choose(
        self, cut: Tensor, cut_rise: float, kept: Tensor, found: Solution
    ) -> tuple[Tensor, float, Iterate | None, float]:
        """The point of least divergence on the inputs held out: weights, rise, iterate, length.

        Candidates are the survivors unmoved and at their dense values, the iterates from the last
        back until one is worse than the next, and shorter lengths of the best.
        """
        best, rise = cut, cut_rise
        dense = self._dense.masked_fill(~kept, 0)
        if not torch.equal(dense, cut):
            there = self._rise(dense)
            if there < rise:
                best, rise = dense, there
        chosen, length = None, 0.0
        for iterate in reversed(found.iterates):
            there = self._rise(cut + iterate.update)
            if there < rise:
                best, rise, chosen, length = cut + iterate.update, there, iterate, 1.0
            elif chosen is not None:
                break
        if chosen is not None:
            for shorter in LENGTHS:
                weights = torch.add(cut, chosen.update, alpha=shorter)
                there = self._rise(weights)
                if there >= rise:
                    break
                best, rise, length = weights, there, shorter
        return best, rise, chosen, length

    def _recalibrated(
        self, state: State, weights: Tensor, rise: float
    ) -> tuple[dict[str, Tensor], float]:
        """Statistics of batch normalisation for ``weights``, taken anew where that helps."""
        if not self.recalibrates:
            return state.buffers, rise
        _fill(self._model, self.problem, weights, state.buffers)
        if self._statistics is None:
            dense = self.problem.model
            self._statistics = statistics(dense, self.samples, self.recalibrates)
        buffers = recalibrated(
            self._model, self.problem.model, self._statistics, self.samples, self.recalibrates
        )
        _fill(self._model, self.problem, weights, buffers)
        there = self._rise(weights)
        return (buffers, there) if there < rise else (state.buffers, rise)

    def _rise(self, weights: Tensor, split: Calibration | None = None) -> float:
        """Mean divergence with the statistics that the moving network has; infinite where the
        outputs are not finite."""
        problem, chosen = self._moving, self.held if split is None else split
        tensors = problem.layout.unflatten(weights)
        total = 0.0
        with torch.no_grad():
            for inputs, dense in chosen.batches(problem.batch_size):
                outputs = torch.func.functional_call(problem.model, tensors, (inputs,))
                total += float(problem.loss(outputs.double(), dense.double()).sum())
        return total / len(chosen) if math.isfinite(total) else math.inf


def _tolerance(problem: Problem, samples: Calibration, epsilon: float | str) -> float:
    if isinstance(epsilon, str) and problem.loss is cross_entropy:
        losses = own_losses(samples.dense, problem.seed).numpy()
        return loss_tolerance(losses, epsilon, problem.seed).value
    try:
        value = float(epsilon)
    except ValueError:
        raise UsageError(
            f"--epsilon is {epsilon}, and without labels only cross-entropy has such a tolerance; "
            "give a number."
        ) from None
    natural_damping(value, 1.0)
    return value


def _check(cg_steps: int, stages: int | None, bn_recalibrate: int | None, min_keep: int) -> None:
    if cg_steps < 1:
        raise UsageError(f"--cg-steps is {cg_steps}; give 1 or more.")
    if stages is not None and stages < 1:
        raise UsageError(f"--stages is {stages}; give auto, or 1 or more.")
    if bn_recalibrate is not None and (bn_recalibrate < 0 or bn_recalibrate == 1):
        raise UsageError(
            f"--bn-recalibrate is {bn_recalibrate}; give 2 samples or more, or 0 to leave them."
        )
    if min_keep < 0:
        raise UsageError(f"--min-keep is {min_keep}; give 0 or more.")


def _fill(model: nn.Module, problem: Problem, weights: Tensor, buffers: dict[str, Tensor]) -> None:
    """Put ``weights`` (D,) into ``model``, and ``buffers`` or else the dense network's own."""
    own, held = dict(model.named_parameters()), dict(model.named_buffers())
    with torch.no_grad():
        for name, piece in problem.layout.unflatten(weights).items():
            own[name].copy_(piece)
        for name, tensor in problem.model.named_buffers():
            held[name].copy_(buffers.get(name, tensor))
