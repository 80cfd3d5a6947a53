"""How time and memory of the curvature's work grow: with samples, parameters, depth, processes.

    python benchmarks/growth.py
    torchrun --standalone --nproc-per-node 2 benchmarks/growth.py

Networks of one hidden layer with fresh weights on random data. Each table gives the seconds of one
product, or of one Lanczos step beside its product, over those of the row before. Next to that is
how the size grew: the two are equal where growth is linear. Under torchrun samples and vectors are
shared, and so are the seconds. The last table holds the memory of the vectors, as planned, against
what the process grew by.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from prunelimit.curvature import Product, curvature_product
from prunelimit.distributed import Group, join
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.lanczos import Lanczos, Store, basis_bytes

INPUTS = 256


def problem(samples: int, hidden: int) -> Problem:
    """A network of about 266 * ``hidden`` parameters."""
    torch.manual_seed(0)
    both = torch.randn(samples, INPUTS), torch.arange(samples) % 10
    network = nn.Sequential(nn.Linear(INPUTS, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    return problem_from_module(network, both, both)


def seconds(product: Product, group: Group, repeats: int) -> float:
    """Of one product, the median; all processes at once."""
    vector = group.part(torch.randn(product.dimension, generator=torch.Generator().manual_seed(1)))
    taken = []
    for turn in range(repeats + 1):
        group.barrier()
        begin = time.perf_counter()
        product(vector)
        group.barrier()
        if turn:
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def resident() -> int:
    """Bytes of memory that the process holds now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def table(title: str, sizes: Sequence[int], taken: Sequence[float], group: Group) -> None:
    """Each row over the one before."""
    if group.rank:
        return
    print(f"\n| {title} | size, times | seconds | seconds, times |\n|---|---|---|---|")
    for place, (size, each) in enumerate(zip(sizes, taken, strict=True)):
        grown = f"{size / sizes[place - 1]:.2f}" if place else ""
        slower = f"{each / taken[place - 1]:.2f}" if place else ""
        print(f"| {size:,} | {grown} | {each:.4f} | {slower} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with join("cpu") as group:
        counts = (2_000, 4_000, 8_000, 16_000)
        made = [problem(count, 256) for count in counts]
        times = [
            seconds(
                curvature_product(p, p.train, "hessian", "prunelimit", group=group),
                group,
                options.repeats,
            )
            for p in made
        ]
        table("samples", counts, times, group)
        made = [problem(4_000, hidden) for hidden in (128, 256, 512, 1024)]
        products = [
            curvature_product(p, p.train, "hessian", "prunelimit", group=group) for p in made
        ]
        times = [seconds(product, group, options.repeats) for product in products]
        table("parameters", [product.dimension for product in products], times, group)

        dimension = 1_000_000
        start = torch.randn(dimension, generator=torch.Generator().manual_seed(2))
        scale = group.part(torch.linspace(-1, 1, dimension))
        depths, times, held = (32, 64, 96, 128), [], resident()
        process: Lanczos = Store().process(
            "depth", lambda part: scale * part, group.part(start), group=group, dimension=dimension
        )
        for depth in depths:
            process.advance(depth - 4)
            begin = time.perf_counter()
            process.advance(depth)
            times.append((time.perf_counter() - begin) / 4)
        table("depth (a step without its product)", depths, times, group)
        if group.rank == 0:
            planned = basis_bytes("memory", -(-dimension // group.size), depths[-1], 4)
            print("\n| vectors, planned MiB | grown by, MiB |\n|---|---|")
            print(f"| {planned / 2**20:.0f} | {(resident() - held) / 2**20:.0f} |")


if __name__ == "__main__":
    main()
