"""``prune``: checkpoint -> the same checkpoint with its least weights set to zero."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor

from ..config import (
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    ModelConfig,
    PruneConfig,
    RunConfig,
)
from ..errors import UsageError
from ..files import check_writable
from ..inputs.checkpoint import write_checkpoint
from ..inputs.load import Loaded, load
from ..inputs.problem import evaluate
from ..progress import Progress, silent
from ..pruning.allocation import parse_pattern
from ..pruning.magnitude import layer_results, pruned_weights, removal_count
from ..pruning.selection import Selection
from ..results import PruneResult, Reliability
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
    progress: Progress = silent,
) -> PruneResult:
    """Write the pruned network of ``checkpoint`` to ``output``.

    Every tensor keeps its name and dtype, and every surviving weight its bits, unless the method
    moves survivors.

    Raises:
        UsageError: the amount makes no sense, ``min_keep`` leaves fewer weights to remove, or
            options exclude each other.
        OutputError: ``output`` cannot be written or exists.
    """
    recorder = Recorder("prune", run, model, data, curvature, limit, config)
    amount = parse_amount(config.amount)
    _check(config)
    check_writable(output, force=force)
    loaded = load(checkpoint, model, data, run)
    reliability = None
    if amount is None and config.pattern is None:
        inner = Recorder("predict", run, model, data, curvature, limit)
        predicted = predict_loaded(loaded, curvature, limit, inner, progress=progress)
        amount, reliability = predicted.limit.sparsity, predicted.reliability
    return prune_loaded(
        loaded,
        config,
        amount or 0.0,
        output,
        recorder,
        reliability=reliability,
        force=force,
        progress=progress,
    )


def _check(config: PruneConfig) -> None:
    """What can be told to be wrong before anything is read."""
    if config.min_keep < 0:
        raise UsageError(f"--min-keep is {config.min_keep}; give 0 or more.")
    if config.calibration is not None and config.calibration < 0:
        raise UsageError(f"--calibration is {config.calibration}; give 0 for all samples, or more.")
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
    reliability: Reliability | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> PruneResult:
    """Remove ``amount``, a fraction of the prunable weights, from a problem loaded already.

    A pattern in ``config`` decides the amount itself. ``reliability`` is given when ``amount`` was
    predicted: it is then lowered to what ``min_keep`` allows, where a user's own amount is refused.
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
    if config.pattern is not None:
        mask = selection.pattern_mask(parse_pattern(config.pattern))
    else:
        remove = removal_count(amount, prunable)
        if reliability is not None:
            remove = min(remove, selection.removable)
        mask = selection.mask(remove)
    removed = int((~mask).sum())
    updated = selection.updates and not config.no_update
    weights = selection.weights(mask) if updated else pruned_weights(problem, mask)
    before = evaluate(problem, problem.test).accuracy
    after = evaluate(problem, problem.test, weights).accuracy
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
        },
    }
    artifact = write_checkpoint(
        output,
        _pruned_tensors(loaded, mask, weights if updated else None),
        description,
        sparse=problem.prunable if config.sparse else (),
        force=force,
    )
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
    )


def _pruned_tensors(loaded: Loaded, mask: Tensor, moved: Tensor | None) -> dict[str, Tensor]:
    """The checkpoint's own tensors, zero where ``mask`` (D,) is False; tied ones alike.

    Free parameters have the values of ``moved`` (D,), where given, in the dtype of their tensors.
    """
    problem = loaded.problem
    given = {} if loaded.checkpoint is None else loaded.checkpoint.tensors
    masks = problem.layout.unflatten(mask.cpu())
    parameters = dict(problem.model.named_parameters(remove_duplicate=False))
    by_identity = {id(parameters[name]): each for name, each in masks.items()}
    values = {} if moved is None else problem.layout.unflatten(moved.detach().cpu())
    new = {id(parameters[name]): each for name, each in values.items()}
    tensors = {}
    for name, value in problem.model.state_dict().items():
        tensor = given.get(name, value).detach().cpu()
        if id(parameters.get(name)) in new:
            tensor = new[id(parameters[name])].to(tensor.dtype)
        kept = by_identity.get(id(parameters.get(name)))
        tensors[name] = tensor if kept is None else tensor.masked_fill(~kept, 0)
    return tensors
