"""Forward passes that wait at a layer until they are told to go on.

Layers are fitted one after the other, each on the outputs of the fitted layers before it. If a pass
began anew for every layer, all of them would cost half as many whole passes as there are layers.
These passes stop at a layer, and go on from there once it has its new weights. So one pass serves
all layers. Each runs in a thread of its own, because a network's forward is ordinary code that can
only be stopped where it stands. One runs at a time.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_map_only
from torch.utils.hooks import RemovableHandle

from ..inputs.structure import Inputs

__all__ = ["Pass", "live_bytes"]


class _Ended(BaseException):
    """Ends the thread of a pass that is not needed any more; no network's ``except Exception`` sees
    it."""


def _twin(model: nn.Module) -> nn.Module:
    """``model`` with modules of its own that hold the same tensors. So values that a forward puts
    into its modules stay in these. If a module cannot be copied so, it is ``model`` itself."""
    tensors = [*model.parameters(), *model.buffers()]
    found = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    own = [*found.parameters(), *found.buffers()]
    same = len(own) == len(tensors) and all(a is b for a, b in zip(own, tensors, strict=True))
    return found if same else model


class Pass:
    """A forward pass of ``inputs`` through ``model``, which stops at calls of ``layers``.

    It stops before a layer computes, or, with ``after``, when it has computed. While it waits it
    holds the values that the network has still to read. :meth:`close` frees them.
    """

    def __init__(
        self, model: nn.Module, inputs: Inputs, layers: Iterable[str], *, after: bool = False
    ) -> None:
        self._model, self._inputs = _twin(model), inputs
        self._hooks = [self._watch(name, after) for name in layers]
        self._wanted: str | None = None
        self._found: tuple[Tensor, Tensor | None] | None = None
        self._error: BaseException | None = None
        self._go, self._there = threading.Semaphore(0), threading.Semaphore(0)
        # A thread does not inherit the modes of the one that begins it.
        self._modes = _get_current_dispatch_mode_stack()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def to(self, layer: str) -> tuple[Tensor, Tensor | None] | None:
        """Go on to the next call of ``layer``. Returns its input, and its output if it has
        computed; None if the pass ends without such a call.

        Raises:
            Exception: what the network raised.
        """
        if self._thread.ident is not None and not self._thread.is_alive():
            return None
        self._wanted, self._found = layer, None
        if self._thread.ident is None:
            self._thread.start()
        self._go.release()
        self._there.acquire()
        if self._error is not None:
            raise self._error
        return self._found

    def close(self) -> None:
        """End the pass where it is."""
        self._found = None
        for hook in self._hooks:
            hook.remove()
        if self._thread.is_alive():
            self._wanted = None
            self._go.release()
            self._thread.join()

    def _watch(self, name: str, after: bool) -> RemovableHandle:
        layer = self._model.get_submodule(name)
        if after:
            return layer.register_forward_hook(
                lambda _, given, made: self._reached(name, given[0], made)
            )
        return layer.register_forward_pre_hook(lambda _, given: self._reached(name, given[0], None))

    def _reached(self, name: str, given: Tensor, made: Tensor | None) -> None:
        if name == self._wanted and threading.current_thread() is self._thread:
            self._found = given, made
            del given, made
            self._wait()

    def _wait(self) -> None:
        self._there.release()
        self._go.acquire()
        if self._wanted is None:
            raise _Ended

    def _run(self) -> None:
        self._go.acquire()
        try:
            with torch.no_grad(), ExitStack() as modes:
                for mode in self._modes:
                    modes.enter_context(mode)
                self._model(self._inputs)
        except _Ended:
            pass
        except BaseException as error:
            self._error = error
        finally:
            del self._inputs
            self._there.release()


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that were made while it is active and are still there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._holders: Counter[int] = Counter()
        self.bytes = self.most = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {_place(tensor) for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(found):
            # A view of an earlier tensor takes no new memory.
            if self._holders[_place(tensor)] or _place(tensor) not in given:
                self._hold(tensor)
        self.most = max(self.most, self.bytes)
        return found

    def _hold(self, tensor: Tensor) -> None:
        place, size = _place(tensor), int(tensor.untyped_storage().nbytes())
        self._holders[place] += 1
        if self._holders[place] == 1:
            self.bytes += size
        weakref.finalize(tensor, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            self.bytes -= size


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    tree_map_only(Tensor, found.append, tree)
    return found


def live_bytes(model: nn.Module, inputs: Inputs) -> int:
    """The most bytes that the network's values take at once in a forward pass of ``inputs``.

    If that cannot be watched on a device, it is the bytes of all its modules' outputs, which is
    more.
    """
    live = _Live()
    with torch.no_grad():
        try:
            with live:
                model(inputs)
        except NotImplementedError:
            return _given_bytes(model, inputs)
    return live.most


def _given_bytes(model: nn.Module, inputs: Inputs) -> int:
    sizes: list[int] = []

    def note(_: nn.Module, given: object, made: object) -> None:
        sizes.extend(tensor.nbytes for tensor in _tensors(made))

    hooks = [module.register_forward_hook(note) for module in _open_modules(model)]
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes)


def _open_modules(model: nn.Module) -> list[nn.Module]:
    """All modules but scripted ones, which allow no hooks."""
    return [each for each in model.modules() if not isinstance(each, torch.jit.ScriptModule)]
