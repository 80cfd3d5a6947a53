"""torchvision's networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ...errors import UsageError
from ..network import NetworkLibrary
from ..resolve import did_you_mean, reason

NAME = "torchvision"
ORDER = 20
FORM = r"(?s:torchvision:.*)"
LABEL = "torchvision:NAME"
SOURCE = "https://docs.pytorch.org/vision/stable/models.html"
HELP = "A network of torchvision.models."

__all__ = ["NETWORK"]


def _make(name: str, shape: tuple[int, ...], classes: int, given: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(f"torchvision has no network {name!r}; {did_you_mean(name, known)}")
    try:
        network: nn.Module = models.get_model(
            name, weights=None, **{"num_classes": classes, **given}
        )
    except Exception as error:
        raise UsageError(
            f"torchvision:{name} cannot be made ({reason(error)}); check `model_arg`."
        ) from error
    return network


NETWORK = NetworkLibrary(NAME, SOURCE, HELP, make=_make)
