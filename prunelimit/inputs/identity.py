"""Hashes of a network, a loss or samples. They tell whether stored work belongs to these."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..hashing import digest
from .structure import leaves

__all__ = ["environment", "network_code", "network_digest", "own_code", "samples_digest"]

OTHERS = ("torch", "torchvision", "timm", "transformers", "numpy")
"""Packages whose code is known by the version of the package."""

READ_AT_ONCE = 500


@functools.cache
def _file_digest(path: str, stamp: tuple[int, int]) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def own_code(thing: Any) -> str:
    """The source files of the class or function ``thing`` and of its bases, or the version of the
    package that it belongs to. Code that they call elsewhere is not seen."""
    kinds = inspect.getmro(thing) if isinstance(thing, type) else (thing,)
    found = []
    for kind in kinds:
        name = getattr(kind, "__module__", None) or type(kind).__module__
        package = name.split(".")[0]
        found.append(f"{name}.{getattr(kind, '__qualname__', type(kind).__qualname__)}")
        if package in ("builtins", "typing", "abc"):
            continue
        module = sys.modules.get(name)
        if package in OTHERS:
            found.append(str(getattr(sys.modules[package], "__version__", "")))
            continue
        path = getattr(module, "__file__", None)
        if path is not None and Path(path).is_file():
            state = Path(path).stat()
            found.append(_file_digest(path, (state.st_mtime_ns, state.st_size)))
    return " ".join(found)


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return isinstance(value, (bool, int, float, str, type(None)))


def network_code(network: nn.Module) -> str:
    """A hash of the structure in words, the plain attributes of every module, and the code of its
    class. Tensors are not looked at."""
    pieces: list[Any] = [repr(network)]
    for name, module in network.named_modules():
        plain = {key: value for key, value in sorted(vars(module).items()) if _plain(value)}
        hooks = [own_code(each) for each in module._forward_pre_hooks.values()]
        hooks += [own_code(each) for each in module._forward_hooks.values()]
        pieces += [name, own_code(type(module)), plain, hooks]
    return digest(pieces)


def network_digest(network: nn.Module) -> str:
    """A hash of :func:`network_code` and all tensors."""
    pieces: list[Any] = [network_code(network)]
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        pieces += [name, tensor]
    return digest(pieces)


def samples_digest(split: Any) -> str:
    """A hash of every sample of ``split``, as the network gets them, in order. All samples are read
    for that. Data in memory keep their hash."""
    own = getattr(split, "digest", None)
    if own is not None:
        return str(own())

    def pieces() -> Iterable[Any]:
        for inputs, targets in split.batches(READ_AT_ONCE):
            yield from leaves(inputs)
            yield targets

    return digest(pieces())


def environment(device: torch.device) -> str:
    """What else may change a bit of a result: versions, threads, processor or GPU."""
    kind = torch.backends.cpu.get_cpu_capability()
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
    return repr(
        (
            str(device.type),
            kind,
            torch.__version__,
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.backends.mkldnn.enabled,
            torch.are_deterministic_algorithms_enabled(),
        )
    )
