"""``prune``: checkpoint -> the same checkpoint with its smallest weights set to zero."""

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
from ..pruning.magnitude import (
    keep_mask,
    layer_results,
    magnitude_order,
    pruned_weights,
    removal_count,
)
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

    Every tensor keeps its name and dtype, and every surviving weight its bits.

    Raises:
        UsageError: the amount makes no sense, or ``min_keep`` leaves fewer weights to remove.
        OutputError: ``output`` cannot be written or exists.
    """
    recorder = Recorder("prune", run, model, data, curvature, limit, config)
    amount = parse_amount(config.amount)
    if config.min_keep < 0:
        raise UsageError(f"--min-keep is {config.min_keep}; give 0 or more.")
    check_writable(output, force=force)
    loaded = load(checkpoint, model, data, run)
    reliability = None
    if amount is None:
        inner = Recorder("predict", run, model, data, curvature, limit)
        predicted = predict_loaded(loaded, curvature, limit, inner, progress=progress)
        amount, reliability = predicted.limit.sparsity, predicted.reliability
    return prune_loaded(
        loaded, config, amount, output, recorder, reliability=reliability, force=force
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
) -> PruneResult:
    """Remove ``amount``, a fraction of the prunable weights, from a problem loaded already.

    ``reliability`` is given when ``amount`` was predicted: it is then lowered to what ``min_keep``
    allows, where a user's own amount is refused.
    """
    problem = loaded.problem
    order = magnitude_order(problem, min_keep=config.min_keep)
    prunable = int(problem.prunable_mask().sum())
    remove = removal_count(amount, prunable)
    if reliability is not None:
        remove = min(remove, len(order))
    mask = keep_mask(problem, order, remove)
    weights = pruned_weights(problem, mask)
    before = evaluate(problem, problem.test).accuracy
    after = evaluate(problem, problem.test, weights).accuracy
    description = {
        **loaded.description,
        "pruning": {
            "method": config.method,
            "amount": config.amount,
            "sparsity": remove / prunable,
            "removed": remove,
            "min_keep": config.min_keep,
        },
    }
    artifact = write_checkpoint(
        output,
        _pruned_tensors(loaded, mask),
        description,
        sparse=problem.prunable if config.sparse else (),
        force=force,
    )
    return PruneResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        method=config.method,
        amount=config.amount,
        sparsity=remove / prunable,
        nonzero=int((weights[problem.prunable_mask()] != 0).sum()),
        layers=layer_results(problem, mask),
        artifact=artifact,
        accuracy_before=before,
        accuracy_after=after,
        reliability=reliability,
    )


def _pruned_tensors(loaded: Loaded, mask: Tensor) -> dict[str, Tensor]:
    """The checkpoint's own tensors, zero where ``mask`` (D,) is False; tied ones alike."""
    problem = loaded.problem
    given = {} if loaded.checkpoint is None else loaded.checkpoint.tensors
    masks = problem.layout.unflatten(mask.cpu())
    parameters = dict(problem.model.named_parameters(remove_duplicate=False))
    by_identity = {id(parameters[name]): each for name, each in masks.items()}
    tensors = {}
    for name, value in problem.model.state_dict().items():
        tensor = given.get(name, value).detach().cpu()
        kept = by_identity.get(id(parameters.get(name)))
        tensors[name] = tensor if kept is None else tensor.masked_fill(~kept, 0)
    return tensors
