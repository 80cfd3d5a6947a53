"""``prune``: checkpoint -> the same checkpoint with its least weights set to zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..compensation.options import check_compensation, parse_stages, wants_compensation
from ..config import CurvatureConfig, DataConfig, LimitConfig, ModelConfig, PruneConfig, RunConfig
from ..errors import UsageError
from ..inputs.checkpoint import write_checkpoint
from ..inputs.load import Loaded, load
from ..inputs.problem import evaluate
from ..limit.reliability import judge_one_shot
from ..limit.tolerance import accuracy_points
from ..progress import Progress, silent
from ..pruning.allocation import parse_pattern
from ..pruning.magnitude import layer_results, pruned_weights, removal_count
from ..pruning.selection import Selection
from ..results.types import CompensationResult, PruneResult, Reliability
from ..storage.files import check_writable, resume_path
from ..storage.resume import settle
from .compensation import compensated
from .predict import predict_loaded
from .provenance import Recorder

__all__ = ["parse_amount", "prune", "prune_loaded"]


def parse_amount(amount: str) -> float | None:
    """The fraction to remove; None for ``auto``.

    Raises:
        UsageError: neither ``auto`` nor a number from 0 to 1.
    """
    if amount == "auto":
        return None
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UsageError(
            f"--amount is {amount}; give auto, or the fraction to remove from 0 to 1, such as 0.9."
        )
    return value


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
    progress: Progress = silent,
) -> PruneResult:
    """Write the pruned network of ``checkpoint`` to ``output``.

    Every tensor keeps its name and dtype, and every surviving weight its bits, unless the method or
    compensation moves survivors. Compensation leaves its state after every stage at
    :func:`resume_path` until it ends; ``resume`` goes on from there, to the same numbers.

    Raises:
        UsageError: the amount makes no sense, ``min_keep`` leaves fewer weights to remove, options
            exclude each other, or the state is of other inputs or options.
        OutputError: ``output`` cannot be written or exists, or a state does and neither ``force``
            nor ``resume`` says what to do with it.
    """
    recorder = Recorder("prune", run, model, data, curvature, limit, config)
    amount = parse_amount(config.amount)
    _check(config, limit.epsilon)
    check_writable(output, force=force)
    state = resume_path(output) if wants_compensation(config) else None
    if state is not None:
        settle(state, "pruning", resume=resume, force=force)
    loaded = load(checkpoint, model, data, run)
    reliability = None
    if amount is None and config.pattern is None:
        inner = Recorder("predict", run, model, data, curvature, limit)
        predicted = predict_loaded(loaded, curvature, limit, inner, progress=progress)
        amount, reliability = predicted.limit.sparsity, predicted.reliability
        if not wants_compensation(config) and predicted.one_shot is not None:
            # Survivors that stay as they are hold the loss up to there, and no further.
            amount = predicted.one_shot.sparsity
            reliability = judge_one_shot(predicted.one_shot, predicted.reliability.path)
    return prune_loaded(
        loaded,
        config,
        amount or 0.0,
        output,
        recorder,
        epsilon=limit.epsilon,
        reliability=reliability,
        force=force,
        state=state,
        progress=progress,
    )


def _check(config: PruneConfig, epsilon: str) -> None:
    """What can be told to be wrong before anything is read."""
    if config.min_keep < 0:
        raise UsageError(f"--min-keep is {config.min_keep}; give 0 or more.")
    if config.calibration is not None and config.calibration < 0:
        raise UsageError(f"--calibration is {config.calibration}; give 0 for all samples, or more.")
    parse_stages(config.stages)
    of_accuracy = accuracy_points(epsilon) is not None
    if wants_compensation(config):
        check_compensation(config)
        if of_accuracy:
            raise UsageError(
                f"--epsilon {epsilon} is about accuracy, and compensation reads no labels; give "
                "batch-std, a percentage, or the number of nats that predict gives for it."
            )
        others = {
            "--method": config.method != "magnitude",
            "--allocation": config.allocation not in (None, "global"),
            "--pattern": config.pattern is not None,
        }
        for name, given in others.items():
            if given:
                raise UsageError(
                    "Compensation removes the smallest weights of all layers together; leave out "
                    f"{name}, or --compensate and --stages."
                )
    if config.pattern is None:
        return
    parse_pattern(config.pattern)
    decided = {
        "--amount": config.amount != "auto",
        "--allocation": config.allocation is not None,
        "--min-keep": config.min_keep > 0,
    }
    for name, given in decided.items():
        if given:
            raise UsageError(
                f"--pattern {config.pattern} decides how many weights every layer keeps; leave out "
                f"{name}."
            )


def prune_loaded(
    loaded: Loaded,
    config: PruneConfig,
    amount: float,
    output: Path,
    recorder: Recorder,
    *,
    epsilon: str = LimitConfig.epsilon,
    reliability: Reliability | None = None,
    force: bool = False,
    state: Path | None = None,
    progress: Progress = silent,
) -> PruneResult:
    """Remove ``amount``, a fraction of the prunable weights, from a problem loaded already.

    A pattern in ``config`` decides the amount itself. ``reliability`` is given when ``amount`` was
    predicted: it is then lowered to what ``min_keep`` allows, where a user's own amount is refused.
    ``epsilon`` is the rule of the tolerance that damps compensation, whose state after every stage
    lies at ``state``.
    """
    problem = loaded.problem
    selection = Selection(
        problem,
        config.method,
        allocation=config.allocation,
        calibration=config.calibration,
        min_keep=config.min_keep,
        progress=progress,
    )
    prunable = int(problem.prunable_mask().sum())
    before = evaluate(problem, problem.test).accuracy
    compensation: CompensationResult | None = None
    moved: dict[str, Tensor] = {}
    pruned, updated = problem, False
    remove = removal_count(amount, prunable)
    if reliability is not None:
        remove = min(remove, selection.removable)
    if wants_compensation(config):
        found = compensated(loaded, config, remove, epsilon, state=state, progress=progress)
        pruned, weights, mask = found.problem, found.state.weights, found.state.kept
        moved = {**problem.layout.unflatten(weights), **found.state.buffers}
        compensation = found.result
    else:
        if config.pattern is not None:
            mask = selection.pattern_mask(parse_pattern(config.pattern))
        else:
            mask = selection.mask(remove)
        updated = selection.updates and not config.no_update
        weights = selection.weights(mask) if updated else pruned_weights(problem, mask)
        moved = problem.layout.unflatten(weights) if updated else {}
    weights = _as_written(loaded, weights)
    removed = int((~mask).sum())
    after = evaluate(pruned, problem.test, weights).accuracy
    description = {
        **loaded.description,
        "pruning": {
            "method": config.method,
            "amount": config.amount,
            "allocation": None if config.pattern else selection.allocation,
            "pattern": config.pattern,
            "calibration": selection.calibration,
            "updated": updated,
            "sparsity": removed / prunable,
            "removed": removed,
            "min_keep": config.min_keep,
            **({} if compensation is None else {"stages": len(compensation.stages)}),
        },
    }
    artifact = write_checkpoint(
        output,
        _pruned_tensors(loaded, mask, moved),
        description,
        sparse=problem.prunable if config.sparse else (),
        force=force,
    )
    if state is not None:
        state.unlink(missing_ok=True)
    return PruneResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        method=config.method,
        amount=config.pattern or config.amount,
        sparsity=removed / prunable,
        nonzero=int((weights[problem.prunable_mask()] != 0).sum()),
        layers=layer_results(problem, mask),
        artifact=artifact,
        accuracy_before=before,
        accuracy_after=after,
        reliability=reliability,
        allocation=None if config.pattern else selection.allocation,
        pattern=config.pattern,
        calibration=selection.calibration,
        updated=updated,
        compensation=compensation,
    )


def _as_written(loaded: Loaded, weights: Tensor) -> Tensor:
    """``weights`` (D,) rounded to what the checkpoint's own dtypes hold of them."""
    given = {} if loaded.checkpoint is None else loaded.checkpoint.tensors
    pieces = loaded.problem.layout.unflatten(weights)
    return loaded.problem.layout.flatten(
        {name: piece.to(given.get(name, piece).dtype).to(piece) for name, piece in pieces.items()}
    )


def _pruned_tensors(loaded: Loaded, mask: Tensor, moved: Mapping[str, Tensor]) -> dict[str, Any]:
    """The checkpoint's own tensors, or those of ``moved``, in the checkpoint's dtype; zero where
    ``mask`` (D,) is False; tied ones alike. What modules keep beside tensors stays as it is."""
    problem = loaded.problem
    given = {} if loaded.checkpoint is None else loaded.checkpoint.tensors
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
