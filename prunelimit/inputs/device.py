"""Where tensors live and of which type: names turned into torch's own objects."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import UsageError

__all__ = ["device_of", "dtype_of", "placed"]

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def device_of(name: str) -> torch.device:
    """The device ``name``, once it is known to hold a tensor.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # the device "meta" has no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(f"The device {name!r} cannot be used ({reason}); try cpu.") from None
    return device


def dtype_of(name: str) -> torch.dtype:
    """The floating-point type ``name``.

    Raises:
        UsageError: it is neither float32 nor float64.
    """
    if name not in DTYPES:
        raise UsageError(f"There is no type {name!r}; choose float32 or float64.")
    return DTYPES[name]


def placed(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """``network``, moved in place to ``device`` and ``dtype``.

    Complex numbers stay complex, of the same precision, and integers what they are.
    """

    def converted(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(device, COMPLEX[dtype])
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    network._apply(converted)
    return network
