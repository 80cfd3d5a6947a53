"""What an estimate may spend, and the Lanczos processes that it spends it on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..distributed import ALONE, Group, Parts
from ..errors import UsageError
from ..lanczos import Lanczos, LanczosRun, Matvec, Store
from ..progress import Progress, silent

__all__ = ["LEAST", "Growing", "Work", "never"]

LEAST = 10
"""Steps that the first processes are given in any case, so that there is something to read."""

WORTH_SAVING = 5.0
"""Seconds of work that a kill without warning should not lose."""

REASONS = (None, "max-seconds", "max-products", "interrupted")
"""Why nothing more may be spent; of several, the last."""


def never() -> bool:
    """Let nobody stop the work."""
    return False


@dataclass
class Work:
    """A budget and where processes lie.

    ``products`` counts Lanczos steps, whether taken now or found in ``store``, those on a part of
    the samples by that part; ``max_seconds`` run from ``begun``, of the monotonic clock. ``stop``
    is asked between products whether the user wants the estimate so far. ``cut`` is why a process
    was last taken less far than was asked for; ``note`` is shown with progress. ``group`` are the
    processes that do the same work together, with their tensors on ``device``.
    ``seconds_per_sample`` is what evaluating the network took, where that is known.
    """

    store: Store = field(default_factory=Store)
    progress: Progress = silent
    max_products: int | None = None
    max_seconds: float | None = None
    stop: Callable[[], bool] = never
    products: int = 0
    cut: str | None = None
    note: str = ""
    group: Group = ALONE
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    begun: float = field(default_factory=time.monotonic)
    seconds_per_sample: float | None = None
    _growing: list[Growing] = field(default_factory=list)

    def ended(self) -> str | None:
        """Why nothing more may be spent: "interrupted", "max-products", "max-seconds" or None."""
        found = None
        if self.seconds_left() == 0:
            found = "max-seconds"
        if self.max_products is not None and self.products >= self.max_products:
            found = "max-products"
        if self.stop():
            found = "interrupted"
        # One process's clock or Ctrl-C is every process's.
        return REASONS[-self.group.least(-REASONS.index(found), self.device)]

    def products_left(self) -> int | None:
        """Of the products allowed; None where they are not limited."""
        return None if self.max_products is None else max(0, self.max_products - self.products)

    def seconds_left(self) -> float | None:
        """Of the time allowed; None where it is not limited."""
        if self.max_seconds is None:
            return None
        return max(0.0, self.max_seconds - (time.monotonic() - self.begun))

    def begin(
        self, name: str, matvec: Matvec, start: Tensor, parts: Parts, share: float = 1.0
    ) -> Growing:
        """The process called ``name``, with no steps taken as far as this work is concerned, each
        of which counts as ``share`` of a product.

        ``matvec`` maps this process's part of a vector, cut as ``parts`` says; ``start`` (D,) is
        whole.
        """
        process = self.store.process(
            name, matvec, parts.part(start), group=self.group, dimension=start.numel()
        )
        growing = Growing(name, process, self, share)
        self._growing.append(growing)
        return growing

    def retire(self, done: Sequence[Growing]) -> None:
        """Put processes away that nothing more is wanted of, and forget them."""
        for growing in done:
            self.store.save(growing.process, now=True)
            self._growing.remove(growing)

    def put_away(self) -> None:
        """Save every process now."""
        for growing in self._growing:
            self.store.save(growing.process, now=True)


@dataclass(eq=False)
class Growing:
    """A process that is taken further as its result turns out to be needed more exactly.

    ``steps`` are those taken as far as the present work is concerned; the process itself may have
    gone further before it was put away, which changes nothing but the time.
    """

    name: str
    process: Lanczos
    work: Work
    share: float = 1.0
    steps: int = 0

    @property
    def run(self) -> LanczosRun:
        """What ``steps`` steps give."""
        return self.process.run.leading(self.steps)

    @property
    def exhausted(self) -> bool:
        """Whether further steps would change nothing."""
        return self.process.exhausted and self.steps >= self.process.num_steps

    def grow(self, steps: int) -> None:
        """Go on to ``steps`` in all, or as far as the budget allows.

        Raises:
            UsageError: fewer than one step is asked for.
        """
        if steps < 1:
            raise UsageError(f"Lanczos needs at least one step, not {steps}; raise `steps`.")
        work, before, wanted = self.work, self.work.products, steps
        if work.max_products is not None:
            left = int((work.max_products - before) / self.share)
            steps = min(steps, max(self.steps + left, LEAST))

        def on_step(step: int) -> bool:
            work.products = before + self._count(step)
            work.progress(self.name, step, steps, work.note)
            work.store.save(self.process)
            return step >= LEAST and work.ended() in ("interrupted", "max-seconds")

        if steps > self.steps:
            begin = time.monotonic()
            self.process.advance(steps, on_step)
            if time.monotonic() - begin > WORTH_SAVING:
                work.store.save(self.process, now=True)
            reached = min(steps, self.process.num_steps)
            work.products = before + self._count(reached)
            self.steps = reached
            work.progress(self.name, steps, steps, work.note)
        if self.steps < wanted and not self.exhausted:
            work.cut = work.ended() or "max-products"

    def _count(self, step: int) -> int:
        """Products that going on to ``step`` counts as."""
        return math.ceil((step - self.steps) * self.share)
