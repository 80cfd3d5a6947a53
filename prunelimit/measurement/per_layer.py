"""Every layer pruned alone: accuracy and loss by its sparsity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import SensitivityConfig
from ..errors import UsageError
from ..estimation.epsilon import tolerance_of
from ..inputs.problem import Evaluation, Problem, evaluate
from ..inputs.prunable import dense_matrices, prunable_weights
from ..progress import Progress, silent
from ..pruning.layers import PrunableLayer, flat_mask
from ..pruning.magnitude import pruned_weights, removal_count
from ..pruning.selection import Selection
from ..results.sensitivity import LayerCurve, LayerPoint
from ..results.types import Dense, Epsilon
from ..values import Method
from .drop import paired_drop

__all__ = ["SPARSITIES", "Sensitivity", "per_layer"]

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Sparsities of a layer that are measured if none are given."""


@dataclass(frozen=True)
class Sensitivity:
    """What was found; ``layers`` are in the network's order, those that stay whole last."""

    dense: Dense
    epsilon: Epsilon
    layers: tuple[LayerCurve, ...]


def per_layer(
    problem: Problem, config: SensitivityConfig, *, progress: Progress = silent
) -> Sensitivity:
    """Accuracy and loss of ``problem`` where one layer alone loses its weights of least score.

    Nothing else changes. Accuracy is that of the test split, with the paired standard error of its
    fall. Loss is that of the training split. If no weight of a layer changes, it has no curve but a
    reason: what would go is zero already, or is less than one weight.

    Raises:
        UsageError: nothing is prunable.
    """
    selection = Selection(
        problem,
        Method(config.criterion, "uniform"),
        calibration=config.calibration,
        progress=progress,
    )
    if not int(problem.prunable_mask().sum()):
        raise UsageError("No weight of the network is prunable; give fewer `exclude` patterns.")
    train, test = evaluate(problem, problem.train), evaluate(problem, problem.test)
    epsilon = tolerance_of(problem, config.epsilon, train, progress=progress)
    scores = selection.scored.scores
    weights = problem.vector()[problem.prunable_mask()]
    layers = selection.allocator.layers
    places = [each for each in config.sparsities or SPARSITIES if each > 0]
    if not places:
        raise UsageError("`sparsities` names none above 0; give one such as 0.9.")
    found = []
    for number, layer in enumerate(layers):
        progress("measuring layers", number, len(layers), layer.name)
        points = tuple(_points(problem, layer, scores, weights, places, train, test))
        found.append(_curve(layer, weights, points, config.tolerance))
    progress("measuring layers", len(layers), len(layers))
    return Sensitivity(
        dense=Dense(loss=train.loss, accuracy=test.accuracy),
        epsilon=epsilon,
        layers=(*found, *_whole(problem)),
    )


def _points(
    problem: Problem,
    layer: PrunableLayer,
    scores: Tensor,
    weights: Tensor,
    places: list[float],
    train: Evaluation,
    test: Evaluation,
) -> Iterator[LayerPoint]:
    order = torch.argsort(layer.part(scores), stable=True)
    for sparsity in places:
        kept = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        gone = order[: removal_count(sparsity, layer.size)]
        layer.part(kept)[gone] = False
        changed = int((layer.part(weights)[gone.to(weights.device)] != 0).sum())
        after, loss = test, train.loss
        if changed:
            pruned = pruned_weights(problem, flat_mask(problem, kept))
            after = evaluate(problem, problem.test, pruned)
            loss = evaluate(problem, problem.train, pruned).loss
        drop = paired_drop(test, after)
        yield LayerPoint(
            sparsity=sparsity,
            changed=changed,
            accuracy=after.accuracy,
            drop=drop.mean,
            standard_error=drop.standard_error,
            loss=loss,
            rise=loss - train.loss,
        )


def _curve(
    layer: PrunableLayer, weights: Tensor, points: tuple[LayerPoint, ...], tolerance: float
) -> LayerCurve:
    zeros = int((layer.part(weights) == 0).sum())
    why = None
    if not any(point.changed for point in points):
        if zeros == layer.size:
            why = "zero already"
        elif zeros:
            why = "unchanged: what would go is zero already"
        else:
            why = "too small for one weight to go"
    holds = 0.0
    for point in points:
        if point.drop > tolerance:
            break
        holds = point.sparsity
    return LayerCurve(
        name=layer.name,
        shape=tuple(layer.shape),
        weights=layer.size,
        zeros=zeros,
        curve=() if why else points,
        holds=None if why else holds,
        why=why,
    )


def _whole(problem: Problem) -> Iterator[LayerCurve]:
    """The matrices that are not pruned, each with the reason."""
    model = problem.model
    held = prunable_weights(model)
    for each in dense_matrices(model, problem.prunable, held):
        tensor = model.get_parameter(each.name)
        yield LayerCurve(
            name=each.name,
            shape=each.shape,
            weights=each.size,
            zeros=int((tensor == 0).sum()),
            curve=(),
            holds=None,
            why=f"not pruned: {each.why}",
            prunable=False,
        )
