"""Predict and prune a module that is already in memory, from Python.

    python examples/live_module.py

Here the module is trained first, so that the file stands alone; yours is trained already.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import evaluate
from prunelimit.pruning.magnitude import keep_mask, magnitude_order, pruned_weights, removal_count
from prunelimit.training.refit import refit


def trained() -> tuple[nn.Module, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A small network trained with an l1 penalty, its training data and its test data."""
    torch.manual_seed(0)
    bunch = load_digits()
    inputs = torch.tensor(bunch.data, dtype=torch.float32) / 16
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(labels))
    train, test = order[:1437], order[1437:]
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    for _ in range(60):
        for batch in train[torch.randperm(len(train))].split(64):
            loss = nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
            loss = loss + 1e-3 * (model[0].weight.abs().sum() + model[2].weight.abs().sum())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return model.eval(), (inputs[train], labels[train]), (inputs[test], labels[test])


def main() -> None:
    """Predict the limit, prune short of it, train what survives, and look at the accuracy."""
    model, train, test = trained()

    # The problem holds a copy of the module: nothing below changes yours until you say so.
    problem = problem_from_module(model, train, test)
    predicted = predict_problem(problem, CurvatureConfig(samples=0))
    limit, reliability = predicted.limit, predicted.reliability
    low, high = limit.interval
    print(f"Predicted limit: {limit.sparsity:.1%} ({low:.1%} to {high:.1%}) of prunable weights.")
    print("The estimate is reliable." if reliability.ok else " ".join(reliability.reasons))

    # Survivors of other networks stopped near the limit, on either side of it. So prune to the low
    # end of where they are expected to stop.
    sparsity = limit.sparsity if limit.expected is None else limit.expected[0]
    print(f"Pruned to {sparsity:.1%}, where trained survivors are expected to hold the loss.")
    order = magnitude_order(problem)
    mask = keep_mask(problem, order, removal_count(sparsity, len(order)))
    dense = evaluate(problem, problem.test)
    cut = evaluate(problem, problem.test, pruned_weights(problem, mask))
    print(f"Test accuracy: {dense.accuracy:.1%} dense, {cut.accuracy:.1%} pruned there.")

    # Up to the limit it is the survivors, once they move, that bring the loss back.
    target = predicted.dense.loss + predicted.epsilon.value
    found = refit(problem, mask, target_loss=target, passes=200, seed=problem.seed)
    again = evaluate(problem, problem.test, found.weights)
    print(f"Survivors trained for {found.passes:.0f} passes: {again.accuracy:.1%};", end=" ")
    print(f"training loss {found.loss:.4f}, allowed {target:.4f}.")

    # Back into your own module, and from there wherever you keep your checkpoints.
    model.load_state_dict(problem.layout.unflatten(found.weights), strict=False)
    zeros = sum(int((layer.weight == 0).sum()) for layer in (model[0], model[2]))
    print(f"{zeros} of {len(order)} prunable weights are zero now.")


if __name__ == "__main__":
    main()
