"""A function recorded once as primitive operations and replayed in parts.

Most operations of a product H v over many batches depend on the batch alone or on the vector alone.
Recording them below differentiation tells which. What depends on neither is done once, when
recording. What depends on the batch is done once per batch, what depends on the vector once per
vector. Only the rest, linear in the vector, is done once per product and batch. Nothing is
differentiated in a replay: it calls the recorded kernels one after the other.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from .fusion import Made, fuse
from .memory import storage_of

__all__ = ["Recording", "Unrecordable", "record"]

FIXED, BATCH, VECTOR, BOTH = 0, 1, 2, 3
"""What a value depends on; the union of two is their bitwise or."""

Replay = Callable[..., list[Tensor]]
Function = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]


class Unrecordable(Exception):
    """The function cannot be replayed; the message says why."""


@dataclass(frozen=True)
class Recording:
    """A recorded function of a batch and of vectors.

    ``prepare(*batch)`` does what depends on the batch alone, ``transform(*vectors)`` what depends
    on the vectors alone; ``combine(*prepared, *transformed)`` gives the function's outputs.
    Recording took ``bytes`` of memory beside its inputs; they are free afterwards.
    """

    prepare: Replay
    transform: Replay
    combine: Replay
    bytes: int


def record(
    function: Function, fixed: Sequence[Tensor], batch: Sequence[Tensor], vectors: Sequence[Tensor]
) -> Recording:
    """Record ``function(fixed, batch, vectors)``, which gives a sequence of tensors.

    The recording holds for batches and vectors of these shapes and dtypes. It is bound to the
    present values of ``fixed`` and of any tensor that the function brings along.

    Raises:
        Unrecordable: the function draws random numbers, reads values of the batch into Python,
            or writes where a replay would read too late.
    """
    recorder = _Recorder()
    for tensors, level in ((fixed, FIXED), (batch, BATCH), (vectors, VECTOR)):
        for tensor in tensors:
            recorder.enter(tensor, level)
    with recorder:
        outputs = function(fixed, batch, vectors)
    return recorder.recording(outputs)


@dataclass(eq=False)
class _Step:
    """One operation, or an input where ``call`` is None.

    ``before`` are the steps whose results it needs. ``storages`` is the memory of its results,
    ``written`` the memory that it changes.
    """

    call: Any
    arguments: Any
    level: int
    before: list[_Step] = field(default_factory=list)
    reads: list[tuple[_Value, int]] = field(default_factory=list)
    storages: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Value:
    """The ``index``-th tensor that ``step`` gives; the only one where ``index`` is None."""

    step: _Step
    index: int | None = None


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    tree_map_only(Tensor, found.append, tree)
    return found


class _Recorder(TorchDispatchMode):
    """Notes every operation that runs while it is active, below differentiation."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: saying yes imports the compiler, which takes seconds and is not used here."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._steps: list[_Step] = []
        self._values: dict[int, _Value] = {}
        self._tensors: dict[_Value, Tensor] = {}  # kept, so that no id or storage is used again
        self._writers: dict[int, _Step] = {}
        self._writes: Counter[int] = Counter()

    def enter(self, tensor: Tensor, level: int) -> None:
        """Take ``tensor`` as an input."""
        step = _Step(None, None, level, storages={_storage(tensor)})
        self._steps.append(step)
        self._note(tensor, _Value(step))

    def _note(self, tensor: Tensor, value: _Value) -> None:
        self._values[id(tensor)] = value
        self._tensors[value] = tensor
        value.step.storages.add(_storage(tensor))

    def _value(self, tensor: Tensor) -> _Value:
        if id(tensor) not in self._values:
            self.enter(tensor, FIXED)
        return self._values[id(tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unrecordable(f"{func} draws random numbers")
        step = _Step(func, tree_map_only(Tensor, self._value, (args, kwargs)), FIXED)
        for tensor in _tensors((args, kwargs)):
            value, storage = self._values[id(tensor)], _storage(tensor)
            step.reads.append((value, self._writes[storage]))
            step.before.append(value.step)
            if storage in self._writers:
                step.before.append(self._writers[storage])
        for each in step.before:
            step.level |= each.level
        if step.level != FIXED and _reads_values(func, args):
            raise Unrecordable(f"{func} depends on values of the data in more than its result")
        written = _written(func, args, kwargs)
        result = func(*args, **kwargs)
        for storage in map(_storage, written):
            self._writers[storage] = step
            self._writes[storage] += 1
            step.written.add(storage)
        if isinstance(result, Tensor):
            self._note(result, _Value(step))
        elif isinstance(result, (tuple, list)):
            for index, each in enumerate(result):
                if isinstance(each, Tensor):
                    self._note(each, _Value(step, index))
        self._steps.append(step)
        return result

    def recording(self, outputs: Sequence[Tensor]) -> Recording:
        """The three programs that together make ``outputs``."""
        results = [self._value(tensor) for tensor in outputs]
        ends = [value.step for value in results]
        ends += [self._writers[_storage(t)] for t in outputs if _storage(t) in self._writers]
        self._raise_levels()
        wanted = _all_before(ends)
        steps = [step for step in self._steps if step in wanted]
        self._refuse_late_reads(steps)
        crossing: dict[int, dict[_Value, None]] = {FIXED: {}, BATCH: {}, VECTOR: {}}
        uses: list[tuple[int, _Value]] = [(BOTH, value) for value in results]
        uses += [(step.level, value) for step in steps for value, _ in step.reads]
        for level, value in uses:
            if level == BOTH and value.step.level in (BATCH, VECTOR):
                crossing[value.step.level][value] = None
            if level != FIXED and value.step.level == FIXED:
                crossing[FIXED][value] = None
        constants = {value: self._tensors[value] for value in crossing[FIXED]}
        batch, vector = list(crossing[BATCH]), list(crossing[VECTOR])
        inputs = {
            level: [_Value(s) for s in self._steps if s.call is None and s.level == level]
            for level in (BATCH, VECTOR)
        }
        made = self._forms()
        return Recording(
            _program(steps, BATCH, constants, inputs[BATCH], batch, made),
            _program(steps, VECTOR, constants, inputs[VECTOR], vector, made),
            _program(steps, BOTH, constants, batch + vector, results, made),
            self._bytes(),
        )

    def _bytes(self) -> int:
        """Memory of everything that was made."""
        given = {storage for step in self._steps if step.call is None for storage in step.storages}
        storages = dict(map(storage_of, self._tensors.values()))
        return sum(size for place, size in storages.items() if place not in given)

    def _forms(self) -> dict[_Value, Made]:
        """The form of every value, and whether it has its memory to itself."""
        held = Counter(_storage(tensor) for tensor in self._tensors.values())
        return {
            value: Made.of(
                tensor, own=held[_storage(tensor)] == 1, written=_storage(tensor) in self._writers
            )
            for value, tensor in self._tensors.items()
        }

    def _raise_levels(self) -> None:
        """If memory is written to, let all steps that touch it depend on whatever one of them
        depends on."""
        shared = {storage for step in self._steps for storage in step.written}
        touching: dict[int, list[_Step]] = {storage: [] for storage in shared}
        for step in self._steps:
            for storage in (step.storages | step.written) & shared:
                touching[storage].append(step)
                if step.call is None:
                    raise Unrecordable("it writes into a tensor that it was given")
        changed = True
        while changed:
            changed = False
            for step in self._steps:
                level = step.level
                for each in step.before:
                    level |= each.level
                changed |= level != step.level
                step.level = level
            for steps in touching.values():
                level = FIXED
                for step in steps:
                    level |= step.level
                changed |= any(step.level != level for step in steps)
                for step in steps:
                    step.level = level

    def _refuse_late_reads(self, steps: Sequence[_Step]) -> None:
        for step in steps:
            for value, writes in step.reads:
                storage = _storage(self._tensors[value])
                if value.step.level != step.level and self._writes[storage] != writes:
                    raise Unrecordable(f"{step.call} reads a value that is overwritten later")


def _reads_values(func: Any, args: Any) -> bool:
    """Whether a value goes to Python, or the result has a shape that depends on values."""
    if func is torch.ops.aten.index.Tensor:
        return any(index is not None and not _counts(index) for index in args[1])
    tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
    return bool(tags.intersection(func.tags))


def _counts(index: Tensor) -> bool:
    """Whether ``index`` holds positions, not a mask."""
    return index.dtype not in (torch.bool, torch.uint8)


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that ``func`` writes into."""
    found = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            found += _tensors(given)
    return found


def _all_before(ends: Iterable[_Step]) -> set[_Step]:
    found, pending = set(ends), list(ends)
    while pending:
        for step in pending.pop().before:
            if step not in found:
                found.add(step)
                pending.append(step)
    return found


def _program(
    steps: Sequence[_Step],
    level: int,
    constants: dict[_Value, Tensor],
    inputs: Sequence[_Value],
    outputs: Sequence[_Value],
    made: dict[_Value, Made],
) -> Replay:
    """The steps of ``level`` as one function of ``inputs``."""
    graph = fx.Graph()
    chosen = [step for step in steps if step.level == level and step.call is not None]
    used = {value for step in chosen for value, _ in step.reads} | set(outputs)
    held = [value for value in constants if value in used]
    nodes = {value: graph.placeholder(f"given_{place}") for place, value in enumerate(held)}
    for place, value in enumerate(inputs):
        nodes[value] = graph.placeholder(f"input_{place}")

    def node(value: _Value) -> fx.Node:
        if value not in nodes:
            whole = nodes[_Value(value.step)]
            nodes[value] = graph.call_function(operator.getitem, (whole, value.index))
        return nodes[value]

    for step in chosen:
        args, kwargs = tree_map_only(_Value, node, step.arguments)
        nodes[_Value(step)] = graph.call_function(step.call, args, kwargs)
    graph.output([node(value) for value in outputs])
    for value, each in nodes.items():
        if value in made:
            each.meta["made"] = made[value]
    if level == BOTH:  # the others are run once, and their results read again
        fuse(graph)
    run = fx.GraphModule({}, graph).forward
    first = [constants[value] for value in held]

    def replay(*given: Tensor) -> list[Tensor]:
        with torch.no_grad():
            found: list[Tensor] = run(*first, *given)
        return found

    return replay
