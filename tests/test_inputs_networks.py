"""Networks by name: the sizes that the literature gives them, and clear refusals."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from prunelimit.errors import InputError, UsageError
from prunelimit.inputs.build import build_network, built_in_names
from prunelimit.inputs.resolve import did_you_mean, parse_arguments, resolve_attribute


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def connected(*widths: int) -> int:
    return sum(a * b + b for a, b in pairwise(widths))


FC12 = (1000, 900, 800, 750, 700, 650, 600, 500, 400, 200, 100)
SIZES = {
    # name: input shape, classes, parameters
    "lenet-300-100": ((1, 28, 28), 10, 266_610),
    "lenet5": ((1, 28, 28), 10, 431_080),
    "resnet20": ((3, 32, 32), 10, 269_722),
    "resnet32": ((3, 32, 32), 10, 464_154),
    "resnet18": ((3, 32, 32), 100, 11_220_132),
    "resnet50": ((3, 32, 32), 100, 23_705_252),
    "fc5": ((3, 32, 32), 10, connected(3072, 1000, 600, 300, 100, 10)),
    "fc12": ((3, 32, 32), 10, connected(3072, *FC12, 10)),
    "alexnet": ((3, 32, 32), 10, connected(1024, 4096, 4096, 10) + 2_251_584),
    "vgg16": ((3, 32, 32), 10, 14_728_266 - 4_224),
}


@pytest.mark.parametrize("name", sorted(built_in_names()))
def test_networks_have_their_published_size_and_run(name: str) -> None:
    shape, classes, expected = SIZES[name]
    network = build_network(name, input_shape=shape, classes=classes).eval()
    assert count(network) == expected
    with torch.no_grad():
        assert network(torch.zeros(2, *shape)).shape == (2, classes)


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet5", "fc5"])
def test_small_digits_fit(name: str) -> None:
    network = build_network(name, input_shape=(1, 8, 8), classes=10).eval()
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize("name", ["fc12", "alexnet", "vgg16", "resnet20"])
def test_the_signal_survives_a_deep_network(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, input_shape=(3, 32, 32), classes=10)
    network.train(any(isinstance(each, torch.nn.BatchNorm2d) for each in network.modules()))
    with torch.no_grad():
        spread = network(torch.randn(64, 3, 32, 32)).std(dim=0).mean()
    assert 0.05 < spread < 10


def test_narrow_resnets_have_the_public_checkpoints_keys() -> None:
    names = set(build_network("resnet20", input_shape=(3, 32, 32), classes=10).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "linear.bias"} <= names
    assert "layer3.2.bn2.weight" in names and not any("downsample" in name for name in names)
    assert not any("shortcut" in name for name in names)


def test_torchvision_and_arguments() -> None:
    network = build_network(
        "torchvision:mobilenet_v2",
        input_shape=(3, 32, 32),
        classes=7,
        arguments=parse_arguments(["width_mult=0.25", "dropout=0"]),
    ).eval()
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_users_own_file_gives_module_class_or_instance(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "def make(width=4):\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, width))\n"
        "instance = nn.Linear(2, 2)\n"
        "number = 3\n"
    )
    options = {"input_shape": (1, 2, 2), "classes": 4}
    made = build_network(f"{path}:make", arguments={"width": 6}, **options)
    assert made[1].out_features == 6
    mine = resolve_attribute(f"{path}:instance")
    copied = build_network(f"{path}:instance", **options)
    assert torch.equal(copied.weight, mine.weight) and copied is not mine
    with pytest.raises(InputError, match="neither a network"):
        build_network(f"{path}:number", **options)
    with pytest.raises(InputError, match="did you mean instance"):
        build_network(f"{path}:instanc", **options)
    with pytest.raises(InputError, match="no file"):
        build_network(f"{tmp_path}/other.py:make", **options)
    path.with_name("broken.py").write_text("1/0")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        build_network(f"{path.with_name('broken.py')}:make", **options)


@pytest.mark.parametrize(
    ("spec", "shape", "words"),
    [
        ("resnet-20", (3, 32, 32), "did you mean resnet20"),
        ("torchvision:resnet19", (3, 32, 32), "did you mean resnet"),
        ("vgg16", (1, 8, 8), "at least 32 pixels"),
        ("lenet5", (64,), "convolutional"),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_told(
    spec: str, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        build_network(spec, input_shape=shape, classes=10)


def test_a_file_alone_does_not_say_what_in_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("")
    with pytest.raises(UsageError, match=r"own\.py:ATTR\."):
        build_network(str(path), input_shape=(1, 8, 8), classes=10)


def test_users_files_see_their_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net_a1.py").write_text("from part_a1 import width\n")
    (tmp_path / "part_a1.py").write_text("width = 7\n")
    (tmp_path / "net_a2.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert resolve_attribute("./net_a1.py:width") == 7
    assert resolve_attribute("part_a1:width") == 7
    with pytest.raises(InputError, match=r"calls sys.exit\(0\)"):
        resolve_attribute("net_a2.py:width")
    with pytest.raises(InputError, match="ModuleNotFoundError"):
        resolve_attribute("net_a3:width")
    assert sys.path == before


def test_arguments_are_read_as_what_they_look_like() -> None:
    assert parse_arguments(["a=1", "b=0.5", "c=true", "d=x=y"]) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "x=y",
    }
    with pytest.raises(UsageError, match="key=value"):
        parse_arguments(["width"])
    assert did_you_mean("zzz", ["a", "b"]) == "known are a, b."
