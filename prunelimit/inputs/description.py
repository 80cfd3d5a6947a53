"""The description that a checkpoint of ours has of its network and data, and how far it is trusted.

A file is only data: whatever it says, reading it must not run code. A description may therefore
name built-in networks and data, but the user's own code is run only when the user names it.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from .. import plugins
from ..config import DataConfig, ModelConfig
from ..errors import InputError, UsageError, shown
from ..values import is_attribute
from .checkpoint import Checkpoint
from .datasets import Data

__all__ = ["complete", "describe", "kept_description", "known_classes"]

MODEL_FIELDS = ("model", "model_arg")
DATA_FIELDS = (
    *("data", "data_dir", "mean", "std", "train_samples", "image_size"),
    *("loss", "metric", "ignore_index"),
)
OF_THE_NETWORK = ("mean", "std")
"""Data fields that belong to how the network was trained, and hold for other data too."""

Config = TypeVar("Config", ModelConfig, DataConfig)


def describe(model: ModelConfig, data: DataConfig, found: Data) -> dict[str, Any]:
    """The description of a problem, as plain JSON values."""
    described_data = {name: getattr(data, name) for name in DATA_FIELDS}
    return {
        "model": {
            "model": model.model,
            "model_arg": list(model.model_arg),
            "input_shape": list(found.input_shape),
            "classes": found.classes,
        },
        "data": described_data,
    }


def kept_description(checkpoint: Checkpoint | None) -> dict[str, Any]:
    """The history that a checkpoint made from ``checkpoint`` carries on: training, pruning, and how
    the network that this began with was trained."""
    described = {} if checkpoint is None else checkpoint.description or {}
    return {key: described[key] for key in ("training", "pruning", "start") if key in described}


def known_classes(checkpoint: Checkpoint) -> int | None:
    """The number of classes the network was made for, where the file says so."""
    described = _part(checkpoint, "model").get("classes")
    return described if isinstance(described, int) and described > 0 else None


def complete(
    model: ModelConfig, data: DataConfig, checkpoint: Checkpoint
) -> tuple[ModelConfig, DataConfig]:
    """Both configurations. Fields that were not given are taken from the file's own description. If
    another network or other data are named, the description of the former is not used.

    Raises:
        InputError: the description names code and ``model.trust_pickle`` is not given, or it
            holds values of a wrong type.
    """
    described_model, described_data = _part(checkpoint, "model"), _part(checkpoint, "data")
    names = MODEL_FIELDS if model.model in (None, described_model.get("model")) else ()
    completed_model = _fill(model, described_model, names, checkpoint)
    same = data.data in (None, described_data.get("data"))
    completed_data = _fill(
        data, described_data, DATA_FIELDS if same else OF_THE_NETWORK, checkpoint
    )
    if not model.trust_pickle:
        # A file does not choose which of other packages' code is run.
        own = [each.name for each in plugins.describe("network") if each.package == "prunelimit"]
        libraries = ("torchvision:", "timm:")
        if model.model is None and _is_code(completed_model.model, own, libraries):
            raise UsageError(
                f"{checkpoint.path} names code that is not prunelimit's as its network; give "
                f"`model` {_quoted(completed_model.model)} to run that code."
            )
        known = [each.name for each in plugins.describe("data") if each.package == "prunelimit"]
        if data.data is None and _is_code(completed_data.data, known, ("folder:", "npz:")):
            raise UsageError(
                f"{checkpoint.path} names code that is not prunelimit's as its data; give `data` "
                f"{_quoted(completed_data.data)} to run that code."
            )
        for kind in ("loss", "metric"):
            spec = getattr(completed_data, kind)
            if getattr(data, kind) is None and spec is not None and is_attribute(spec):
                raise UsageError(
                    f"{checkpoint.path} names code that is not prunelimit's as its {kind}; give "
                    f"`{kind}` {_quoted(spec)} to run that code."
                )
    return completed_model, completed_data


def _is_code(spec: str | None, names: Any, prefixes: tuple[str, ...]) -> bool:
    # A folder is only read, but a name on the hub would be downloaded.
    if spec is not None and spec.startswith("hf:") and Path(spec[3:], "config.json").is_file():
        return False
    return spec is not None and spec not in names and not spec.startswith(prefixes)


def _quoted(spec: str | None) -> str:
    """A spec from a file, as a shell takes it for one word."""
    return shlex.quote(shown(spec))


def _part(checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    part = (checkpoint.description or {}).get(name, {})
    if not isinstance(part, dict):
        raise InputError(
            f"{checkpoint.path} has a damaged description of its {name}; write the file again."
        )
    return part


def _fill(
    config: Config, described: Mapping[str, Any], names: tuple[str, ...], checkpoint: Checkpoint
) -> Config:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        if field.name not in names or field.name not in described:
            continue
        value = described[field.name]
        value = tuple(value) if isinstance(value, list) else value
        if not _fits(value, str(field.type)):
            raise InputError(
                f"{checkpoint.path} says that its {field.name} is {shown(value)!r}, which makes "
                "no sense; write the file again."
            )
        if getattr(config, field.name) == field.default:
            changes[field.name] = value
    return dataclasses.replace(config, **changes)


def _fits(value: Any, annotation: str) -> bool:
    if isinstance(value, tuple):
        return annotation.startswith("tuple") and all(isinstance(item, str) for item in value)
    kinds = [piece.strip() for piece in annotation.split("|")]
    return ("None" if value is None else type(value).__name__) in kinds
