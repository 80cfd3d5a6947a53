"""The budget of an estimate, and the Lanczos processes that it is spent on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..distributed import ALONE, Group, ShardSpec
from ..errors import UsageError
from ..lanczos import Lanczos, LanczosRun, Matvec, Store
from ..progress import Progress, silent

__all__ = ["LEAST", "Budget", "LanczosProcess", "never"]

LEAST = 10
"""Steps that the first processes take in any case, so that a limit can be read."""

WORTH_SAVING = 5.0
"""Most seconds of work that a kill without warning should lose."""

REASONS = (None, "max-seconds", "max-products", "interrupted")
"""Reasons why nothing more may be spent. Where several hold, the last counts."""


def never() -> bool:
    """Let nobody stop the work."""
    return False


@dataclass
class Budget:
    """What may be spent, and where processes are kept.

    ``products`` counts Lanczos steps, whether taken now or found in ``store``. A step on a part of
    the samples counts as that part. ``max_seconds`` run from ``begun``, of the monotonic clock.
    Between products, ``stop`` is asked whether the user wants the estimate so far. ``stop_reason``
    is why the last process that was cut short stopped early. ``note`` is shown with progress.
    ``group`` are the processes that do the same work together, with their tensors on ``device``.
    ``seconds_per_sample`` is the time that evaluating the network took, where it is known.
    """

    store: Store = field(default_factory=Store)
    progress: Progress = silent
    max_products: int | None = None
    max_seconds: float | None = None
    stop: Callable[[], bool] = never
    products: int = 0
    stop_reason: str | None = None
    note: str = ""
    group: Group = ALONE
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    begun: float = field(default_factory=time.monotonic)
    seconds_per_sample: float | None = None
    _processes: list[LanczosProcess] = field(default_factory=list)

    def ended(self) -> str | None:
        """Why nothing more may be spent: "interrupted", "max-products", "max-seconds" or None."""
        found = None
        if self.seconds_left() == 0:
            found = "max-seconds"
        if self.max_products is not None and self.products >= self.max_products:
            found = "max-products"
        if self.stop():
            found = "interrupted"
        # The clock and Ctrl-C of one process hold for all.
        return REASONS[-self.group.all_reduce_min(-REASONS.index(found), self.device)]

    def products_left(self) -> int | None:
        """Of the products allowed; None where they are not limited."""
        return None if self.max_products is None else max(0, self.max_products - self.products)

    def seconds_left(self) -> float | None:
        """Of the time allowed; None where it is not limited."""
        if self.max_seconds is None:
            return None
        return max(0.0, self.max_seconds - (time.monotonic() - self.begun))

    def begin(
        self, name: str, matvec: Matvec, start: Tensor, parts: ShardSpec, share: float = 1.0
    ) -> LanczosProcess:
        """The process called ``name``, at zero steps as far as this work is concerned. Each step
        counts as ``share`` of a product.

        ``matvec`` maps this process's part of a vector, cut as ``parts`` says; ``start`` (D,) is
        whole.
        """
        lanczos = self.store.process(
            name, matvec, parts.part(start), group=self.group, dimension=start.numel()
        )
        process = LanczosProcess(name, lanczos, self, share)
        self._processes.append(process)
        return process

    def product(self, name: str, matvec: Matvec, vector: Tensor) -> Tensor:
        """The product called ``name`` of this process's part of a vector. It is read from the
        store, or taken now and stored, and counted in both cases.

        Raises:
            InputError: the stored product is not whole, or is that of another vector.
        """
        self.products += 1
        steps = self.store.steps

        def read(state: dict[str, Any]) -> Tensor:
            found = state["product"]
            if (found.shape, found.dtype) != (vector.shape, vector.dtype):
                raise ValueError("it is the product of another vector")
            if not bool(torch.isfinite(found).all()):
                raise ValueError("it is not finite")
            return torch.as_tensor(found)

        found = steps.restored(name, read, vector.device)
        # The processes take a product together: if one of them lacks it, all take it.
        everywhere = self.group.all_reduce_min(int(found is not None), self.device)
        if found is not None and everywhere:
            return found
        found = matvec(vector)
        if bool(torch.isfinite(found).all()):
            steps.save(name, {"product": found})
        return found

    def retire(self, done: Sequence[LanczosProcess]) -> None:
        """Put away processes that are not needed any more, and forget them."""
        for process in done:
            self.store.save(process.lanczos, now=True)
            self._processes.remove(process)

    def save(self) -> None:
        """Save every process now."""
        for process in self._processes:
            self.store.save(process.lanczos, now=True)


@dataclass(eq=False)
class LanczosProcess:
    """A process that is taken further as its result turns out to be needed more exactly.

    ``steps`` are those that the present work has taken. The process itself may have gone further
    before it was put away. That only saves time.
    """

    name: str
    lanczos: Lanczos
    budget: Budget
    share: float = 1.0
    steps: int = 0

    @property
    def run(self) -> LanczosRun:
        """What ``steps`` steps give."""
        return self.lanczos.run.leading(self.steps)

    @property
    def exhausted(self) -> bool:
        """Whether further steps would change nothing."""
        return self.lanczos.exhausted and self.steps >= self.lanczos.num_steps

    def grow(self, steps: int) -> None:
        """Go on to ``steps`` in all, or as far as the budget allows.

        Raises:
            UsageError: fewer than one step is asked for.
        """
        if steps < 1:
            raise UsageError(f"Lanczos needs at least one step, not {steps}; raise `steps`.")
        budget, before, wanted = self.budget, self.budget.products, steps
        if budget.max_products is not None:
            left = int((budget.max_products - before) / self.share)
            steps = min(steps, max(self.steps + left, LEAST))

        def on_step(step: int) -> bool:
            budget.products = before + self._count(step)
            budget.progress(self.name, step, steps, budget.note)
            budget.store.save(self.lanczos)
            return step >= LEAST and budget.ended() in ("interrupted", "max-seconds")

        if steps > self.steps:
            begin = time.monotonic()
            self.lanczos.advance(steps, on_step)
            if time.monotonic() - begin > WORTH_SAVING:
                budget.store.save(self.lanczos, now=True)
            reached = min(steps, self.lanczos.num_steps)
            budget.products = before + self._count(reached)
            self.steps = reached
            budget.progress(self.name, steps, steps, budget.note)
        if self.steps < wanted and not self.exhausted:
            budget.stop_reason = budget.ended() or "max-products"

    def _count(self, step: int) -> int:
        """How many products going on to ``step`` counts as."""
        return math.ceil((step - self.steps) * self.share)
