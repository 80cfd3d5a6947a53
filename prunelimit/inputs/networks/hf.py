"""Networks of transformers, by a folder of Hugging Face or a name on its hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError, UsageError, shown
from ..extras import extra, quiet
from ..network import NetworkLibrary
from ..resolve import guarded, reason
from ..source import Moments

NAME = "hf"
ORDER = 22
FORM = r"(?s:hf:.*)"
LABEL = "hf:NAME-or-FOLDER"
SOURCE = "https://huggingface.co/docs/transformers"
HELP = "The network that a folder's config.json, or one of the hub, says; prunelimit[hf]."

__all__ = ["NETWORK"]


def _make(name: str, shape: tuple[int, ...], classes: int, given: Mapping[str, Any]) -> nn.Module:
    transformers = extra("transformers", "hf")
    # Code that a config names as its own is never run: trust_remote_code stays off.
    try:
        with quiet(), guarded():
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
            for key, value in given.items():
                setattr(config, key, value)
            config.use_cache = False  # keys and values have no part in the loss
            # Attention in plain operators, which can be differentiated twice.
            config._attn_implementation = "eager"
            kind = _class(transformers, config, len(shape) == 3)
            if kind is None:
                config.num_labels = classes
                automatic = (
                    transformers.AutoModelForImageClassification
                    if len(shape) == 3
                    else transformers.AutoModelForSequenceClassification
                )
                network: nn.Module = automatic.from_config(config, trust_remote_code=False)
            else:
                network = kind(config)
    except Exception as error:
        raise InputError(
            f"hf:{name} cannot be made ({reason(error)}); give a folder with a config.json of "
            "transformers, or a name on its hub that can be reached."
        ) from error
    return network


def _class(transformers: Any, config: Any, images: bool) -> type[nn.Module] | None:
    """The class that the config names, if it has a head of its own; else None."""
    named = (getattr(config, "architectures", None) or [""])[0]
    if not named or named.endswith("Model"):
        return None
    found = getattr(transformers, str(named), None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise UsageError(f"transformers has no network {shown(named)}; upgrade it")
    return found


def _translate(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """By transformers' own loader: names in files are older than those in networks."""
    kinds = {each.dtype for each in tensors.values() if each.is_floating_point()}
    kind: Any = type(network)
    with quiet(), guarded():
        loaded, found = kind.from_pretrained(
            None,
            config=network.config,
            state_dict=tensors,
            dtype=kinds.pop() if len(kinds) == 1 else torch.float32,
            output_loading_info=True,
        )
    if found["missing_keys"] or found["unexpected_keys"] or found["mismatched_keys"]:
        return None
    return dict(loaded.state_dict())


def _moments(name: str) -> Moments:
    path = Path(name) / "preprocessor_config.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        mean, std = (tuple(map(float, found[key])) for key in ("image_mean", "image_std"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return (mean, std) if len(mean) == len(std) and all(each > 0 for each in std) else None


NETWORK = NetworkLibrary(NAME, SOURCE, HELP, make=_make, moments=_moments, translate=_translate)
