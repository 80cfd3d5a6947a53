"""A block that leaves a training undisturbed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

__all__ = ["undisturbed"]


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """After the block, random numbers go on from where they were, and every module of ``network``
    is in its former mode. Inside, gradients can be computed."""
    modes = {module: module.training for module in network.modules()}
    state, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad():
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(legacy)
            for module, training in modes.items():
                module.training = training
