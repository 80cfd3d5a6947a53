"""A device of Python, for machines that have no accelerator; torch's name "lazy" stands for it.

Its tensors hold ordinary ones of the CPU, so that it gives the CPU's numbers. What a real device
refuses it refuses too: operations that mix its tensors with those of the CPU (but for scalars), and
NumPy. It counts what leaves it (``reads``), and in ``without_float64`` it has no such type, as
Apple's mps. The kernels of a real device it does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map_only

from prunelimit import devices

NAME = "lazy"
"""A device that torch knows and that nobody has, whose derivatives need no thread of its own."""

LEAVES = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero"}
"""Operations that give Python a number."""


class Mixed(RuntimeError):
    """Tensors of two devices met."""


class There(Tensor):
    """A tensor on the device; ``inner`` is where its numbers are."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> There:
        return Tensor._make_wrapper_subclass(  # type: ignore[no-any-return]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=f"{NAME}:0",
        )

    def __init__(self, inner: Tensor) -> None:
        # Forward mode's zeros have no memory.
        self.inner = torch.zeros_like(inner) if inner._is_zerotensor() else inner

    def __repr__(self) -> str:
        return f"There({self.inner})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            made: Tensor = There(self.inner.detach().clone())
            if isinstance(self, torch.nn.Parameter):
                made = torch.nn.Parameter(made, self.requires_grad)
            else:
                made.requires_grad_(self.requires_grad)
            memo[id(self)] = made
        found: Tensor = memo[id(self)]
        return found

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """The device, while it is there. ``reads`` counts what left it, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.calls = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = _tensors((args, kwargs))
        wanted = kwargs.get("device")
        there = wanted is not None and torch.device(wanted).type == NAME
        if not there and not any(isinstance(each, There) for each in found):
            return func(*args, **kwargs)
        name = func._schema.name
        self.calls += 1
        if name in LEAVES or (wanted is not None and not there):
            self.reads[name] += 1
        return _run(func, args, kwargs)


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    tree_map_only(Tensor, found.append, tree)
    return found


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name, wanted = func._schema.name, kwargs.get("device")
    copies = name in ("aten::_to_copy", "aten::copy_")
    if not copies:
        for each in _tensors((args, kwargs)):
            if not isinstance(each, There) and each.ndim:
                raise Mixed(f"{name}: a tensor {tuple(each.shape)} of the {each.device}")
    inner_args, inner = tree_map_only(There, lambda each: each.inner, (args, kwargs))
    if wanted is not None:
        inner = {**inner, "device": "cpu"}
    if inner.get("pin_memory"):
        inner = {**inner, "pin_memory": False}
    result = func(*inner_args, **inner)
    leaves = wanted is not None and torch.device(wanted).type != NAME
    onto_cpu = name == "aten::copy_" and not isinstance(args[0], There)
    if leaves:
        # A copy even where nothing changes, as between two devices.
        return tree_map_only(Tensor, lambda each: each.clone(), result)
    if onto_cpu:
        return args[0]
    if NAME in devices.WITHOUT_FLOAT64:
        for each in _tensors(result):
            if each.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{name}: {NAME} has no {each.dtype}")
    result = tree_map_only(Tensor, There, result)
    return return_and_correct_aliasing(func, args, kwargs, result)


@contextmanager
def elsewhere(*, float64: bool = True) -> Iterator[Elsewhere]:
    """The device for the time of the block."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=) goes through the CPU
    (devices.WITHOUT_FLOAT64.discard if float64 else devices.WITHOUT_FLOAT64.add)(NAME)
    try:
        with Elsewhere() as device:
            yield device
    finally:
        devices.WITHOUT_FLOAT64.discard(NAME)
        torch._C._set_only_lift_cpu_tensors(lifted)
        torch.__future__.set_swap_module_params_on_conversion(before)
