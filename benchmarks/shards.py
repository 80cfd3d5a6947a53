"""Parameters shared by processes: memory, exchange and time of a product against docs/scale.md.

    torchrun --standalone --nproc-per-node 1 benchmarks/shards.py
    torchrun --standalone --nproc-per-node 2 benchmarks/shards.py

A network of four layers with fresh weights on random data, one batch per process. Bytes held are
those of every tensor of the process once parameters and Lanczos vectors are there, less what there
was before; bytes exchanged are those of the whole tensors that torch gathers and adds up during one
product, counted where they reach torch.distributed.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prunelimit.curvature import curvature_product
from prunelimit.distributed import Group, join
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.inputs.sharded import ShardedProblem, shard
from prunelimit.lanczos import Lanczos, basis_bytes

WIDTHS = (256, 768, 1024, 768, 10)
SAMPLES = 256
STEPS = 31
REPEATS = 5


class Exchanged(TorchDispatchMode):
    """Counts the bytes of whole tensors that are gathered or added up."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        name = str(func)
        if "all_gather" in name and isinstance(found, Tensor):
            self.bytes += found.nbytes
        elif "reduce_scatter" in name and isinstance(args[0], Tensor):
            self.bytes += args[0].nbytes
        return found


def held() -> int:
    """Bytes of the tensors of this process, each storage once."""
    gc.collect()
    sizes = {}
    for each in gc.get_objects():
        if issubclass(type(each), Tensor):  # some objects warn when asked what they are
            own = getattr(each, "_local_tensor", each).untyped_storage()
            sizes[own.data_ptr()] = own.nbytes()
    return sum(sizes.values())


def make(group: Group) -> Problem:
    """The network, shared where there is somebody to share it with."""
    torch.manual_seed(0)
    both = torch.randn(SAMPLES, WIDTHS[0]), torch.arange(SAMPLES) % WIDTHS[-1]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    problem = problem_from_module(nn.Sequential(*layers[:-1]), both, both)
    return problem if group.size == 1 else shard(problem, group, "cpu")


def main() -> None:
    """Print one row."""
    with join("cpu", meshes=True) as group:
        before = held()
        problem = make(group)
        samples = SAMPLES * (4 * WIDTHS[0] + 8)  # the same in both splits
        parts = problem.parts(group)
        start = parts.part(torch.randn(problem.layout.size))
        product = curvature_product(
            problem, problem.train, "hessian", "prunelimit", group=group, memory_bytes=2**40
        )
        with Exchanged() as exchanged:
            product(start)
        taken = []
        for _ in range(REPEATS):
            group.barrier()
            begin = time.perf_counter()
            product(start)
            group.barrier()
            taken.append(time.perf_counter() - begin)
        del product
        process = Lanczos(
            lambda part: part.roll(1), start, group=group, dimension=problem.layout.size
        )
        process.advance(STEPS)
        grown = held() - before - samples
        dimension = problem.layout.size
        planned = 4 * parts.longest + basis_bytes("memory", parts.longest, STEPS, 4)
        layers = [a * b for a, b in pairwise(WIDTHS)]
        # The vector, the product, and twice the weights that lie behind other layers.
        plan = 0 if group.size == 1 else 4 * (2 * dimension + 2 * sum(layers[1:]))
        most = problem.gathering.most if isinstance(problem, ShardedProblem) else 4 * dimension
        if group.rank == 0:
            cells = (
                f"{group.size}",
                f"{dimension:,}",
                f"{planned / 2**20:.1f}",
                f"{grown / 2**20:.1f}",
                f"{most / 2**20:.1f}",
                f"{plan / 2**20:.1f}",
                f"{exchanged.bytes / 2**20:.1f}",
                f"{statistics.median(taken):.3f}",
            )
            print(
                "| processes | parameters | parameters and vectors per process, planned MiB | held "
                "| parameters whole at a time | exchanged per product, planned MiB | counted "
                "| seconds per product |\n|---|---|---|---|---|---|---|---|"
            )
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
