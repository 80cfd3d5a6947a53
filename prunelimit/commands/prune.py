"""``prune``: checkpoint -> the same checkpoint with weights set to zero, survivors moved or not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
)
from ..distributed import ALONE, Group
from ..errors import UsageError
from ..inputs.formats import check_suffix, write_network
from ..inputs.load import Loaded, load
from ..inputs.problem import Evaluation, Problem, evaluate
from ..limit.reliability import judge_one_shot
from ..measurement.drop import Drop, paired_drop
from ..measurement.networks import Networks, goal
from ..measurement.sparsest import sparsest
from ..progress import Progress, silent
from ..pruning.magnitude import layer_results, removal_count
from ..pruning.selection import Selection
from ..results.types import (
    CompensationResult,
    DataInfo,
    LayerResult,
    PredictResult,
    PruneResult,
    Reliability,
    Within,
)
from ..storage.files import check_writable, resume_path
from ..storage.resume import claim_or_discard
from ..storage.steps import Steps
from .compensation import compensated, described
from .predict import inputs_of, open_store, predict_loaded
from .provenance import Recorder

__all__ = [
    "Pruned",
    "check_prune",
    "describe_pruning",
    "predicted_amount",
    "prune",
    "prune_loaded",
    "prune_problem",
    "pruned_result",
    "pruned_tensors",
]

COSTLY = 0.01
"""If at least this fraction of accuracy is lost, a better command is named."""
EARLY = 0.1
"""If the error of the drop costs at least this much sparsity, a warning says so."""
SURE = 2.0
"""Standard errors by which a fall beyond what was asked for is more than chance."""
CONFIDENCE = 0.95
"""Of the largest fall that held-out samples may not show."""
THIN = 0.01
"""If less than this share of a layer is kept, a warning says so."""


@dataclass(frozen=True)
class Pruned:
    """A pruned network: its ``problem``, its free parameters ``weights`` (D,), and the tensors that
    were ``moved``, by name. The ``problem`` has statistics of batch normalisation of its own. The
    ``weights`` are zero where ``mask`` (bool, (D,)) is False. ``by_drop`` is the largest sparsity
    at which a drop on samples held out was within the tolerance, if not with its error."""

    problem: Problem
    weights: Tensor
    mask: Tensor
    moved: Mapping[str, Tensor]
    selection: Selection
    within: Within | None = None
    compensation: CompensationResult | None = None
    by_drop: float = 0.0


def prune(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    limit: LimitConfig,
    config: PruneConfig,
    output: Path,
    *,
    force: bool = False,
    resume: bool = False,
    group: Group = ALONE,
    progress: Progress = silent,
) -> PruneResult:
    """Write the pruned network of ``checkpoint`` to ``output``.

    Every tensor keeps its name and dtype, and every surviving weight its bits, unless the method
    moves survivors. Until the end, finished work is kept beside ``output`` (:func:`resume_path`).
    That is every stage, or every pass and network if survivors are trained or the amount is
    searched for. The work of predicting the amount is kept too. ``resume`` goes on from there, to
    the same numbers. All processes of ``group`` call this alike. They share the prediction and the
    moving of survivors; the first one writes.

    Raises:
        UsageError: the amount makes no sense, ``min_keep`` leaves fewer weights to remove, options
            exclude each other, or the state is of other inputs or options.
        OutputError: ``output`` cannot be written or exists, or a state does and neither ``force``
            nor ``resume`` says what to do with it.
    """
    recorder = Recorder("prune", run, model, data, curvature, limit, config)
    check_prune(config)
    check_suffix(output, sparse=config.sparse)
    check_writable(output, force=force)
    steps, state = Steps(), _state(config, output)
    if curvature.shard != "samples" and group.size > 1:
        raise UsageError(
            "Pruning can share samples among processes, but not parameters; leave `shard` out, or "
            "start one process and give the `amount` that was predicted."
        )
    if state is not None and group.rank == 0:
        claim_or_discard(state, "pruning", resume=resume, force=force, folder=_by_steps(config))
    group.barrier()
    loaded = load(checkpoint, model, data, run)
    if state is not None and _by_steps(config):
        owner = {**inputs_of(loaded, model, data, run), **limit.echo(), **config.echo()}
        steps = Steps(state, work="pruning", part=group.rank)
        if group.rank == 0:
            steps = Steps.open(state, "pruning", owner, resume=True, force=False)
        state = None
    amount, reliability, store = config.amount, None, None
    if isinstance(amount, str) and not config.method.decided and config.within is None:
        inner = Recorder("predict", run, model, data, curvature, limit)
        place = resume_path(output, "prediction")
        store = open_store(
            place, loaded, model, data, run, curvature, resume=resume, force=force, group=group
        )
        predicted = predict_loaded(
            loaded, curvature, limit, inner, store=store, group=group, progress=progress
        )
        amount, reliability = predicted_amount(predicted, config)
    result = prune_loaded(
        loaded,
        config,
        amount if isinstance(amount, float) else 1.0,
        output,
        recorder,
        limit=limit,
        reliability=reliability,
        force=force,
        state=state,
        steps=steps,
        group=group,
        progress=progress,
    )
    if group.rank == 0:
        steps.discard()
        if store is not None:
            store.discard()
    return result


def _by_steps(config: PruneConfig) -> bool:
    """Whether finished work is a folder of steps, rather than the last of several stages."""
    return config.within is not None or config.survivors == "trained"


def _state(config: PruneConfig, output: Path) -> Path | None:
    """The path of finished work; None if there is hardly any work to keep."""
    return resume_path(output) if config.method.moves or _by_steps(config) else None


def predicted_amount(predicted: PredictResult, config: PruneConfig) -> tuple[float, Reliability]:
    """The predicted number that ``config.amount`` names, and its reliability.

    For fixed survivors "auto" is the one-shot threshold: they hold the loss up to there and no
    further. For all others it is the limit.
    """
    wanted = config.amount
    if wanted == "auto":
        wanted = "one-shot" if config.survivors == "fixed" else "limit"
    if wanted == "one-shot" and predicted.one_shot is not None:
        found = predicted.one_shot
        return found.sparsity, judge_one_shot(found, predicted.reliability.path)
    return predicted.limit.sparsity, predicted.reliability


def check_prune(config: PruneConfig) -> None:
    """Refuse options that are wrong whatever the network is."""
    if config.within is not None and config.amount != "auto":
        raise UsageError("`within` finds the amount itself; leave out `amount`.")
    if config.method.decided and config.within is None and config.amount != "auto":
        raise UsageError(
            f"`pattern` {config.pattern} decides how many weights every layer keeps; leave out "
            "`amount`."
        )
    if config.method.decided and config.min_keep.kind != "auto":
        raise UsageError(
            f"`pattern` {config.pattern} decides how many weights every layer keeps; leave out "
            "`min_keep`."
        )


def prune_loaded(
    loaded: Loaded,
    config: PruneConfig,
    amount: float,
    output: Path,
    recorder: Recorder,
    *,
    limit: LimitConfig | None = None,
    reliability: Reliability | None = None,
    force: bool = False,
    state: Path | None = None,
    steps: Steps | None = None,
    group: Group = ALONE,
    progress: Progress = silent,
) -> PruneResult:
    """Remove ``amount``, a fraction of the prunable weights, from a problem loaded already.

    A pattern or ``within`` in ``config`` decides the amount itself. ``reliability`` is given if
    ``amount`` was predicted. Such an amount is lowered to what ``min_keep`` allows; a user's own
    amount would be refused. ``limit`` has the rule of the tolerance that damps compensation. The
    state of compensation after every stage is kept at ``state``. Networks that take long are kept
    in ``steps``.
    """
    limit = LimitConfig() if limit is None else limit
    problem = loaded.problem
    pruned = prune_problem(
        loaded,
        config,
        amount,
        limit,
        predicted=reliability is not None,
        state=state,
        steps=steps,
        group=group,
        progress=progress,
    )
    given = {} if loaded.checkpoint is None else loaded.checkpoint.tensors
    result = pruned_result(loaded, pruned, config, given, recorder, reliability=reliability)
    if group.rank > 0:
        return result
    artifact = write_network(
        output,
        pruned_tensors(pruned, given),
        describe_pruning(loaded, pruned, config),
        sparse=problem.prunable if config.sparse else (),
        force=force,
    )
    if state is not None:
        state.unlink(missing_ok=True)
    return dataclasses.replace(result, provenance=recorder.finish(), artifact=artifact)


def describe_pruning(loaded: Loaded, pruned: Pruned, config: PruneConfig) -> dict[str, Any]:
    """The description in a checkpoint of the pruned network."""
    removed = int((~pruned.mask).sum())
    return {
        **loaded.description,
        "pruning": {
            "method": config.method.name,
            "amount": str(config.amount),
            "allocation": None if config.method.decided else pruned.selection.allocation,
            "calibration": pruned.selection.calibration,
            "sparsity": removed / int(loaded.problem.prunable_mask().sum()),
            "removed": removed,
            "min_keep": str(config.min_keep),
        },
    }


def pruned_result(
    loaded: Loaded,
    pruned: Pruned,
    config: PruneConfig,
    given: Mapping[str, Tensor],
    recorder: Recorder,
    *,
    reliability: Reliability | None = None,
) -> PruneResult:
    """The result for ``pruned``, evaluated on the test split; nothing is written.

    ``given`` are the network's own tensors by name; it keeps their dtypes.
    """
    problem = loaded.problem
    prunable = int(problem.prunable_mask().sum())
    weights = _as_written(problem, pruned.weights, given)
    removed = int((~pruned.mask).sum())
    before = evaluate(problem, problem.test)
    after = evaluate(pruned.problem, problem.test, weights)
    drop = paired_drop(before, after)
    layers = layer_results(problem, pruned.mask)
    return PruneResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        method=config.method.name,
        amount=_amount(config),
        sparsity=removed / prunable,
        nonzero=int((weights[problem.prunable_mask()] != 0).sum()),
        layers=layers,
        artifact=None,
        accuracy_before=before.accuracy,
        accuracy_after=after.accuracy,
        drop=drop.mean,
        standard_error=drop.standard_error,
        reliability=reliability,
        allocation=None if config.method.decided else pruned.selection.allocation,
        calibration=pruned.selection.calibration,
        within=pruned.within,
        compensation=pruned.compensation,
        warnings=(
            *_by_error(pruned, removed / prunable),
            *(_unseen(pruned.within, loaded.data_info) if before.points else ()),
            *_warnings(config, drop, before, loaded.data_info, layers),
        ),
    )


def _amount(config: PruneConfig) -> str:
    if config.within is not None:
        return f"within {100 * config.within:g}pp"
    return str(config.pattern if config.method.decided else config.amount)


def prune_problem(
    loaded: Loaded,
    config: PruneConfig,
    amount: float,
    limit: LimitConfig,
    *,
    predicted: bool = False,
    state: Path | None = None,
    steps: Steps | None = None,
    group: Group = ALONE,
    progress: Progress = silent,
) -> Pruned:
    """The pruned network alone, nothing evaluated on the test split and nothing written."""
    problem, epsilon = loaded.problem, limit.epsilon
    if config.within is not None:
        found = sparsest(
            problem, config, epsilon, config.within, group=group, steps=steps, progress=progress
        )
        network = found.network
        within = Within(
            tolerance=config.within,
            held_out=found.held_out,
            drop=found.drop.mean,
            standard_error=found.drop.standard_error,
            tried=found.tried,
        )
        moving, reached = found.networks.moving, network.state
        return Pruned(
            dataclasses.replace(network.problem, train=problem.train),
            network.weights,
            network.mask,
            _moved(problem, config, network.weights, {} if reached is None else reached.buffers),
            found.networks.selection,
            within,
            None if moving is None or reached is None else described(moving, reached),
            found.by_drop / int(problem.prunable_mask().sum()),
        )
    if config.method.moves:
        return _compensated(loaded, config, amount, limit, predicted, state, group, progress)
    rule, target = goal(problem, config, epsilon, progress=progress)
    networks = Networks(
        problem,
        config.method,
        config,
        epsilon=rule,
        target_loss=target,
        min_keep=config.min_keep,
        steps=steps,
        progress=progress,
    )
    network = networks.at(_count(networks.selection, config, amount, predicted))
    moved = _moved(problem, config, network.weights, {})
    return Pruned(problem, network.weights, network.mask, moved, networks.selection)


def _compensated(
    loaded: Loaded,
    config: PruneConfig,
    amount: float,
    limit: LimitConfig,
    predicted: bool,
    state: Path | None,
    group: Group,
    progress: Progress,
) -> Pruned:
    problem, epsilon = loaded.problem, limit.epsilon
    selection = Selection(
        problem,
        config.method,
        calibration=config.calibration,
        min_keep=config.min_keep,
        progress=progress,
    )
    rule, _ = goal(problem, config, epsilon, progress=progress)
    found = compensated(
        loaded,
        selection,
        config,
        _count(selection, config, amount, predicted),
        rule,
        state=state,
        group=group,
        progress=progress,
    )
    reached = found.state
    return Pruned(
        found.problem,
        reached.weights,
        reached.kept,
        _moved(problem, config, reached.weights, reached.buffers),
        selection,
        None,
        found.result,
    )


def _count(selection: Selection, config: PruneConfig, amount: float, predicted: bool) -> int:
    """How many weights go."""
    if config.method.decided:
        return selection.removable
    remove = removal_count(amount, int(selection.problem.prunable_mask().sum()))
    return min(remove, selection.removable) if predicted else remove


def _moved(
    problem: Problem, config: PruneConfig, weights: Tensor, buffers: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Names of the tensors that are not the network's own any more."""
    if config.survivors == "fixed":
        return {}
    return {**problem.layout.unflatten(weights), **buffers}


def _by_error(pruned: Pruned, sparsity: float) -> list[str]:
    """That the error of the drop ended the search, where it ended much earlier for it."""
    within = pruned.within
    if within is None or pruned.by_drop - sparsity <= EARLY:
        return []
    return [
        f"The {within.held_out:,} samples held out are few: a network of {pruned.by_drop:.1%} "
        f"lost no more than {100 * within.tolerance:g} points, but more with its standard error. "
        "Give a larger `within` or more training samples."
    ]


def _unseen(within: Within | None, data: DataInfo) -> list[str]:
    """That so few samples judged that a larger fall than was asked for can go unseen: the upper end
    of the exact interval where none of them changes (Clopper, Pearson 1934)."""
    if within is None:
        return []
    most = 1 - (1 - CONFIDENCE) ** (1 / within.held_out)
    if most <= within.tolerance:
        return []
    return [
        f"{within.held_out:,} samples held out are too few for {100 * within.tolerance:g} points: "
        f"even if none of their answers changes, {data.metric.rpartition(':')[2]} can have fallen "
        f"by {100 * most:.2g}. Give a larger `within` or more training samples."
    ]


def _warnings(
    config: PruneConfig,
    paired: Drop,
    before: Evaluation,
    data: DataInfo,
    layers: tuple[LayerResult, ...],
) -> tuple[str, ...]:
    """Warnings about the outcome, a sentence each."""
    found = []
    drop = paired.mean
    name = data.metric.rpartition(":")[2]
    if not before.points and drop > COSTLY * abs(before.accuracy):
        found.append(
            f"The {name} fell by {drop:.4g} from {before.accuracy:.4g}; give a smaller `amount`."
        )
    asked, lost = config.within, f"Pruning lost {100 * drop:.1f} points of {name}"
    if before.points and asked is None and drop > COSTLY:
        better = f"`within` 0.5pp finds the sparsest network that keeps its {name}"
        if config.survivors == "fixed":
            better += ", and staged `survivors` reach further"
        found.append(f"{lost}; {better}.")
    if before.points and asked is not None and drop > asked:
        surely = drop - asked > SURE * paired.standard_error
        if surely or drop > COSTLY:
            found.append(
                f"{lost} on the test split, more than the {100 * asked:g} asked for. The "
                "held-out samples chose this network, and the dense network was trained on them. "
                "Give a smaller `within`, or an `amount`."
            )
    thin = [each for each in layers if 1 - each.sparsity < THIN]
    if thin:
        least = min(thin, key=lambda each: 1 - each.sparsity)
        found.append(
            f"{least.name} keeps {least.kept:,} of {math.prod(least.shape):,} weights"
            + (f", and {len(thin) - 1} more layers keep less than 1%" if len(thin) > 1 else "")
            + "; `min_keep` 1% keeps some weights in every layer."
        )
    return tuple(found)


def _as_written(problem: Problem, weights: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    """``weights`` (D,) rounded to the dtypes of ``given``."""
    pieces = problem.layout.unflatten(weights)
    return problem.layout.flatten(
        {name: piece.to(given.get(name, piece).dtype).to(piece) for name, piece in pieces.items()}
    )


def pruned_tensors(pruned: Pruned, given: Mapping[str, Tensor]) -> dict[str, Any]:
    """The tensors of the pruned network on the CPU. They are those of ``given``, or moved ones in
    the same dtypes, and zero where the mask is False. Tied ones are alike. The state of modules
    beside tensors stays as it is."""
    problem, mask, moved = pruned.problem, pruned.mask, pruned.moved
    masks = problem.layout.unflatten(mask.cpu())
    parameters = dict(problem.model.named_parameters(remove_duplicate=False))
    by_identity = {id(parameters[name]): each for name, each in masks.items()}
    values = {id(parameters[n]): each for n, each in moved.items() if n in parameters}
    tensors: dict[str, Any] = {}
    for name, value in problem.model.state_dict().items():
        if not isinstance(value, Tensor):
            tensors[name] = value
            continue
        tensor = given.get(name, value).detach().cpu()
        new = moved.get(name, values.get(id(parameters.get(name))))
        if new is not None:
            tensor = new.detach().cpu().to(tensor.dtype).view(tensor.shape)
        kept = by_identity.get(id(parameters.get(name)))
        tensors[name] = tensor if kept is None else tensor.masked_fill(~kept, 0)
    return tensors
