"""The Lanczos process with full reorthogonalisation, for any symmetric matrix-vector product.

Source: Paige 1972. A process can be taken further step by step, put away and taken up again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..devices import wide, wide_device
from ..distributed import ALONE, Group
from ..errors import NumericalError, UsageError
from ..storage.summed import read_summed, write_summed
from .basis import Basis
from .quadrature import LanczosRun, Outcome

__all__ = ["DamagedState", "Lanczos", "Matvec", "lanczos"]

Matvec = Callable[[Tensor], Tensor]
"""Maps a vector (D,) to a vector (D,) of the same dtype and device."""

STATE = "state.safetensors"

ENOUGH = 0.7
"""If a residual keeps this share of its length in a pass, no further pass is needed."""


class DamagedState(Exception):
    """The stored state of a process is not whole, or is that of another process."""


class Lanczos:
    """A process begun at ``start`` (D,).

    Vectors stay in the dtype of ``start``; alpha, beta and every norm are accumulated in float64.
    Each step reorthogonalises against all vectors that ``basis`` keeps (:class:`Basis`). It does so
    twice if the first pass removed much (Daniel, Gragg, Kaufman, Stewart 1976). The process ends
    early when the residual is rounding noise relative to the matrix, so it never divides by noise.
    It takes at most ``dimension`` steps. With ``folder``, :meth:`save` puts the process away there.
    A process begun with the same folder goes on from it, to the same numbers. ``start`` and all
    vectors are this process's parts of the vectors of ``group``. The whole length is ``dimension``.

    Raises:
        UsageError: ``start`` is zero or not finite.
        DamagedState: the state in ``folder`` is not whole, or is of a process of another size.
    """

    def __init__(
        self,
        matvec: Matvec,
        start: Tensor,
        *,
        basis: str = "memory",
        folder: Path | None = None,
        group: Group = ALONE,
        dimension: int | None = None,
    ) -> None:
        self._matvec = matvec
        self._group = group
        self._dimension = start.numel() if dimension is None else dimension
        self._folder = folder
        self._basis = Basis(start, basis, folder, group)
        self._alpha: list[float] = []
        self._beta: list[float] = []
        self._scale = 0.0
        self._outcome = Outcome.COMPLETE
        found = folder is not None and (folder / STATE).exists()
        if group.all_reduce_min(int(found), start.device) and folder is not None:
            self._load(folder / STATE)
            if self._agree():
                return
        self._norm = float(self._length(start))
        if not self._norm > 0 or not np.isfinite(self._norm):
            raise UsageError("Lanczos needs a start vector that is finite and not zero.")
        self._basis.append(start / self._norm)

    @property
    def num_steps(self) -> int:
        """Steps taken so far."""
        return len(self._alpha)

    @property
    def exhausted(self) -> bool:
        """Whether the Krylov space is exhausted, so that there is no further step."""
        return self._outcome is Outcome.INVARIANT

    @property
    def run(self) -> LanczosRun:
        """The process as it stands. At least one step has to be taken."""
        return LanczosRun(np.array(self._alpha), np.array(self._beta), self._norm, self._outcome)

    def advance(self, num_steps: int, on_step: Callable[[int], bool | None] | None = None) -> None:
        """Go on until ``num_steps`` steps are done in all.

        ``on_step`` is called after every step with the steps done; True ends the advance there.

        Raises:
            NumericalError: a product is not finite.
        """
        while self.num_steps < min(num_steps, self._dimension) and not self.exhausted:
            self._step()
            if on_step is not None and on_step(self.num_steps):
                return

    def _step(self) -> None:
        current = self._basis.recent[-1]
        residual = self._matvec(current).clone()
        largest = self._length(residual)
        dot = self._dot(current, residual)
        # First in the working dtype: a coarser basis then has only rounding left to remove.
        residual -= dot.to(residual) * current
        if self._beta:
            residual -= self._beta[-1] * self._basis.recent[-2]
        first = self._length(residual)
        self._basis.orthogonalize(residual)
        second = self._length(residual)
        # The only numbers that leave the device, once per step.
        size, alpha, before, beta = torch.stack([largest, dot, first, second]).cpu().tolist()
        if not np.isfinite(size):
            raise NumericalError(
                f"Curvature product {self.num_steps + 1} is not finite; use `dtype` float64 or "
                "check the network's loss."
            )
        if beta < ENOUGH * before:
            self._basis.orthogonalize(residual)
            beta = float(self._length(residual))
        self._scale = max(self._scale, size)
        noise = 10 * torch.finfo(residual.dtype).eps
        if beta <= noise * self._scale or self.num_steps + 1 == self._dimension:
            self._outcome = Outcome.INVARIANT
        else:
            self._basis.append(residual / beta)
        self._alpha.append(alpha)
        self._beta.append(beta)

    def save(self) -> None:
        """Put the process away in its folder.

        Raises:
            OSError: it cannot be written.
        """
        if self._folder is None or not self._undo_half_a_step():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        numbers = [self._norm, self._scale, float(self.exhausted), float(len(self._basis))]
        state = {
            **self._basis.save(),
            "alpha": torch.tensor(self._alpha, dtype=torch.float64),
            "beta": torch.tensor(self._beta, dtype=torch.float64),
            "numbers": torch.tensor(numbers, dtype=torch.float64),
        }
        write_summed(state, self._folder / STATE)

    def _undo_half_a_step(self) -> bool:
        """Forget a vector of a step that was interrupted; False where it cannot be forgotten."""
        wanted = self.num_steps + (not self.exhausted)
        return len(self._basis) == wanted or self._basis.truncate(wanted)

    def _load(self, path: Path) -> None:
        """Read the process back from the file that :meth:`save` wrote.

        Raises:
            DamagedState: it is not whole, or of a process of another size.
        """
        try:
            state = read_summed(path)
            alpha, beta = state.pop("alpha"), state.pop("beta")
            numbers = state.pop("numbers")
            finite = all(bool(torch.isfinite(each).all()) for each in (alpha, beta, numbers))
            if not finite or alpha.ndim != 1 or alpha.shape != beta.shape:
                raise ValueError("the coefficients make no process")
            self._alpha, self._beta = alpha.tolist(), beta.tolist()
            self._norm, self._scale, ended, filled = numbers.tolist()
            self._outcome = Outcome.INVARIANT if ended else Outcome.COMPLETE
            if int(filled) != len(self._alpha) + (not ended) or not self._norm > 0:
                raise ValueError("vectors and coefficients differ in number")
            self._basis.load(state, int(filled))
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise DamagedState(str(error)) from error

    def _agree(self) -> bool:
        """Go back to where every process of the group has been; False where none can."""
        steps = self._group.all_reduce_min(self.num_steps, self._basis.recent[-1].device)
        if steps == self.num_steps:
            ahead = True
        else:
            ahead = steps > 0 and self._basis.truncate(steps + 1)
            self._alpha, self._beta = self._alpha[:steps], self._beta[:steps]
            self._outcome = Outcome.COMPLETE
        if self._group.all_reduce_min(int(ahead), self._basis.recent[-1].device):
            return True
        self._alpha, self._beta, self._scale = [], [], 0.0
        self._outcome = Outcome.COMPLETE
        self._basis = self._basis.emptied()
        return False

    def _length(self, vector: Tensor) -> Tensor:
        """A scalar, float64, that stays where the vector is."""
        # Scaled, so that entries near the dtype's smallest number do not square to zero. The scale
        # is the sum of the processes' largest entries, which all of them know.
        largest = vector.abs().max() if vector.numel() else vector.new_zeros(())
        scale = self._total(largest)
        usable = torch.isfinite(scale) & (scale > 0)
        divisor = torch.where(usable, scale, torch.ones_like(scale))
        part = wide(torch.linalg.vector_norm(vector / divisor.to(vector), **self._summed(vector)))
        return torch.where(usable, scale * self._total(part**2).sqrt(), scale)

    def _summed(self, vector: Tensor) -> dict[str, torch.dtype]:
        """How a sum over ``vector`` is taken where it lies: in float64, where there is one."""
        narrow = wide_device(vector.device) != vector.device
        return {} if narrow else {"dtype": torch.float64}

    def _dot(self, left: Tensor, right: Tensor) -> Tensor:
        return self._total(torch.dot(wide(left), wide(right)))

    def _total(self, number: Tensor) -> Tensor:
        return self._group.all_reduce(wide(number.reshape(1)))[0]


def lanczos(
    matvec: Matvec,
    start: Tensor,
    num_steps: int,
    *,
    on_step: Callable[[int], bool | None] | None = None,
) -> LanczosRun:
    """``num_steps`` steps from ``start`` (D,) in one go, with the basis in memory.

    Raises:
        UsageError: ``num_steps`` is below one, or ``start`` is zero.
        NumericalError: a product is not finite.
    """
    if num_steps < 1:
        raise UsageError(f"Lanczos needs at least one step, not {num_steps}; raise `steps`.")
    process = Lanczos(matvec, start)
    process.advance(num_steps, on_step)
    return process.run
