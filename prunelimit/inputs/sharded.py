"""A problem whose parameters are shared by processes: each has a part of every one, as a DTensor.

A parameter is gathered whole when an operator takes it and dropped again behind the operator. What
autograd would keep of it is gathered again when it is wanted (Rajbhandari, Rasley, Ruwase, He 2020,
ZeRO stage 3). So every operator sees plain tensors. It needs no sharding rule of DTensor's: batch
normalisation and unevenly cut attention heads have none. Derivatives of any order are DTensor's
own, of gathering and of adding up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from ..distributed import Group, ShardSpec, died
from ..errors import InputError, UsageError
from .call import call
from .device import device_of
from .problem import Layout, Problem, Split
from .structure import Inputs, mapped

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

__all__ = ["Gathering", "ShardedProblem", "shard"]

METADATA = frozenset(("__get__", "dim", "is_floating_point", "ndimension", "numel", "size"))
"""Methods and attributes of a tensor that do not need its numbers."""


@dataclass(frozen=True)
class _Gone:
    """A gathered parameter, or a view of one, that autograd is to gather again."""

    sharded: DTensor
    dtype: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class Gathering(TorchFunctionMode):
    """While it is entered, operators get the DTensors among their arguments whole.

    ``most`` is the most bytes of parameters that were whole at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._known: dict[int, tuple[StorageWeakRef, DTensor, int]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in METADATA:
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map(self._argument, (args, kwargs or {}))
        return func(*args, **kwargs)

    def _argument(self, given: Any) -> Any:
        from torch.distributed.tensor import DTensor

        return self.whole(given) if isinstance(given, DTensor) else given

    def whole(self, sharded: DTensor) -> Tensor:
        """All of ``sharded``, differentiable; the processes' derivatives of it add up."""
        from torch.distributed.tensor import Partial, Replicate

        gathered = sharded.redistribute(placements=[Replicate()])
        found: Tensor = gathered.to_local(grad_placements=[Partial()])
        # Storages rather than tensors, since autograd keeps views. By weak references, since the
        # address of a freed storage may be used again.
        self._forget()
        reference, size = StorageWeakRef(found.untyped_storage()), found.nbytes
        held: Any = sharded.detach()
        self._known[reference.cdata] = reference, held, size
        self.most = max(self.most, self.held)
        return found

    @property
    def held(self) -> int:
        """Bytes of parameters that are whole now."""
        self._forget()
        return sum(size for _, _, size in self._known.values())

    def _forget(self) -> None:
        """Forget the parameters that have been dropped everywhere."""
        self._known = {k: entry for k, entry in self._known.items() if not entry[0].expired()}

    def pack(self, tensor: Tensor) -> Tensor | _Gone:
        """What to keep in place of ``tensor``: itself, unless it can be gathered again."""
        known = self._known.get(tensor.untyped_storage()._cdata)
        if known is None or known[1].dtype != tensor.dtype:
            return tensor
        offset = int(tensor.storage_offset())
        return _Gone(known[1], tensor.dtype, tensor.size(), tensor.stride(), offset)

    def unpack(self, kept: Tensor | _Gone) -> Tensor:
        """The tensor that :meth:`pack` was given."""
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            return self.whole(kept.sharded).as_strided(kept.size, kept.stride, kept.offset)


class _Moved:
    """``split`` with its batches on ``device``."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._split, self._device = split, device

    def __len__(self) -> int:
        return len(self._split)

    def batches(
        self, batch_size: int, *, order: Tensor | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        for inputs, targets in self._split.batches(batch_size, order=order):
            yield mapped(lambda x: x.to(self._device), inputs), targets.to(self._device)

    def subset(self, count: int, seed: int) -> Split:
        return _Moved(self._split.subset(count, seed), self._device)


@dataclass(frozen=True, kw_only=True)
class ShardedProblem(Problem):
    """A problem with a part of every parameter in each process of ``group``; see :func:`shard`.

    ``model`` holds DTensors on ``device``, cut by their first dimension; batches come there too.
    ``numbers`` names the parameters without a dimension. They are stored as DTensors of one entry.
    Whole vectors (D,) are in host memory. All processes call its methods alike.
    """

    group: Group
    mesh: DeviceMesh
    gathering: Gathering
    numbers: tuple[str, ...]

    def parts(self, group: Group) -> ShardSpec:
        """How vectors (D,) are cut: as the parameters are."""
        return ShardSpec(self.group, _blocks(self.layout), self.device)

    def vector(self) -> Tensor:
        """A copy of the free parameters as one vector (D,) in host memory."""
        pieces = [_local(parameter).reshape(-1) for parameter in self.parameters().values()]
        return self.parts(self.group).all_gather(torch.cat(pieces))

    def tensors(self, weights: Tensor) -> dict[str, Tensor]:
        """``weights`` (D,) by name of the free parameters, a part of each on the device."""
        return self.sharded(self.parts(self.group).part(weights))

    def sharded(self, part: Tensor) -> dict[str, Tensor]:
        """This process's part of a vector as DTensors, one for each free parameter."""
        parts = self.parts(self.group)
        found: dict[str, Tensor] = {}
        start = 0
        for place, (name, shape) in enumerate(
            zip(self.layout.names, self.layout.shapes, strict=True)
        ):
            own, width = len(parts.rows(place)), parts.blocks[place][1]
            local = part[start : start + own * width].view(own, *shape[1:])
            found[name] = _dtensor(local, shape or torch.Size((1,)), self.mesh)
            start += own * width
        return found

    def outputs(self, inputs: Inputs, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
        """The network's outputs for ``inputs``, with ``tensors`` in place of parameters of the
        same name; differentiable.

        Raises:
            InputError: an operator takes parameters where they cannot be gathered for it.
            LostProcessError: another process is gone.
        """
        found = dict(tensors or {})
        with self.working():
            for name in self.numbers:
                given: Any = found.get(name, self.model.get_parameter(name))
                found[name] = self.gathering.whole(given).reshape(())
            with self.gathering:
                outputs = call(self.model, found, inputs)
        return outputs

    @contextmanager
    def working(self) -> Iterator[None]:
        """Raise errors of shared parameters in our own words.

        Raises:
            InputError: an operator takes parameters where they cannot be gathered for it.
            LostProcessError: another process is gone.
        """
        try:
            yield
        except (RuntimeError, TypeError, AttributeError) as error:
            lost = died(error) if isinstance(error, RuntimeError) else None
            if lost is not None:
                raise lost from error
            text = " ".join(str(error).split())
            if "DTensor" not in text and "harding" not in text:
                raise
            named = re.search(r"aten\.\w+", text)
            raise InputError(
                f"{named[0] if named else 'An operator'} in the network needs whole parameters, "
                f"and they cannot be gathered there ({re.split('[.,:;] ', text)[0]}); use "
                "parameters outside of scripted modules, checkpointed parts and autograd "
                "functions, or leave `shard` at samples."
            ) from error


def shard(problem: Problem, group: Group, device: str) -> ShardedProblem:
    """``problem``, in host memory, with its parameters shared by ``group`` on ``device``.

    The problem itself is used up: its network's parameters become the parts. All processes gather
    alike, so the network's control flow must not depend on the data. Parameters can be gathered for
    every torch function that the network calls. They cannot be gathered for those inside scripted
    modules, autograd functions and recomputed parts (``torch.utils.checkpoint``). Such networks are
    refused when they run. What a network makes of a parameter (weight normalisation) stays whole in
    kept graphs.

    Raises:
        UsageError: there are more processes than can have a part, or this torch has no DTensor.
    """
    try:
        from torch.distributed.tensor import DTensor  # noqa: F401
    except ImportError:
        raise UsageError(
            f"`shard` parameters needs torch 2.5, and this is torch {torch.__version__}; upgrade "
            "torch, or leave `shard` at samples."
        ) from None
    where = device_of(device)
    blocks = _blocks(problem.layout)
    if ShardSpec(group, blocks).shortest == 0:
        raise UsageError(
            f"{group.size} processes cannot share the parameters, which have at most "
            f"{max(rows for rows, _ in blocks)} rows; start fewer processes, or leave `shard` at "
            "samples."
        )
    mesh = group.mesh(where)
    given = {f: getattr(problem, f) for f in problem.__dataclass_fields__}
    given |= {"train": _Moved(problem.train, where), "test": _Moved(problem.test, where)}
    numbers = tuple(name for name, each in problem.model.named_parameters() if not each.ndim)
    found = ShardedProblem(
        **{**given, "device": where},
        group=group,
        mesh=mesh,
        gathering=Gathering(),
        numbers=numbers,
    )
    _cut(problem.model, group, where, mesh)
    return found


def _blocks(layout: Layout) -> tuple[tuple[int, int], ...]:
    """Number of rows, and entries per row, of every free parameter. A number is one row."""
    return tuple((shape[0], shape[1:].numel()) if shape else (1, 1) for shape in layout.shapes)


def _cut(model: nn.Module, group: Group, device: torch.device, mesh: DeviceMesh) -> None:
    """Put this process's part in place of every parameter, and buffers on the device."""
    done: dict[int, nn.Parameter] = {}
    kept = []  # so that no id in ``done`` is used for another parameter
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) not in done:
                kept.append(parameter)
                whole = parameter.detach()
                rows = whole if whole.ndim else whole.reshape(1)
                own = group.even(len(rows)).rows(0)
                local = rows[own.start : own.stop].to(device, copy=True)
                cut = _dtensor(local, rows.shape, mesh)
                done[id(parameter)] = nn.Parameter(cut, requires_grad=False)
            setattr(module, name, done[id(parameter)])
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = buffer.to(device)


def _dtensor(local: Tensor, shape: torch.Size, mesh: DeviceMesh) -> DTensor:
    """The tensor of ``shape`` of which ``local`` is this process's rows."""
    from torch.distributed.tensor import DTensor, Shard

    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


def _local(tensor: Tensor) -> Tensor:
    """This process's rows of a DTensor."""
    found: Tensor = tensor.detach().to_local()  # type: ignore[attr-defined]
    return found
