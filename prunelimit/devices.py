"""The device that numbers are computed on: which devices there are, which is chosen, what it cannot
do.

Sums and scores are float64. Some devices, such as Apple's mps, have no such type. They keep the
network, its data and all long vectors. Sums in float64 are then taken on the CPU (:func:`wide`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .errors import UsageError

__all__ = [
    "available",
    "bfloat16_tiles",
    "chosen",
    "described",
    "device_of",
    "second_order",
    "wide",
    "wide_device",
]

WITHOUT_FLOAT64 = {"mps"}
"""Types of devices that have no float64."""


def available() -> tuple[str, ...]:
    """The devices that there are, the fastest first; the CPU is the last.

    >>> available()[-1]
    'cpu'
    """
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def chosen(name: str) -> str:
    """``name``; for "auto" the fastest device: a GPU, or the CPU if there is none.

    >>> chosen("cpu")
    'cpu'
    """
    return available()[0].partition(":")[0] if name == "auto" else name


def device_of(name: str) -> torch.device:
    """The device ``name``, once it is known to hold a tensor: "auto", "cpu", "cuda", "cuda:1",
    "mps", or another that torch knows. A GPU comes with its number.

    Raises:
        UsageError: there is no such device here; the message names those that there are.

    >>> device_of("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(chosen(name))
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        torch.zeros(1, device=device).item()  # the device "meta" has no numbers
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"The device {name!r} cannot be used ({reason}); give one that is here: "
            f"{', '.join(available())}."
        ) from None
    return device


def bfloat16_tiles(device: torch.device) -> bool:
    """Whether ``device`` is a CPU that multiplies matrices of bfloat16 by tiles (AMX). Convolutions
    then take a half to a third of float32's time."""
    known = getattr(torch.cpu, "_is_amx_tile_supported", None)  # not in every torch
    return device.type == "cpu" and known is not None and bool(known())


def described(name: str) -> str:
    """The device ``name`` in words, with the model of a GPU.

    >>> described("cpu")
    'cpu'
    """
    device = device_of(name)
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def wide_device(device: torch.device) -> torch.device:
    """The device that computes float64 for ``device``: itself, or the CPU if it has no float64."""
    return torch.device("cpu") if device.type in WITHOUT_FLOAT64 else device


def wide(tensor: Tensor) -> Tensor:
    """``tensor`` in float64, on :func:`wide_device` of its own.

    >>> wide(torch.ones(2)).dtype
    torch.float64
    """
    return tensor.to(wide_device(tensor.device), torch.float64)


@contextmanager
def second_order(model: nn.Module, device: torch.device) -> Iterator[None]:
    """For the time of the block, ``model`` runs by kernels that can be differentiated twice.

    cuDNN's recurrent layers cannot be; torch's own on a GPU can. If a network has recurrent layers,
    its convolutions go without cuDNN too.
    """
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    if device.type != "cuda" or not recurrent:
        yield
        return
    with torch.backends.cudnn.flags(enabled=False):
        yield
