"""timm's networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ...errors import UsageError
from ..extras import extra
from ..network import NetworkLibrary
from ..resolve import did_you_mean, guarded, reason
from ..source import Moments

NAME = "timm"
ORDER = 21
FORM = r"(?s:timm:.*)"
LABEL = "timm:NAME"
SOURCE = "https://huggingface.co/docs/timm"
HELP = "A network of timm; pip install 'prunelimit[timm]'."

__all__ = ["NETWORK"]


def _make(name: str, shape: tuple[int, ...], classes: int, given: Mapping[str, Any]) -> nn.Module:
    timm = extra("timm", "timm")
    if not timm.is_model(name):
        raise UsageError(f"timm has no network {name!r}; {did_you_mean(name, timm.list_models())}")
    channels = {"in_chans": shape[0]} if len(shape) == 3 and shape[0] != 3 else {}
    try:
        with guarded():
            network: nn.Module = timm.create_model(
                name, pretrained=False, **{"num_classes": classes, **channels, **given}
            )
    except Exception as error:
        raise UsageError(
            f"timm:{name} cannot be made ({reason(error)}); check `model_arg`."
        ) from error
    return network


def _moments(name: str) -> Moments:
    timm = extra("timm", "timm")
    found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return None if found is None else (tuple(found.mean), tuple(found.std))


NETWORK = NetworkLibrary(NAME, SOURCE, HELP, make=_make, moments=_moments)
