"""``predict``: checkpoint + data -> the limit, its interval, its reliability."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, RunConfig
from ..curvature import operator_of
from ..distributed import ALONE, Group, LostProcessError
from ..errors import UsageError
from ..estimation.adaptive import find_limits
from ..estimation.budget import Budget, never
from ..estimation.curvature import Curvature, cross_check
from ..estimation.dense import PATH_PRODUCTS, evaluate_within, require_products
from ..estimation.epsilon import tolerance_of
from ..estimation.loss_path import PLANNED, follow_loss
from ..estimation.removal import PruningPath
from ..estimation.sample_size import Carried
from ..inputs.load import Loaded, live, load
from ..inputs.owner import owner_of
from ..inputs.problem import Evaluation, Problem, Split, loss_bends
from ..inputs.sharded import shard
from ..lanczos import Store
from ..limit.expected import COMPARED, FEWEST, expected_threshold
from ..limit.formula import Question
from ..limit.geometry import Geometry, Transition, almt_band
from ..limit.reliability import judge
from ..progress import Progress, silent
from ..pruning.magnitude import keep_mask, layer_results, magnitude_order
from ..results.types import CurvePoint, Dense, Limit, PredictResult, Variant
from .provenance import Recorder

__all__ = ["inputs_of", "open_store", "predict", "predict_loaded", "predict_problem"]

CURVE_POINTS = 101

FLAT = 1e-9
"""Mean trace of the loss's second derivative in the outputs below which the GGN is rounding."""

JUDGED = 10_000
"""Most training samples whose loss is followed along the path."""

FEWEST_JUDGED = 500
"""Fewest such samples, if there are so many."""

PATH_SHARE = 0.15
"""Share of the time allowed that the path may take."""


def predict(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    limit: LimitConfig,
    *,
    state: Path | None = None,
    resume: bool = False,
    force: bool = False,
    stop: Callable[[], bool] | None = None,
    group: Group = ALONE,
    progress: Progress = silent,
) -> PredictResult:
    """The pruning limit of the network in ``checkpoint``, and where plain one-shot pruning stops.

    ``state`` is a folder for unfinished work. The caller removes it once the result of finished
    work is written. ``resume`` goes on with the work there, to the same numbers; ``force`` throws
    it away. ``stop`` is asked between products. Once it is true, the limit is read from the work
    done so far. All processes of ``group`` call this alike, share the work, and get the same
    result.

    Raises:
        OutputError: unfinished work lies in ``state``, and neither ``resume`` nor ``force`` says
            what to do with it.
        PruneLimitError: see its subclasses.
    """
    recorder = Recorder("predict", run, model, data, curvature, limit)
    _check(limit, curvature)
    loaded = _load(checkpoint, model, data, run, curvature, group)
    store = Store(basis=curvature.basis)
    if state is not None:
        store = open_store(
            state, loaded, model, data, run, curvature, resume=resume, force=force, group=group
        )
    return predict_loaded(
        loaded,
        curvature,
        limit,
        recorder,
        store=store,
        stop=stop,
        group=group,
        progress=progress,
    )


def open_store(
    state: Path,
    loaded: Loaded,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    *,
    resume: bool,
    force: bool,
    group: Group = ALONE,
) -> Store:
    """The store in the folder ``state``, where a prediction of ``loaded`` leaves its work. All
    processes of ``group`` call this alike.

    Raises:
        OutputError: unfinished work lies there, and neither ``resume`` nor ``force`` says what to
            do with it.
        UsageError: it is that of other inputs or options.
    """
    store = Store(state, curvature.basis, part=group.rank)
    if group.rank == 0:
        owner = {
            **inputs_of(loaded, model, data, run),
            "curvature": curvature.curvature,
            "backend": curvature.backend,
            "basis": curvature.basis,
            "shard": curvature.shard,
            "processes": group.size,
        }
        store = Store.open(state, curvature.basis, owner, resume=resume, force=force)
    group.barrier()
    return store


def inputs_of(
    loaded: Loaded, model: ModelConfig, data: DataConfig, run: RunConfig
) -> dict[str, Any]:
    """The part of a state's owner that describes the problem: first what was asked for, then what
    the files of the user made of it."""
    return {
        "checkpoint": loaded.model_info.sha256,
        **dataclasses.asdict(model),
        **dataclasses.asdict(data),
        **dataclasses.asdict(dataclasses.replace(run, cache=None)),
        **owner_of(loaded.problem),
    }


def _load(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    group: Group,
) -> Loaded:
    """The problem of ``checkpoint``. If processes share the parameters, it has only a part of
    them."""
    if curvature.shard == "samples" or group.size == 1:
        return load(checkpoint, model, data, run)
    if curvature.backend == "pyhessian":
        raise UsageError(
            "PyHessian runs in a single process; start one process, or give `backend` prunelimit."
        )
    loaded = load(checkpoint, model, data, dataclasses.replace(run, device="cpu"))
    shared = shard(loaded.problem, group, run.device)
    return dataclasses.replace(loaded, problem=shared, checkpoint=None)  # it holds all of them


def predict_problem(
    problem: Problem,
    curvature: CurvatureConfig | None = None,
    limit: LimitConfig | None = None,
    *,
    name: str = "module",
    exclude: Iterable[str] = (),
    progress: Progress = silent,
) -> PredictResult:
    """The pruning limit of a live module's problem.

    ``name`` is what the result calls network and data. ``exclude`` is the one the problem was made
    with; with it the result counts what was left out.

    Raises:
        PruneLimitError: see its subclasses.
    """
    curvature, limit = curvature or CurvatureConfig(), limit or LimitConfig()
    run = RunConfig(
        batch_size=problem.batch_size,
        seed=problem.seed,
        device=str(problem.device),
        dtype=str(problem.dtype).removeprefix("torch."),
    )
    loaded = live(problem, name, exclude)
    recorder = Recorder("predict", run, curvature, limit)
    return predict_loaded(loaded, curvature, limit, recorder, progress=progress)


def predict_loaded(
    loaded: Loaded,
    curvature: CurvatureConfig,
    limit: LimitConfig,
    recorder: Recorder,
    *,
    store: Store | None = None,
    stop: Callable[[], bool] | None = None,
    group: Group = ALONE,
    progress: Progress = silent,
) -> PredictResult:
    """:func:`predict` for a problem that is loaded already, with its work in ``store``."""
    problem = loaded.problem
    _check(limit, curvature)
    store = Store(basis=curvature.basis) if store is None else store
    budget = Budget(
        store,
        progress,
        limit.max_products,
        limit.max_seconds,
        stop or never,
        group=group,
        device=problem.device,
        begun=recorder.begin,
    )
    beside, operator = curvature.ggn_beside, operator_of(curvature.curvature)
    train, accuracy = evaluate_within(
        problem,
        budget,
        curvatures=beside or operator.samples == "carrying",
    )
    dense = Dense(loss=train.loss, accuracy=accuracy)
    epsilon = tolerance_of(problem, limit.epsilon, train, progress=progress)
    traces = np.zeros(len(train.losses)) if train.curvatures is None else train.curvatures
    carried = Carried(problem.train, traces)
    if budget.max_products is not None:  # the path takes products too, and the GGN half of them
        budget.max_products = (budget.max_products - PATH_PRODUCTS) // (2 if beside else 1)
    order = magnitude_order(problem)
    path = PruningPath(problem, order, problem.vector())
    magnitudes = path.weights[order].cpu().double().numpy()
    geometry = Geometry.of(problem.layout.size, magnitudes, epsilon.value)
    try:
        limits, sampled = find_limits(path, geometry, curvature, limit, budget, carried)
        found = sampled.estimate.curvature
        transitions = dict(limits.transitions)
        if beside:
            transitions |= _by_ggn(path, geometry, curvature, limit, found, carried)
    except (LostProcessError, KeyboardInterrupt, SystemExit):
        budget.save()
        raise
    if limits.ended == "interrupted":
        budget.save()
    else:
        group.barrier()
        if group.rank == 0 and store.folder is None:
            store.discard()
    headline = operator.headline
    chosen = limits.transitions[limit.formula, headline]
    prunable = geometry.prunable
    band = almt_band(geometry.dimension, limit.confidence)
    layers = layer_results(problem, keep_mask(problem, order, chosen.removed))
    alone = sampled.alone((limit.formula, headline), chosen)
    norm_kept = geometry.norm_kept(chosen.removed)
    compared = (limit.formula, headline) == COMPARED and prunable >= FEWEST
    expected = None
    if compared and alone is not None and all(layer.kept for layer in layers):
        isotropic = limits.transitions["isotropic", headline].removed
        low, high = chosen.without("network").interval
        expected = expected_threshold(
            alone / prunable,
            norm_kept,
            isotropic / prunable,
            ((chosen.removed - low) / prunable, (high - chosen.removed) / prunable),
        )
    answer = Limit(
        sparsity=chosen.removed / prunable,
        of="prunable",
        sparsity_of_all=chosen.removed / loaded.model_info.parameters,
        kept=prunable - chosen.removed,
        radius=float(geometry.radii[chosen.removed]),
        formula=limit.formula,
        operator=headline,
        interval=_fractions(chosen.interval, prunable),
        confidence=limit.confidence,
        band=(
            max(0.0, (chosen.removed - band) / prunable),
            min(1.0, (chosen.removed + band) / prunable),
        ),
        errors={source: error / prunable for source, error in chosen.errors.items()},
        expected=None if expected is None else (expected.low, expected.high),
        expected_middle=None if expected is None else expected.middle,
        alone=None if alone is None else alone / prunable,
        norm_kept=norm_kept,
    )
    variants = tuple(
        Variant(
            formula=formula,
            operator=operator,
            sparsity=each.removed / prunable,
            interval=_fractions(each.interval, prunable),
        )
        for (formula, operator), each in transitions.items()
    )
    loss_path = follow_loss(
        path,
        found,
        epsilon.value,
        chosen.removed,
        limit.confidence,
        progress,
        judged=_judged(problem, found, budget),
        hurried=limits.ended in ("interrupted", "max-seconds", "max-products"),
    )
    others = [v for v in variants if v.operator in operator.readings]
    checked = cross_check(found) if curvature.cross_check else None
    return PredictResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=dataclasses.replace(loaded.data_info, samples=len(found.split)),
        dense=dense,
        epsilon=epsilon,
        curvature=dataclasses.replace(
            found.summary(limits.ended, sampled.nested, checked), carried=sampled.carried
        ),
        limit=answer,
        variants=variants,
        reliability=judge(
            answer,
            others,
            loss_path.crossing,
            loss_path.path,
            limits.ended,
            limit.tolerance,
            checked,
            _rounding(found, geometry, chosen.removed),
            layers=layers,
            linear=operator.linear,
            flat=_flat(problem, train),
            plain=loss_path.one_shot,
        ),
        layers=layers,
        curve=_curve(limits.questions[headline], limit.formula),
        one_shot=loss_path.one_shot,
    )


def _flat(problem: Problem, train: Evaluation) -> Literal["loss", "network"] | None:
    """Why the GGN is zero to rounding; None where it is not, or was not asked for."""
    if train.curvatures is None or float(train.curvatures.mean()) >= FLAT:
        return None
    return "network" if loss_bends(problem) else "loss"


def _rounding(found: Curvature, geometry: Geometry, removed: int) -> float | None:
    """How far rounding may move the limit, as a fraction of the prunable weights."""
    square = float(geometry.radii[removed]) ** 2
    shift = found.rounding_shift(2 * geometry.epsilon / square) if square else 0.0
    return None if shift is None else shift * geometry.dimension / geometry.prunable


def _judged(problem: Problem, found: Curvature, budget: Budget) -> Split:
    """The training samples whose loss is followed along the pruning path.

    They are those of the curvature, if those are a uniform draw. Else a uniform draw is made, so
    large that it takes a small part of the time allowed."""
    if found.operator.samples == "drawn":
        return found.split
    count = JUDGED
    if budget.max_seconds is not None and budget.seconds_per_sample:
        affordable = int(PATH_SHARE * budget.max_seconds / (PLANNED * budget.seconds_per_sample))
        count = min(count, max(FEWEST_JUDGED, affordable))
    return problem.train.subset(budget.group.all_reduce_min(count, budget.device), problem.seed)


def _by_ggn(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    limit: LimitConfig,
    found: Curvature,
    carried: Carried,
) -> dict[tuple[str, str], Transition]:
    """The limits by the GGN, within a budget of their own."""
    config = dataclasses.replace(curvature, curvature="ggn", cross_check=False)
    most = None if limit.max_products is None else found.budget.max_products
    budget = dataclasses.replace(found.budget, products=0, stop_reason=None, max_products=most)
    limits, _ = find_limits(path, geometry, config, limit, budget, carried)
    found.budget.products += budget.products
    return limits.transitions


def _check(limit: LimitConfig, curvature: CurvatureConfig) -> None:
    require_products(limit.max_products, 1 + curvature.ggn_beside)


def _fractions(interval: tuple[int, int], prunable: int) -> tuple[float, float]:
    return interval[0] / prunable, interval[1] / prunable


def _curve(question: Question, formula: str) -> tuple[CurvePoint, ...]:
    """Squared width against sparsity by ``formula``, denser where few weights survive."""
    geometry = question.geometry
    even = np.linspace(0, 1, CURVE_POINTS)
    late = 1 - np.logspace(-3, 0, CURVE_POINTS)
    places = sorted({round(x * geometry.prunable) for x in np.concatenate([even, late])})
    return tuple(
        CurvePoint(
            sparsity=removed / geometry.prunable,
            radius=float(geometry.radii[removed]),
            width=question.width(formula, removed),
        )
        for removed in places
    )
