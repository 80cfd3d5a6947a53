"""The networks of the benchmarks: how each is made, or where its public checkpoint lies.

Those on the digits inside scikit-learn train in seconds and need no file. All 1,797 samples are
training samples there, and a dense matrix of most of them fits.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from prunelimit.commands.train import train as train_checkpoint
from prunelimit.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from prunelimit.inputs.load import load, problem_from_module
from prunelimit.inputs.problem import Problem
from prunelimit.training.l1 import train

DIGITS = {
    "plain": TrainConfig(l1=0.0, epochs=60),
    "wd 1e-3": TrainConfig(l1=0.0, weight_decay=1e-3, epochs=60),
    "l1 1e-4": TrainConfig(l1=1e-4, epochs=60),
    "l1 3e-4": TrainConfig(l1=3e-4, epochs=60),
}
"""Recipes on the digits, by SGD with momentum."""

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

LOOPS: dict[str, tuple[Optimizer, int]] = {
    "Adam 1e-3": (lambda own: torch.optim.Adam(own, lr=1e-3), 60),
    "Adam 1e-3, 200 epochs": (lambda own: torch.optim.Adam(own, lr=1e-3), 200),
    "Adam 1e-2": (lambda own: torch.optim.Adam(own, lr=1e-2), 60),
    "AdamW 1e-3": (lambda own: torch.optim.AdamW(own, lr=1e-3, weight_decay=0.1), 60),
    "SGD 1e-2": (lambda own: torch.optim.SGD(own, lr=1e-2, momentum=0.9), 60),
    "SGD 0.1, 6 epochs": (lambda own: torch.optim.SGD(own, lr=0.1, momentum=0.9), 6),
}
"""Recipes of plain training loops, a constant rate and mini-batches of 64: optimizer and epochs."""

ADAM = "Adam 1e-3"
"""The one of them that most people use."""

MNIST = {
    "wd 5e-4": TrainConfig(l1=0.0, weight_decay=5e-4),
    "l1 5e-5": TrainConfig(l1=5e-5),
    "plain": TrainConfig(l1=0.0),
    "l1 2e-4": TrainConfig(l1=2e-4),
    "l1 1e-5": TrainConfig(l1=1e-5),
}
"""Recipes on MNIST."""


class Residual(nn.Module):
    """Three convolutions with batch normalisation, one of them skipped over; 4,850 parameters are
    free for ``channels`` 16, about 11,000 for 24."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels))
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )
        self.last = nn.Linear(4 * channels, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        found = torch.relu(self.first(inputs.view(-1, 1, 8, 8)))
        found = torch.relu(found + self.second(found))
        return self.last(nn.functional.avg_pool2d(found, 4).flatten(1))


class Transformer(nn.Module):
    """One block of self-attention over the eight rows of an image."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(0.1 * torch.randn(8, width))
        self.before = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.between = nn.LayerNorm(width)
        self.inner = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.after = nn.LayerNorm(width)
        self.last = nn.Linear(width, 10)
        self.heads = heads

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.embed(inputs.view(-1, 8, 8)) + self.place
        normal = self.before(found)
        query, key, value = (
            layer(normal).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, -1)
        found = found + self.out((scores @ value).transpose(1, 2).flatten(2))
        found = found + self.inner(self.between(found))
        return self.last(self.after(found).mean(1))


def perceptron(activation: Callable[[], nn.Module]) -> nn.Module:
    """64-24-16-10."""
    layers = nn.Linear(64, 24), activation(), nn.Linear(24, 16), activation(), nn.Linear(16, 10)
    return nn.Sequential(*layers)


def shallow() -> nn.Module:
    """64-100-10: 5 weights for each sample."""
    return nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))


def lenet() -> nn.Module:
    """64-300-100-10: 28 weights for each sample."""
    layers = nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class OnDigits:
    """A network on the digits, and the recipes that it is trained by: with every seed, and with the
    first one only."""

    make: Callable[[], nn.Module]
    recipes: tuple[str, ...]
    once: tuple[str, ...] = ()
    lr: float = 0.1
    dtype: str = "float32"


OTHERS = tuple(name for name in LOOPS if name != ADAM)
TWO = ("plain", "l1 1e-4")

SMALL = {
    "perceptron": OnDigits(
        lambda: perceptron(nn.ReLU), (*DIGITS, ADAM), once=OTHERS, dtype="float64"
    ),
    "GELU perceptron": OnDigits(
        lambda: perceptron(nn.GELU), TWO, once=(ADAM, *OTHERS), dtype="float64"
    ),
    "tanh perceptron": OnDigits(
        lambda: perceptron(nn.Tanh), TWO, once=(ADAM, *OTHERS), dtype="float64"
    ),
    "shallow perceptron": OnDigits(shallow, (*DIGITS, ADAM), once=OTHERS),
    "LeNet-300-100": OnDigits(lenet, (*DIGITS, ADAM), once=OTHERS),
    "residual": OnDigits(lambda: Residual(16), TWO, once=(ADAM,)),
    "transformer": OnDigits(lambda: Transformer(16, 2), TWO, once=(ADAM,), lr=0.05),
}
"""Kinds of networks on the digits."""


def on_digits(kind: str, recipe: str, seed: int) -> Problem:
    """A trained network of a kind of :data:`SMALL`."""
    small = SMALL[kind]
    digits = load_digits()
    both = torch.tensor(digits.data / 16.0), torch.tensor(digits.target)
    torch.manual_seed(seed)
    network = small.make()
    if recipe in LOOPS:
        _loop(network, *both, *LOOPS[recipe])
        return problem_from_module(network, both, both, seed=seed, dtype=small.dtype)
    problem = problem_from_module(network, both, both, seed=seed, dtype=small.dtype)
    train(problem, dataclasses.replace(DIGITS[recipe], lr=small.lr), seed=seed)
    return problem


def _loop(
    network: nn.Module, inputs: Tensor, targets: Tensor, optimizer: Optimizer, epochs: int
) -> None:
    inputs, steps = inputs.float(), optimizer(network.parameters())
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(64):
            steps.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), targets[batch]).backward()
            steps.step()


@dataclass(frozen=True)
class Case:
    """One network: ``problem(work)`` has it, trained and kept under ``work`` where need be.

    ``size`` is "digits", "MNIST" or "CIFAR-10"; ``passes`` and ``resolution`` are for measuring.
    """

    name: str
    size: str
    problem: Callable[[Path], Problem]
    passes: int
    resolution: float = 0.001

    @property
    def stem(self) -> str:
        """What its files are called."""
        return re.sub(r"[^\w.-]+", "_", self.name)


def cases(options: argparse.Namespace) -> list[Case]:
    """Every network, seed by seed; those whose data ``options`` do not name are left out."""
    found = []
    for seed in range(options.seeds):
        for kind, small in SMALL.items():
            for recipe in small.recipes + (small.once if seed == 0 else ()):
                found.append(
                    Case(
                        f"{kind} digits {recipe} seed {seed}",
                        "digits",
                        lambda _, a=(kind, recipe, seed): on_digits(*a),
                        100,
                    )
                )
        if options.mnist is not None:
            data = DataConfig(data="mnist", data_dir=str(options.mnist))
            for model, name in (("lenet-300-100", "LeNet-300-100"), ("lenet5", "LeNet-5")):
                for recipe, training in MNIST.items():
                    title = f"{name} MNIST {recipe} seed {seed}"
                    made = _trained(title, model, data, training, seed)
                    found.append(Case(title, "MNIST", made, 50))
        if options.cifar10 is not None:
            data = DataConfig(data=f"folder:{options.cifar10}")
            training = TrainConfig(l1=5e-5, lr=0.02, epochs=12)
            for model, name in (("lenet5", "LeNet-5"), ("fc5", "FC5")):
                title = f"{name} CIFAR-10 l1 5e-5 seed {seed}"
                made = _trained(title, model, data, training, seed)
                found.append(Case(title, "CIFAR-10", made, 25, 0.005))
            if options.checkpoints is not None and seed == 0:
                for depth, digest in ((20, "12fca82f"), (32, "d509ac18")):
                    path = options.checkpoints / f"resnet{depth}-{digest}.th"
                    config = ModelConfig(model=f"resnet{depth}")
                    found.append(
                        Case(
                            f"ResNet-{depth} CIFAR-10 public",
                            "CIFAR-10",
                            lambda _, a=(path, config, data): load(*a, RunConfig()).problem,
                            5,
                            0.01,
                        )
                    )
    return found


def _trained(
    title: str, model: str, data: DataConfig, training: TrainConfig, seed: int
) -> Callable[[Path], Problem]:
    def problem(work: Path) -> Problem:
        path = work / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', title)}.safetensors"
        config, run = ModelConfig(model=model), RunConfig(seed=seed)
        if not path.exists():
            train_checkpoint(config, data, run, training, path, resume=True)
        return load(path, config, data, run).problem

    return problem


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse what every benchmark over these networks takes."""
    parser.add_argument("--work", type=Path, required=True, help="where files are kept")
    parser.add_argument("--mnist", type=Path, help="folder of torchvision's MNIST")
    parser.add_argument("--cifar10", type=Path, help="class folders train/ and test/")
    parser.add_argument("--checkpoints", type=Path, help="folder of the public ResNets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="regular expression of network names")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    return options
