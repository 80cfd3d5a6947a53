"""Weights that deep networks without normalisation start from."""

from __future__ import annotations

from torch import nn

__all__ = ["start_for_relu"]


def start_for_relu(network: nn.Module) -> None:
    """Draw the weights of linear and convolution layers anew, and set biases to zero.

    Their size keeps that of the signal from layer to layer (He et al. 2015). From torch's own
    start the signal of a deep network fades, and the first epochs teach it nothing.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
