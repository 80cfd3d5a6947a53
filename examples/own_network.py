"""A network and data of your own, in one file.

Make a checkpoint (plain PyTorch, nothing of prunelimit in it), then ask how sparse it can be made:

    python examples/own_network.py own.pt
    prunelimit predict own.pt -m examples/own_network.py:network -d examples/own_network.py:data

The same two options serve spectrum, prune, measure and check.
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn


def network() -> nn.Module:
    """What -m names: a module, its class, or a function that returns it."""
    return nn.Sequential(
        nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 2)
    )


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What -d names: x_train, y_train, x_test, y_test, or two map-style data sets."""
    bunch = load_breast_cancer()
    inputs = torch.tensor(bunch.data, dtype=torch.float32)
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:450], order[450:]
    mean, std = inputs[train].mean(0), inputs[train].std(0)
    inputs = (inputs - mean) / std
    return inputs[train], labels[train], inputs[test], labels[test]


def main(path: str) -> None:
    """Train with an l1 penalty and save the state_dict."""
    torch.manual_seed(0)
    model = network()
    inputs, labels, _, _ = data()
    weights = [module.weight for module in model if isinstance(module, nn.Linear)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    for _ in range(1500):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        penalty = sum(weight.abs().sum() for weight in weights)
        optimizer.zero_grad()
        (loss + 1e-3 * penalty).backward()
        optimizer.step()
        schedule.step()
    torch.save(model.state_dict(), path)
    print(f"Training loss {loss:.4f}; the checkpoint is {path}.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "own.pt")
