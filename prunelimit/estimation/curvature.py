"""The curvature of a problem on some samples: its products, and Lanczos processes with it."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import torch
from torch import Tensor

from ..config import CurvatureConfig
from ..curvature import (
    CurvatureOperator,
    CurvatureProduct,
    DataParallelProduct,
    Product,
    PyHessianProduct,
    RestrictedProduct,
    ShardedProduct,
    curvature_product,
    operator_of,
)
from ..curvature.memory import available_bytes
from ..distributed import Group
from ..errors import UsageError
from ..inputs.problem import Problem, Split
from ..lanczos import Store, basis_bytes
from ..lanczos.slq import Spectrum, rademacher
from ..progress import Progress, silent
from ..randomness import generator
from ..results.types import CrossCheck, CurvatureSummary, NestedLimit
from .budget import Budget, LanczosProcess

__all__ = [
    "DEFAULT_SAMPLES",
    "FIRST_STEPS",
    "Curvature",
    "cross_check",
    "measure_curvature",
    "open_curvature",
    "vectors_bytes",
]

TIMED_GRADIENTS = 3
"""Number of gradients over which the time of one is averaged."""

DEFAULT_STEPS = 120
"""Lanczos steps where no limit is read whose error could ask for more or fewer."""

CHECKED_PROBES = 10
"""Probes of PyHessian's trace."""

DEFAULT_SAMPLES = 10_000
"""Samples in that case, and where no drift is read that could ask for more or fewer."""

FIRST_STEPS = 60
"""Lanczos steps from which a limit is read for the first time."""


@dataclasses.dataclass
class Curvature:
    """The curvature of a problem on ``split``: its products, and Lanczos processes from probes.

    ``gradient`` (D,) is that of the loss of ``split``, with each sample's weight in the matrix;
    ``gradient_seconds`` is the time it took. ``label`` tells ``split`` from other splits of the
    same size. A product counts as ``share`` of one. If the curvature is that of some parameters
    alone, ``mask`` (bool, (D,)) says of which.
    """

    problem: Problem
    product: Product
    split: Split
    gradient: Tensor
    gradient_seconds: float
    config: CurvatureConfig
    budget: Budget
    probes: list[LanczosProcess] = dataclasses.field(default_factory=list)
    label: str = ""
    share: float = 1.0
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        self._generator = generator(self.problem.seed, "probes")
        self._parts = self.problem.parts(self.budget.group)

    @property
    def operator(self) -> CurvatureOperator:
        """Which matrix it is."""
        return operator_of(self.config.curvature)

    @property
    def spectrum(self) -> Spectrum:
        """As the probes have it so far."""
        return Spectrum(self.product.dimension, tuple(probe.run for probe in self.probes))

    @property
    def steps(self) -> int:
        """Lanczos steps of the probes."""
        return max((probe.steps for probe in self.probes), default=0)

    def begin(self, name: str, start: Tensor) -> LanczosProcess:
        """A process with this curvature, called ``name`` among those of the same split."""
        full = self._full(name)
        return self.budget.begin(full, self.product, start, self._parts, self.share)

    def multiply(self, name: str, vector: Tensor) -> Tensor:
        """The product with ``vector`` (D,), called ``name``, counted."""
        part = self._parts.part(vector)
        return self._parts.all_gather(self.budget.product(self._full(name), self.product, part))

    def _full(self, name: str) -> str:
        """``name`` with what tells it from names of other matrices."""
        full = f"{self.config.curvature}, {name}, {self.label or len(self.split)} samples"
        return full if self.config.precision == "full" else f"{full}, {self.config.precision}"

    def of_prunable(self) -> Curvature:
        """The same on the same samples for the prunable weights alone, with no probe yet."""
        return self.of_some(self.problem.prunable_mask(), "prunable weights")

    def of_some(self, mask: Tensor, name: str) -> Curvature:
        """The same on the same samples for the parameters of ``mask`` (bool, (D,)) alone, which are
        called ``name``, with no probe yet."""
        keep = self._parts.part(mask.to(self.gradient))
        product = RestrictedProduct(self.product, keep, int(mask.sum()))
        label = f"{name} alone, {self.label or len(self.split)}"
        return dataclasses.replace(self, product=product, probes=[], label=label, mask=mask)

    @property
    def slope(self) -> Tensor:
        """The gradient (D,) in the parameters of the matrix."""
        return self.gradient if self.mask is None else self.gradient * self.mask

    def gradient_of(self, split: Split) -> Tensor:
        """The gradient (D,) of the mean loss of ``split``, which the processes share."""
        product = curvature_product(
            self.problem, split, "ggn", "prunelimit", memory_bytes=0, group=self.budget.group
        )
        assert isinstance(product, (CurvatureProduct, DataParallelProduct, ShardedProduct))
        return product.gradient()

    def add_probe(self, steps: int) -> None:
        """One more random probe. The n-th probe is the same however many follow."""
        start = rademacher(self.problem.layout.size, self._generator, self.gradient)
        if self.mask is not None:
            start *= self.mask
        self.probes.append(self.begin(f"probe {len(self.probes) + 1}", start))
        self.probes[-1].grow(steps)

    def deepen(self, steps: int) -> None:
        """Take every probe to ``steps`` steps."""
        for probe in self.probes:
            probe.grow(steps)

    def rounding_shift(self, scale: float) -> float | None:
        """How far rounding may move the mean of 1 / (1 + |eigenvalue| / ``scale``); None in full.

        That function changes by at most 1 / ``scale`` per unit of eigenvalue. The differences of
        the sorted eigenvalues of A and A + E sum up to no more than the trace norm of E (Mirsky
        1960). The trace norm is at most D times the root of E's mean squared eigenvalue. A random
        vector gives an estimate of that root.
        """
        error = self.product.rounding_error
        if error is None:
            return None
        return error * math.sqrt(self.spectrum.mean(lambda values: values**2)) / scale

    def summary(
        self,
        ended: str = "given",
        nested: tuple[NestedLimit, ...] = (),
        checked: CrossCheck | None = None,
    ) -> CurvatureSummary:
        """The spectrum in a few numbers, with the products spent so far."""
        found = self.spectrum
        low, high = found.extremes
        return CurvatureSummary(
            kind=self.config.curvature,
            backend=self.config.backend,
            probes=len(self.probes),
            steps=max(run.num_steps for run in found.runs),
            samples=len(self.split),
            products=self.budget.products,
            lambda_max=high,
            lambda_min=low,
            trace=found.dimension * found.mean(lambda values: values),
            trace_standard_error=found.dimension * found.probe_deviation(lambda values: values),
            negative_mass=found.negative_mass,
            gradient_seconds=self.gradient_seconds,
            product_seconds=self.product.seconds / max(1, self.product.products),
            ended=ended,
            nested=nested,
            cross_check=checked,
            precision=self.config.precision,
            rounding_error=self.product.rounding_error,
        )


def open_curvature(
    problem: Problem,
    config: CurvatureConfig,
    budget: Budget,
    split: Split | None = None,
    count: int | None = None,
) -> Curvature:
    """The curvature of ``problem`` on ``split``, or on the samples that ``config`` names, with no
    probe yet. If ``split`` is a part of the samples, ``count`` is the number that the loss is a
    mean over.

    Raises:
        UsageError: nothing is prunable, or the Lanczos vectors do not fit into memory.
    """
    samples = DEFAULT_SAMPLES if config.samples is None else config.samples
    if not problem.prunable:
        raise UsageError(
            "The network has no weights to prune, as no convolution or linear layer is left free; "
            "give fewer `exclude` patterns, or another network."
        )
    steps = config.steps or FIRST_STEPS
    need = vectors_bytes(problem, config, steps, budget.group) * (config.probes or 1)
    free = available_bytes(problem.device)
    if need > free:
        raise UsageError(
            f"The Lanczos vectors need {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            "lower `steps`, or give `basis` bfloat16, disk or none."
        )
    if config.cross_check and (config.curvature != "hessian" or budget.group.size > 1):
        raise UsageError(
            "`cross_check` needs `curvature` hessian and a single process; leave `cross_check` "
            "out here."
        )
    if config.cross_check and problem.dtype != torch.float32:
        raise UsageError(
            "`cross_check` needs `dtype` float32, the type of PyHessian's vectors; give that "
            "`dtype`, or leave `cross_check` out."
        )
    split = problem.train.subset(samples, problem.seed) if split is None else split
    product = curvature_product(
        problem,
        split,
        config.curvature,
        config.backend,
        memory_bytes=None if config.memory is None else int(config.memory * 2**30),
        group=budget.group,
        precision=config.precision,
        count=count,
    )
    plain = (
        product
        if isinstance(product, (CurvatureProduct, DataParallelProduct, ShardedProduct))
        else CurvatureProduct(problem, split, memory_bytes=0)
    )
    begin = time.perf_counter()
    for _ in range(TIMED_GRADIENTS):
        gradient = plain.gradient()
    seconds = (time.perf_counter() - begin) / TIMED_GRADIENTS
    return Curvature(problem, product, split, gradient, seconds, config, budget)


def cross_check(curvature: Curvature) -> CrossCheck:
    """PyHessian's own power iteration and trace on the same samples, beside ours."""
    problem, found = curvature.problem, curvature.spectrum
    peer = PyHessianProduct(problem, curvature.split)
    top = peer.top(problem.seed)
    traces = np.array(peer.traces(CHECKED_PROBES, problem.seed))
    error = float(traces.std(ddof=1) / np.sqrt(len(traces)))
    ours = max(found.extremes, key=abs)
    own = curvature.summary()
    apart = abs(own.trace - float(traces.mean()))
    agree = abs(ours - top) <= 0.01 * abs(top) and apart <= 4 * float(
        np.hypot(error, own.trace_standard_error)
    )
    return CrossCheck(
        lambda_max=top, trace=float(traces.mean()), trace_standard_error=error, agree=agree
    )


def vectors_bytes(problem: Problem, config: CurvatureConfig, steps: int, group: Group) -> int:
    """Bytes of this machine's memory that the vectors of one run of ``steps`` steps take."""
    longest = problem.parts(group).longest
    return basis_bytes(config.basis, longest, steps, problem.dtype.itemsize)


def measure_curvature(
    problem: Problem, config: CurvatureConfig, progress: Progress = silent
) -> Curvature:
    """The spectrum, by as many probes and steps as ``config`` says; by one and 120 if it says none.

    Raises:
        UsageError: see :func:`open_curvature`.
        NumericalError: a product is not finite.
    """
    store = Store(basis=config.basis)
    found = open_curvature(problem, config, Budget(store, progress))
    for _ in range(config.probes or 1):
        found.add_probe(DEFAULT_STEPS if config.steps is None else config.steps)
    store.discard()
    return found
