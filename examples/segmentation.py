r"""A segmentation network: the class of every pixel, some of which do not count.

    python examples/segmentation.py masks.pt
    prunelimit predict masks.pt -m examples/segmentation.py:network \
        -d examples/segmentation.py:data --metric mean-iou --probes 1 --steps 20
    prunelimit prune masks.pt -m examples/segmentation.py:network \
        -d examples/segmentation.py:data --metric mean-iou --amount 0.5 -o masks.safetensors
    prunelimit measure masks.pt -m examples/segmentation.py:network \
        -d examples/segmentation.py:data --metric mean-iou --sparsities 0.5,0.8

Targets are (n, height, width) of an integer type, outputs (n, classes, height, width): the loss is
cross-entropy, the mean over the pixels that count. Without --metric the metric is the share of
those pixels that are right.
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

SIDE = 12
IGNORED = -100
"""Pixels at the edge of a digit, whose class is open; --ignore-index names another number."""


def network() -> nn.Module:
    """Images (n, 1, 12, 12) to logits (n, 4, 12, 12): background and the digits 0, 1 and 2."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 4, 3, padding=1),
    )


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 12, 12) with one digit each at a random place, and their masks."""
    images, labels = load_digits(n_class=3, return_X_y=True)
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.zeros(count, 1, SIDE, SIDE)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    for place in range(count):
        chosen = int(torch.randint(0, len(labels), (), generator=generator))
        top, left = torch.randint(0, SIDE - 8, (2,), generator=generator).tolist()
        digit = torch.tensor(images[chosen]).view(8, 8) / 16
        where = slice(top, top + 8), slice(left, left + 8)
        inputs[place, 0][where] = digit.float()
        mask = torch.where(digit > 0.5, 1 + int(labels[chosen]), 0)
        masks[place][where] = mask.masked_fill((digit > 0.2) & (digit <= 0.5), IGNORED)
    return inputs, masks


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Scenes for training and for test."""
    return scenes(300, seed=0), scenes(100, seed=1)


def main(path: str) -> None:
    """Train and save the state_dict."""
    torch.manual_seed(0)
    model = network()
    (inputs, masks), _ = data()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(25):
        for batch in torch.randperm(len(masks)).split(50):
            found = nn.functional.cross_entropy(model(inputs[batch]), masks[batch])
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
    torch.save(model.state_dict(), path)
    print(f"Training loss {found:.4f}; the checkpoint is {path}.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "masks.pt")
