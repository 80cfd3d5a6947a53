"""What a prediction is going to take in time and memory, told before it is begun."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..config import CurvatureConfig, LimitConfig
from ..curvature import CurvatureProduct, Product, curvature_product
from ..curvature.memory import LIBRARIES, RECORDER, available_bytes
from ..distributed import ALONE
from ..inputs.problem import Problem, evaluate
from .curvature import DEFAULT_SAMPLES, FIRST_STEPS, vectors_bytes
from .dense import require_products, require_seconds
from .epsilon import require_rule

__all__ = ["Plan", "plan"]

USUAL_PRODUCTS = 270
"""Products by the GGN until half the interval is within a quarter point: 200 to 300 on most of the
networks of the evidence table."""
USUAL_HESSIAN = 600
"""Products by the Hessian. Most networks take all that are allowed."""
PATH_EVALUATIONS = 35
"""Evaluations along the pruning path, about, each of at most as many samples as the curvature."""
TRIED = 512
"""Samples on which speed is measured."""
PER_PARAMETER = 56
"""Bytes per free parameter of the order of magnitudes, the radii, the gradient and copies."""
AT_WORK = 2.0
"""Memory of one batch at its peak, over the size of what is kept of a batch. What is kept comes on
top."""
VECTORS = 3
"""Lanczos processes whose vectors lie in memory at once."""


@dataclass(frozen=True)
class Plan:
    """``products`` on ``samples`` take ``product_seconds`` in all. Data and pruning path take
    ``evaluation_seconds``. ``vectors_bytes`` are those of Lanczos vectors. ``memory_bytes`` are
    what the process is going to grow by at its peak; they include the vectors. ``bounded`` says
    whether a budget of the user ends the work earlier."""

    products: int
    samples: int
    product_seconds: float
    evaluation_seconds: float
    vectors_bytes: int
    memory_bytes: int
    bounded: bool

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.product_seconds + self.evaluation_seconds


def plan(problem: Problem, curvature: CurvatureConfig, limit: LimitConfig) -> Plan:
    """What predicting the limit of ``problem`` takes, about. It goes by the speed of two products
    and an evaluation on up to 512 samples, and by how many products such networks usually take.

    Raises:
        PruneLimitError: the network does not run, or a prediction would refuse a budget or the rule
            for the loss tolerance.
    """
    everything = len(problem.train)
    require_products(limit.max_products, 1 + curvature.ggn_beside)
    wanted = DEFAULT_SAMPLES if curvature.samples is None else curvature.samples
    samples = min(wanted or everything, everything)
    products = USUAL_PRODUCTS if curvature.curvature == "ggn" else USUAL_HESSIAN
    bounded = limit.max_products is not None and limit.max_products < products
    if limit.max_products is not None:
        products = min(products, limit.max_products)
    tried = problem.train.subset(min(TRIED, samples), problem.seed)
    product = curvature_product(problem, tried, curvature.curvature, curvature.backend)
    vector = problem.vector()
    product(vector)  # makes what later products share
    begin = time.perf_counter()
    product(vector)
    each = (time.perf_counter() - begin) / len(tried)
    begin = time.perf_counter()
    points = evaluate(problem, tried).points
    evaluation = (time.perf_counter() - begin) / len(tried)
    require_seconds(limit.max_seconds, evaluation, everything + len(problem.test))
    require_rule(problem, limit.epsilon, points)
    evaluated = everything + len(problem.test) + PATH_EVALUATIONS * min(DEFAULT_SAMPLES, everything)
    product_seconds, evaluation_seconds = products * samples * each, evaluated * evaluation
    if limit.max_seconds is not None and product_seconds + evaluation_seconds > limit.max_seconds:
        bounded = True
        product_seconds = max(0.0, limit.max_seconds - evaluation_seconds)
    each_process = curvature.steps or FIRST_STEPS
    if limit.max_products is not None:
        each_process = min(each_process, -(-limit.max_products // VECTORS))
    vectors = VECTORS * vectors_bytes(problem, curvature, each_process, ALONE)
    return Plan(
        products=products,
        samples=samples,
        product_seconds=product_seconds,
        evaluation_seconds=evaluation_seconds,
        vectors_bytes=vectors,
        memory_bytes=_memory(problem, product, samples / len(tried), curvature, vectors),
        bounded=bounded,
    )


def _memory(
    problem: Problem, product: Product, times: float, curvature: CurvatureConfig, vectors: int
) -> int:
    """Bytes at the peak: ``vectors``, graphs of ``times`` as many samples as ``product`` has, one
    batch at work and the pruning path's bytes per parameter; or recording, before the vectors."""
    own = LIBRARIES + PER_PARAMETER * problem.layout.size
    if not isinstance(product, CurvatureProduct):
        return own + vectors
    room = available_bytes(problem.device) // 2
    if curvature.memory is not None:
        room = int(curvature.memory * 2**30)
    kept = min(room, int(product.kept_bytes * times))
    at_work = vectors + kept + int(AT_WORK * product.batch_bytes)
    if product.recording_bytes:
        own, at_work = own + RECORDER, max(at_work, product.recording_bytes)
    return own + at_work
