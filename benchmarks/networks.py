"""The networks of the benchmarks: how each is made, or where its public checkpoint lies.

Those on the data inside scikit-learn train in seconds and need no file. All samples are training
samples there (1,797 digits), and a dense matrix of most of the networks fits.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
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

CIFAR10 = TrainConfig(l1=5e-5, lr=0.02)
"""The recipe on CIFAR-10."""

WITH_ALL = "wd 5e-4"
"""The recipe by which LeNet-5 always has all images of MNIST."""

LONGER = 40
"""Epochs on some of the images."""


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


class Convolutions(nn.Module):
    """Two convolutions without normalisation; 2,458 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 12, 3, padding=1)
        self.second = nn.Conv2d(12, 16, 3, padding=1)
        self.last = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        found = nn.functional.max_pool2d(torch.relu(self.first(inputs.view(-1, 1, 8, 8))), 2)
        found = nn.functional.max_pool2d(torch.relu(self.second(found)), 2)
        return self.last(found.flatten(1))


class Groups(nn.Module):
    """Two convolutions with group normalisation, one of them skipped over; 3,088 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.normal = nn.GroupNorm(4, 16)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.again = nn.GroupNorm(4, 16)
        self.last = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        found = torch.relu(self.normal(self.first(inputs.view(-1, 1, 8, 8))))
        found = torch.relu(found + self.again(self.second(found)))
        return self.last(nn.functional.avg_pool2d(found, 4).flatten(1))


class Recurrent(nn.Module):
    """An LSTM over the eight rows of an image; 3,312 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.LSTM(8, 24, batch_first=True)
        self.last = nn.Linear(24, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        found, _ = self.inner(inputs.view(-1, 8, 8))
        return self.last(found[:, -1])


class Depthwise(nn.Module):
    """Two depthwise separable convolutions with batch normalisation; 2,760 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.inner = nn.Sequential(*(layer for _ in range(2) for layer in self._separable(24)))
        self.last = nn.Linear(4 * 24, 10)

    @staticmethod
    def _separable(channels: int) -> tuple[nn.Module, ...]:
        return (
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.inner(self.first(inputs.view(-1, 1, 8, 8)))
        return self.last(nn.functional.avg_pool2d(found, 4).flatten(1))


def perceptron(activation: Callable[[], nn.Module], *widths: int) -> nn.Module:
    """Dense layers from the first of ``widths`` to the last, with ``activation`` between."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def _digits() -> tuple[Tensor, Tensor]:
    found = load_digits()
    return torch.tensor(found.data / 16.0), torch.tensor(found.target)


def _table(source: Callable[[], Any]) -> tuple[Tensor, Tensor]:
    found = source()
    inputs = torch.tensor(found.data)
    return (inputs - inputs.mean(0)) / inputs.std(0), torch.tensor(found.target)


def _diabetes() -> tuple[Tensor, Tensor]:
    inputs, targets = _table(load_diabetes)
    return inputs, ((targets - targets.mean()) / targets.std())[:, None]


DATA: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "digits": _digits,
    "breast cancer": lambda: _table(load_breast_cancer),
    "diabetes": _diabetes,
}
"""Inputs inside scikit-learn with their classes, or with numbers to be predicted."""


@dataclass(frozen=True)
class Small:
    """A network on data inside scikit-learn, and the recipes that it is trained by: with every
    seed, and with the first one only."""

    make: Callable[[], nn.Module]
    recipes: tuple[str, ...]
    once: tuple[str, ...] = ()
    lr: float = 0.1
    dtype: str = "float32"
    data: str = "digits"


OTHERS = tuple(name for name in LOOPS if name != ADAM)
TWO = ("plain", "l1 1e-4")

THREE = 64, 24, 16, 10
SMALL = {
    "perceptron": Small(
        lambda: perceptron(nn.ReLU, *THREE), (*DIGITS, ADAM), once=OTHERS, dtype="float64"
    ),
    "GELU perceptron": Small(
        lambda: perceptron(nn.GELU, *THREE), TWO, once=(ADAM, *OTHERS), dtype="float64"
    ),
    "tanh perceptron": Small(
        lambda: perceptron(nn.Tanh, *THREE), TWO, once=(ADAM, *OTHERS), dtype="float64"
    ),
    "shallow perceptron": Small(
        lambda: perceptron(nn.ReLU, 64, 100, 10), (*DIGITS, ADAM), once=OTHERS
    ),
    "LeNet-300-100": Small(
        lambda: perceptron(nn.ReLU, 64, 300, 100, 10), (*DIGITS, ADAM), once=OTHERS
    ),
    "residual": Small(lambda: Residual(16), TWO, once=(ADAM,)),
    "transformer": Small(lambda: Transformer(16, 2), TWO, once=(ADAM,), lr=0.05),
}
"""Kinds of networks on the digits. LeNet-300-100 has 28 weights for each sample, the shallow
perceptron 5."""

BY_ADAM, BY_SGD = ("wd 1e-3", ADAM), ("l1 1e-4", "SGD 1e-2")
UNSEEN = {
    "SiLU perceptron": Small(lambda: perceptron(nn.SiLU, 64, 32, 10), BY_ADAM),
    "convolutions": Small(Convolutions, BY_SGD),
    "deep perceptron": Small(lambda: perceptron(nn.ReLU, 64, 24, 24, 24, 10), BY_ADAM, lr=0.05),
    "wide tanh perceptron": Small(lambda: perceptron(nn.Tanh, 64, 150, 10), BY_SGD),
    "group normalisation": Small(Groups, BY_ADAM),
    "ReLU perceptron": Small(
        lambda: perceptron(nn.ReLU, 30, 40, 20, 2), BY_SGD, lr=0.05, data="breast cancer"
    ),
    "wide transformer": Small(lambda: Transformer(24, 3), BY_ADAM, lr=0.05),
    "wide perceptron": Small(lambda: perceptron(nn.ReLU, 64, 128, 64, 10), BY_SGD),
    "LSTM": Small(Recurrent, BY_ADAM),
    "depthwise convolutions": Small(Depthwise, BY_SGD),
    "regression perceptron": Small(
        lambda: perceptron(nn.Tanh, 10, 40, 20, 1), BY_ADAM, lr=0.02, data="diabetes"
    ),
}
"""Kinds that came later than the first rule, each by two recipes and one seed."""

UNSEEN_SEED = 7


def on_small(small: Small, recipe: str, seed: int) -> Problem:
    """A trained network of a kind of :data:`SMALL` or :data:`UNSEEN`."""
    both = DATA[small.data]()
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
    numbers = targets.is_floating_point()
    loss = nn.functional.mse_loss if numbers else nn.functional.cross_entropy
    targets = targets.float() if numbers else targets
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(64):
            steps.zero_grad()
            loss(network(inputs[batch]), targets[batch]).backward()
            steps.step()


@dataclass(frozen=True)
class Case:
    """One network: ``problem(work)`` has it, trained and kept under ``work`` where need be.

    ``size`` is "digits", "unseen", "MNIST" or "CIFAR-10"; ``passes`` and ``resolution`` are for
    measuring.
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


def cases(options: argparse.Namespace, train_samples: int | None = None) -> list[Case]:
    """Every network, seed by seed; those whose data ``options`` do not name are left out.

    The costly ones, LeNet-5 and FC5, have all training images or that many, drawn by seed.
    """
    found = []
    for seed in range(options.seeds):
        for kind, small in SMALL.items():
            for recipe in small.recipes + (small.once if seed == 0 else ()):
                found.append(
                    Case(
                        f"{kind} digits {recipe} seed {seed}",
                        "digits",
                        lambda _, a=(small, recipe, seed): on_small(*a),
                        100,
                    )
                )
        if options.mnist is not None:
            mnist = DataConfig(data="mnist", data_dir=str(options.mnist))
            for recipe, training in MNIST.items():
                title = f"LeNet-300-100 MNIST {recipe} seed {seed}"
                made = _trained(title, "lenet-300-100", mnist, training, seed)
                found.append(Case(title, "MNIST", made, 50))
                some = None if recipe == WITH_ALL else train_samples
                title = f"LeNet-5 MNIST {recipe} seed {seed}"
                found.append(_costly(title, "lenet5", mnist, training, seed, some, 10))
        if options.cifar10 is not None:
            data = DataConfig(data=f"folder:{options.cifar10}")
            for model, name, passes in (("lenet5", "LeNet-5", 10), ("fc5", "FC5", 20)):
                title = f"{name} CIFAR-10 l1 5e-5 seed {seed}"
                made = _costly(title, model, data, CIFAR10, seed, train_samples, passes, 0.005)
                found.append(made)
    return found


def _costly(
    title: str,
    model: str,
    data: DataConfig,
    training: TrainConfig,
    seed: int,
    train_samples: int | None,
    passes: int,
    resolution: float = 0.001,
) -> Case:
    """A network with all images, or with some and more epochs and passes."""
    if train_samples is not None:
        title += f", {train_samples:,} images"
        data = dataclasses.replace(data, train_samples=train_samples)
        training = dataclasses.replace(training, epochs=LONGER)
        passes *= 2
    made = _trained(title, model, data, training, seed)
    size = "MNIST" if data.data == "mnist" else "CIFAR-10"
    return Case(title, size, made, passes, resolution)


def public(options: argparse.Namespace, train_samples: int | None = None) -> list[Case]:
    """The public ResNets on CIFAR-10, on all training images, or on that many drawn by seed:
    ResNet-32, which is slower, has a quarter of them and twice the passes. They are large: their
    budgets are small and their resolution is coarse."""
    if options.cifar10 is None or options.checkpoints is None:
        return []
    found = []
    for depth, digest, share, passes in ((20, "12fca82f", 1, 2), (32, "d509ac18", 4, 4)):
        path = options.checkpoints / f"resnet{depth}-{digest}.th"
        config = ModelConfig(model=f"resnet{depth}")
        title = f"ResNet-{depth} CIFAR-10 public"
        some = None if train_samples is None else train_samples // share
        if some is not None:
            title += f", {some:,} images"
        data = DataConfig(data=f"folder:{options.cifar10}", train_samples=some)

        made = functools.partial(_loaded, path, config, data)
        found.append(Case(title, "CIFAR-10", made, passes, 0.02))
    return found


def _loaded(path: Path, model: ModelConfig, data: DataConfig, work: Path) -> Problem:
    return load(path, model, data, RunConfig()).problem


def unseen() -> list[Case]:
    """The networks of :data:`UNSEEN`."""
    return [
        Case(
            f"{kind} {small.data} {recipe} seed {UNSEEN_SEED}",
            "unseen",
            lambda _, a=(small, recipe, UNSEEN_SEED): on_small(*a),
            100,
        )
        for kind, small in UNSEEN.items()
        for recipe in small.recipes
    ]


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
