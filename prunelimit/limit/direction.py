"""What the removal of some weights costs in the model of the loss, read from one Lanczos run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..lanczos import LanczosRun, Quadrature
from .geometry import saturated

__all__ = ["Direction"]


@dataclass(frozen=True)
class Direction:
    """The loss rise of one displacement d by the ridge k, per squared length of d.

    ``run`` begins at d, and the rise is that of a loss without slope at w*:

        1/2 * sum_i lambda_i k / (lambda_i + k) * d_i^2.

    With ``unmoved`` it is that of a loss with slope. Let g be the gradient at w*. ``run`` then
    begins at the force G d + g that the survivors feel, and the rise is

        g^T d + d^T G d / 2 - 1/2 * (G d + g)^T (G + k)^-1 (G d + g).

    For g = 0 the two are the same. The second needs the eigenvalues as they are. ``unmoved`` is its
    first part, g^T d + d^T G d / 2. ``scale`` is the squared length of the force. Both are over the
    squared length of d. ``rounding`` is how far rounding may move the rise.
    """

    run: LanczosRun
    unmoved: float | None = None
    scale: float = 1.0
    rounding: float = 0.0

    def rise(self, read: Callable[[np.ndarray], np.ndarray], ridge: float) -> tuple[float, float]:
        """Upper and lower end at ``ridge``, in nats per squared length. They are the results of the
        Gauss and the Gauss-Radau rule, with the eigenvalues as ``read`` takes them."""
        gauss, radau = (
            self._rise(rule, read, ridge)
            for rule in (self.run.bracket.gauss, self.run.bracket.radau)
        )
        return gauss + self.rounding, radau - self.rounding

    def _rise(
        self, rule: Quadrature, read: Callable[[np.ndarray], np.ndarray], ridge: float
    ) -> float:
        values = read(rule.ritz_values)
        if self.unmoved is None:
            return 0.5 * float(saturated(values, ridge) @ rule.weights)
        return self.unmoved - 0.5 * self.scale * float((1 / (values + ridge)) @ rule.weights)
