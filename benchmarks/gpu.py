"""Products over gradient, a limit and stages of ResNet-50 and ViT-B at 224 pixels, on a GPU.

    python benchmarks/gpu.py --output gpu.json
    python benchmarks/gpu.py --device cpu --small

Weights are random, and so are the images where no ``--images FOLDER`` is given: speed does not know
the difference, the limit's value does. What lies in ``--output`` already is not done again.
``--small`` takes small networks and few samples, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import prunelimit as pl
from prunelimit.curvature import CurvatureProduct
from prunelimit.devices import described, device_of

CLASSES = 100


def networks(small: bool) -> dict[str, Callable[[], nn.Module]]:
    """Of torchvision, by name."""
    import torchvision.models as models

    if small:
        return {
            "resnet18": lambda: models.resnet18(num_classes=CLASSES),
            "vit": lambda: models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=CLASSES),
        }
    return {
        "resnet50": lambda: models.resnet50(num_classes=CLASSES),
        "vit-b-16": lambda: models.vit_b_16(num_classes=CLASSES),
    }


def data(options: argparse.Namespace) -> Any:
    """(inputs, targets), or a data set of the folder."""
    pixels = 32 if options.small else 224
    if options.images is not None:
        import torchvision
        from torchvision.transforms import v2

        steps = [v2.Resize(256), v2.CenterCrop(pixels), v2.ToImage()]
        kept = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
        return torchvision.datasets.ImageFolder(options.images, kept)
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(options.samples, 3, pixels, pixels, generator=draws)
    return images, torch.randint(CLASSES, (options.samples,), generator=draws)


def seconds(device: torch.device, work: Callable[[], object], repeats: int) -> float:
    """Of one call, the mean after a first one that is not counted."""
    work()
    wait(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - begin) / repeats


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def products(problem: pl.Problem, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a gradient, and of products in gradients."""
    inner = problem.problem
    found = {}
    vector = torch.ones(inner.layout.size, device=inner.device, dtype=inner.dtype)
    for precision in ("full", "bfloat16"):
        for kind in ("ggn", "hessian"):
            product = CurvatureProduct(inner, inner.train, kind, precision=precision)
            if "gradient" not in found:
                found["gradient"] = seconds(inner.device, product.gradient, options.repeats)
            taken = seconds(inner.device, lambda p=product: p(vector), options.repeats)
            found[f"{kind}, {precision}, over gradient"] = taken / found["gradient"]
    return found


def limit(problem: pl.Problem, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a prediction with a budget of products."""
    begin = time.perf_counter()
    found = pl.predict(problem, max_products=options.products, epsilon=0.01)
    return {"seconds": time.perf_counter() - begin, "limit": found.limit.sparsity}


def stages(problem: pl.Problem, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of two stages to 50%."""
    begin = time.perf_counter()
    pl.prune(
        problem, amount=0.5, survivors="staged", stages=2, cg_steps=options.steps, epsilon=0.01
    )
    return {"seconds": time.perf_counter() - begin}


def main() -> None:
    """Measure what is not there yet, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--images")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--products", type=int, default=60)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = device_of(options.device)
    if device.type == "cpu" and not options.small:
        sys.exit("There is no accelerator here; give --device cpu --small to see that it runs.")
    options.samples = options.samples or (300 if options.small else 1_000)
    known = {}
    if options.output is not None and options.output.exists():
        known = json.loads(options.output.read_text(encoding="utf-8"))
    known["device"], known["torch"] = described(options.device), torch.__version__
    for name, make in networks(options.small).items():
        for work in (products, limit, stages):
            key = f"{name}, {work.__name__}"
            if key not in known:
                torch.manual_seed(0)
                both = data(options)
                problem = pl.Problem(make(), both, both, device=options.device)
                known[key] = work(problem, options)
                if options.output is not None:
                    options.output.write_text(json.dumps(known, indent=2), encoding="utf-8")
            print(f"{key}: {known[key]}", flush=True)


if __name__ == "__main__":
    main()
