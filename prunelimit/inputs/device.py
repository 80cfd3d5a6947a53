"""Where tensors live and of which type: names turned into torch's own objects."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..devices import device_of, wide_device
from ..errors import UsageError

__all__ = ["device_of", "dtype_of", "placed"]

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def dtype_of(name: str, device: torch.device | None = None) -> torch.dtype:
    """The floating-point type ``name``, which ``device`` is to have.

    Raises:
        UsageError: it is neither float32 nor float64, or the device has no such type.
    """
    if name not in DTYPES:
        raise UsageError(f"There is no `dtype` {name!r}; choose float32 or float64.")
    if name == "float64" and device is not None and wide_device(device) != device:
        raise UsageError(
            f"The device {device} has no float64; give `dtype` float32, or `device` cpu."
        )
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
