"""Three ResNet-20 on CIFAR-10 that differ in training.

    python benchmarks/resnets.py --work bench --cifar10 DIR [--checkpoints DIR] [--epochs 8]

One is the public checkpoint. Two are trained here, by recipes that have little in common. Training
keeps its state under ``--work`` after every epoch, so it can be interrupted. Images come from class
folders train/ and test/, and are normalised as for the public checkpoint.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from prunelimit.config import DataConfig, ModelConfig, RunConfig
from prunelimit.inputs.load import load, new
from prunelimit.inputs.problem import Problem, evaluate

Augment = Callable[[Tensor, torch.Generator], Tensor]


def flipped(images: Tensor, draws: torch.Generator) -> Tensor:
    """Half of the images mirrored."""
    mirror = torch.rand(len(images), generator=draws) < 0.5
    return torch.where(mirror[:, None, None, None], images.flip(-1), images)


def shifted(images: Tensor, draws: torch.Generator) -> Tensor:
    """Images mirrored, and each batch shifted by up to four pixels."""
    side = images.shape[-1]
    padded = nn.functional.pad(flipped(images, draws), (4, 4, 4, 4))
    down, right = torch.randint(9, (2,), generator=draws).tolist()
    return padded[..., down : down + side, right : right + side]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the rate rises for a fifth of the steps and then falls."""

    name: str
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    rate: float
    batch: int
    augment: Augment
    smoothing: float = 0.0


RECIPES = (
    Recipe(
        "sgd",
        lambda own: torch.optim.SGD(own, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
        0.3,
        128,
        shifted,
    ),
    Recipe(
        "adamw",
        lambda own: torch.optim.AdamW(own, lr=1e-3, weight_decay=0.05),
        6e-3,
        256,
        flipped,
        0.1,
    ),
)
"""The two recipes; they share no optimizer, batch, augmentation or loss."""

PUBLIC = "resnet20-12fca82f.th"


def trained(recipe: Recipe, work: Path, data: DataConfig, epochs: int) -> Path:
    """The checkpoint of ``recipe`` under ``work``, trained where it is not there."""
    path = work / f"resnet20-{recipe.name}.pt"
    if path.exists():
        return path
    problem = new(ModelConfig(model="resnet20"), data, RunConfig()).problem
    images, labels = (torch.cat(each) for each in zip(*problem.train.batches(1000), strict=True))
    network = problem.model.to(memory_format=torch.channels_last)
    optimizer = recipe.optimizer(network.parameters())
    steps = -(-len(images) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=epochs * steps, pct_start=0.2
    )
    draws = torch.Generator().manual_seed(0)
    state, first = path.with_suffix(".state"), 0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        draws.set_state(kept["draws"])
        first = kept["epoch"]
    loss = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    for epoch in range(first, epochs):
        begin = time.perf_counter()
        network.train()
        for batch in torch.randperm(len(images), generator=draws).split(recipe.batch):
            inputs = recipe.augment(images[batch], draws).contiguous(
                memory_format=torch.channels_last
            )
            optimizer.zero_grad(set_to_none=True)
            value = loss(network(inputs), labels[batch])
            value.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        kept = {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "draws": draws.get_state(),
            "epoch": epoch + 1,
        }
        torch.save(kept, state.with_suffix(".part"))
        state.with_suffix(".part").replace(state)
        taken = time.perf_counter() - begin
        print(
            f"{recipe.name}: epoch {epoch + 1} of {epochs}, last loss {value:.3f}, {taken:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    torch.save(network.state_dict(), path)
    state.unlink(missing_ok=True)
    return path


def networks(
    work: Path, cifar10: Path, checkpoints: Path | None, epochs: int
) -> list[tuple[str, Callable[[], Problem]]]:
    """Names of the networks and what loads each; the public one where its folder is named."""
    data = DataConfig(data=f"folder:{cifar10}")
    model = ModelConfig(model="resnet20")
    found: list[tuple[str, Callable[[], Problem]]] = []
    if checkpoints is not None:
        public = checkpoints / PUBLIC
        found.append(("public", lambda: load(public, model, data, RunConfig()).problem))
    for recipe in RECIPES:
        found.append(
            (
                recipe.name,
                lambda recipe=recipe: (
                    load(trained(recipe, work, data, epochs), model, data, RunConfig()).problem
                ),
            )
        )
    return found


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse what the benchmarks over these networks take."""
    parser.add_argument("--work", type=Path, required=True, help="where files are kept")
    parser.add_argument("--cifar10", type=Path, required=True, help="folders train/ and test/")
    parser.add_argument("--checkpoints", type=Path, help=f"folder of {PUBLIC}")
    parser.add_argument("--epochs", type=int, default=8, help="of training, where it is done here")
    parser.add_argument("--only", default="", help="regular expression of network names")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def main() -> None:
    """Train what is missing and print the accuracies."""
    options = arguments(argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]))
    for name, make in networks(options.work, options.cifar10, options.checkpoints, options.epochs):
        if re.search(options.only, name):
            problem = make()
            print(f"{name}: {100 * evaluate(problem, problem.test).accuracy:.2f}%", flush=True)


if __name__ == "__main__":
    main()
