r"""A regressor of a table, with a loss of its own.

    python examples/tabular_regression.py table.pt
    prunelimit predict table.pt -m examples/tabular_regression.py:network \
        -d examples/tabular_regression.py:data --probes 1 --steps 20
    prunelimit prune table.pt -m examples/tabular_regression.py:network \
        -d examples/tabular_regression.py:data --amount 0.5 -o table.safetensors
    prunelimit measure table.pt -m examples/tabular_regression.py:network \
        -d examples/tabular_regression.py:data --sparsities 0.5,0.8

The function ``loss`` beside the data is taken by every command. The metric that belongs to numbers
is r2. Without ``loss`` it would be mean squared error.
"""

from __future__ import annotations

import math
import sys

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn


def network() -> nn.Module:
    """Ten measurements to one number."""
    return nn.Sequential(
        nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1)
    )


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Inputs (n, 10) and targets (n, 1), floating point, for training and for test."""
    inputs, targets = (torch.tensor(each).float() for each in load_diabetes(return_X_y=True))
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    train, test = order[:342], order[342:]
    inputs = inputs / inputs[train].std(0)
    targets = ((targets - targets[train].mean()) / targets[train].std())[:, None]
    return (inputs[train], targets[train]), (inputs[test], targets[test])


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The logarithm of the hyperbolic cosine of the error, one per sample: few outliers count."""
    apart = (outputs - targets).abs()
    return (apart + nn.functional.softplus(-2 * apart) - math.log(2)).mean(1)


def main(path: str) -> None:
    """Train with an l1 penalty and save the state_dict."""
    torch.manual_seed(0)
    model = network()
    (inputs, targets), _ = data()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        penalty = sum(each.weight.abs().sum() for each in model if isinstance(each, nn.Linear))
        optimizer.zero_grad()
        (loss(model(inputs), targets).mean() + 1e-3 * penalty).backward()
        optimizer.step()
        schedule.step()
    torch.save(model.state_dict(), path)
    print(f"The checkpoint is {path}.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "table.pt")
