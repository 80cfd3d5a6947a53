"""Fully connected networks and LeNet-5."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from .start import start_for_relu

__all__ = ["FullyConnected", "LeNet5"]


class FullyConnected(nn.Module):
    """Linear layers with ReLU between them; inputs of any shape are flattened.

    ``deep`` networks start from weights of another size (:func:`.start.start_for_relu`).
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        input_shape: tuple[int, ...],
        classes: int,
        *,
        deep: bool = False,
    ) -> None:
        super().__init__()
        sizes = (math.prod(input_shape), *widths, classes)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        if deep:
            start_for_relu(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, ...)."""
        hidden = inputs.flatten(1)
        for layer in list(self.layers)[:-1]:
            hidden = nn.functional.relu(layer(hidden))
        logits: Tensor = self.layers[-1](hidden)
        return logits


class LeNet5(nn.Module):
    """LeNet-5 as in the pruning literature (LeCun et al. 1998; 20 and 50 maps, 500 units)."""

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        small = min(height, width) < 16
        kernel, padding = (3, 1) if small else (5, 0)
        self.conv1 = nn.Conv2d(channels, 20, kernel, padding=padding)
        self.conv2 = nn.Conv2d(20, 50, kernel, padding=padding)
        shrink = 0 if small else 4
        side = [((size - shrink) // 2 - shrink) // 2 for size in (height, width)]
        self.fc1 = nn.Linear(50 * side[0] * side[1], 500)
        self.fc2 = nn.Linear(500, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, channels, height, width)."""
        hidden = nn.functional.max_pool2d(nn.functional.relu(self.conv1(inputs)), 2)
        hidden = nn.functional.max_pool2d(nn.functional.relu(self.conv2(hidden)), 2)
        hidden = nn.functional.relu(self.fc1(hidden.flatten(1)))
        logits: Tensor = self.fc2(hidden)
        return logits
