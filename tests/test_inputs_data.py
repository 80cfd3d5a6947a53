"""Data by name: what is read is what lies there, and what cannot be used is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Outcome
from PIL import Image
from test_cases_faults import refused

from prunelimit import plugins
from prunelimit.config import DataConfig, RunConfig
from prunelimit.errors import InputError, PruneLimitError, UsageError
from prunelimit.inputs import splits
from prunelimit.inputs.datasets import Data, load_data
from prunelimit.inputs.sources import folder as sources_folder
from prunelimit.inputs.splits import DatasetSplit, TensorSplit, draw


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    made = {
        "x_train": generator.normal(size=(12, 1, 2, 2)).astype(np.float32),
        "y_train": np.arange(12) % 3,
        "x_test": generator.normal(size=(6, 1, 2, 2)).astype(np.float32),
        "y_test": np.arange(6) % 3,
    }
    return {**made, **changes}


def saved(path: Path, **changes: Any) -> str:
    np.savez(path / "data.npz", **arrays(**changes))
    return f"npz:{path / 'data.npz'}"


def read(spec: str, run: RunConfig | None = None, **options: Any) -> Data:
    return load_data(DataConfig(data=spec, **options), run or RunConfig())


def everything(split: Any) -> tuple[torch.Tensor, torch.Tensor]:
    pieces = list(split.batches(5))
    return torch.cat([x for x, _ in pieces]), torch.cat([y for _, y in pieces])


def test_npz_comes_back_in_order(tmp_path: Path) -> None:
    data = read(saved(tmp_path))
    inputs, targets = everything(data.train)
    np.testing.assert_array_equal(inputs.numpy(), arrays()["x_train"])
    np.testing.assert_array_equal(targets.numpy(), arrays()["y_train"])
    assert (data.classes, data.input_shape) == (3, (1, 2, 2))


def test_bytes_are_scaled_and_normalised(tmp_path: Path) -> None:
    x = np.full((12, 1, 2, 2), 51, dtype=np.uint8)
    data = read(saved(tmp_path, x_train=x, x_test=x[:6]), mean="0.1", std="0.5")
    assert everything(data.train)[0].unique().tolist() == pytest.approx([0.2])


def test_digits_are_embedded_and_split_once_for_all() -> None:
    data = read("digits")
    assert (len(data.train), len(data.test), data.classes) == (1437, 360, 10)
    inputs, _ = everything(data.train)
    assert inputs.min() == 0 and inputs.max() == 1
    joined = torch.cat([inputs, everything(data.test)[0]]).flatten(1)
    from sklearn.datasets import load_digits

    whole = load_digits().data / 16
    assert sorted(map(tuple, joined.tolist())) == sorted(map(tuple, whole.tolist()))


def folder(root: Path, sizes: dict[str, tuple[int, int]] | None = None) -> str:
    colours = {"ant": 10, "bee": 200}
    for split in ("train", "val"):
        for name, colour in colours.items():
            place = root / split / name
            place.mkdir(parents=True)
            for index in range(3):
                size = (sizes or {}).get(name, (4, 4))
                Image.new("RGB", size, (colour, index, 0)).save(place / f"{index}.png")
    return f"folder:{root}"


def test_folder_of_classes_is_sorted_and_normalised_as_stated(tmp_path: Path) -> None:
    data = read(folder(tmp_path))
    inputs, targets = everything(data.train)
    assert targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.mean == (0.485, 0.456, 0.406)
    assert inputs[0, 0, 0, 0].item() == pytest.approx((10 / 255 - 0.485) / 0.229, rel=1e-5)
    assert inputs[4, 1, 0, 0].item() == pytest.approx((1 / 255 - 0.456) / 0.224, rel=1e-5)


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    spec = folder(tmp_path, {"bee": (9, 6)})
    with pytest.raises(InputError, match=r"9x6 pixels and others are 4x4; give `image_size`"):
        read(spec)
    assert read(spec, image_size=3).input_shape == (3, 3, 3)
    with pytest.raises(UsageError, match="`image_size` is 0"):
        read(spec, image_size=0)


def test_images_too_many_for_memory_are_read_as_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = folder(tmp_path)
    held = read(spec)
    monkeypatch.setattr(sources_folder, "MEMORY_BYTES", 0)
    before = torch.random.get_rng_state()
    streamed = read(spec)
    assert type(streamed.train) is DatasetSplit and type(held.train) is TensorSplit
    for a, b in zip(everything(held.train), everything(streamed.train), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    few = [everything(data.train.subset(3, seed=1)) for data in (held, streamed)]
    assert torch.equal(few[0][0], few[1][0]) and torch.equal(few[0][1], few[1][1])
    assert torch.equal(before, torch.random.get_rng_state())


def test_folders_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    spec = folder(tmp_path)
    (tmp_path / "train" / ".hidden").mkdir()
    assert read(spec).classes == 2
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(InputError, match="cat holds no images"):
        read(spec)
    (tmp_path / "train" / "cat").rmdir()
    (tmp_path / "val" / "cat").mkdir()
    with pytest.raises(InputError, match="has the class cat, which train/ lacks"):
        read(spec)
    (tmp_path / "val" / "cat").rmdir()
    for name in ("0.png", "2.png"):  # the first image is read on its own, for its size
        image = tmp_path / "train" / "ant" / name
        whole = image.read_bytes()
        image.write_bytes(whole[:40])
        with pytest.raises(InputError, match=rf"{name} cannot be read as an image"):
            read(spec)
        image.write_bytes(whole)


def test_users_own_data_in_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "import torch\n"
        "from torch.utils.data import TensorDataset\n"
        "x, y = torch.arange(24.).view(8, 3), torch.arange(8) % 2\n"
        "def four(): return x, y, x[:4], y[:4]\n"
        "sets = (TensorDataset(x, y), TensorDataset(x[:4], y[:4]))\n"
        "class Noisy(TensorDataset):\n"
        "    def __getitem__(self, i):\n"
        "        return torch.rand(3), self.tensors[1][i]\n"
        "noisy = (Noisy(x, y), sets[1])\n"
        "def fails(): raise OSError('disk')\n"
        "class Breaks(TensorDataset):\n"
        "    def __getitem__(self, i):\n"
        "        raise KeyError('lost')\n"
        "breaks = (Breaks(x, y), sets[1])\n"
        "none = (TensorDataset(x[:0], y[:0]), sets[1])\n"
        "same = (TensorDataset(x, y * 0), sets[1])\n"
        "below = (TensorDataset(x, y - 1), sets[1])\n"
        "above = (sets[0], TensorDataset(x, y + 7))\n"
        "nans = (TensorDataset(x * float('nan'), y), sets[1])\n"
        "bare = (x, x)\n"
        "one = 1\n"
    )
    for name in ("four", "sets"):
        data = read(f"{path}:{name}")
        torch.testing.assert_close(everything(data.train)[0], torch.arange(24.0).view(8, 3))
        assert data.classes == 2
    for name, words in (
        ("noisy", "differ between two readings"),
        ("fails", "disk"),
        ("one", "gives a int; it should give"),
        ("breaks", "KeyError: 'lost'"),
        ("none", "empty train split"),
        ("same", "only one class"),
        ("below", "label -1 in its train split"),
        ("above", "label 8 in its test split"),
        ("nans", "NaN"),
        ("bare", "does not give"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read(f"{path}:{name}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_train": np.arange(11) % 3}, "12 inputs but 11 labels"),
        ({"x_train": np.zeros((0, 1, 2, 2)), "y_train": np.zeros(0, int)}, r"\(train\) is empty"),
        ({"y_train": np.zeros(12, int)}, "only one class"),
        ({"y_train": np.arange(12) % 3 - 1}, "label -1"),
        ({"y_test": np.arange(6)}, "label 5 in its test split"),
        ({"x_train": np.full((12, 1, 2, 2), np.nan, np.float32)}, "NaN or infinity"),
        ({"x_test": np.zeros((6, 1, 3, 3), np.float32)}, "make them the same"),
        ({"y_train": np.linspace(0, 1, 12)}, "targets for training .numbers, 1 per"),
        ({"y_test": (np.arange(6) % 3)[:, None]}, r"for test \(classes, 1 per sample"),
        ({"y_train": np.where(np.arange(12) == 5, 10**9, 0)}, "label 1000000000 among 12"),
        ({"x_train": np.arange(12.0)}, "one row per sample"),
        ({"x_train": np.float32(1)}, "one row per sample"),
        ({"y_test": np.array(["a"] * 6)}, "four numeric arrays"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read(saved(tmp_path, **changes))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "part.npz", x_train=np.zeros(2))
    np.savez(tmp_path / "pickle.npz", **{k: np.array([{}]) for k in arrays()})
    for spec, words in (
        (f"npz:{tmp_path}/missing.npz", "no file"),
        (f"npz:{tmp_path}/text.npz", "cannot be read"),
        (f"npz:{tmp_path}/part.npz", "lacks y_train"),
        (f"npz:{tmp_path}/pickle.npz", "cannot be read"),
        (f"folder:{tmp_path}/missing", "no folder"),
        (f"folder:{tmp_path}", "lacks train/"),
    ):
        with pytest.raises(InputError, match=words):
            read(spec)
    with pytest.raises(InputError, match="`download`"):
        read("mnist", data_dir=str(tmp_path))


def idx(array: np.ndarray) -> bytes:
    """The format of MNIST's files: big-endian sizes, then bytes."""
    return b"".join(
        [
            bytes([0, 0, 8, array.ndim]),
            *(n.to_bytes(4, "big") for n in array.shape),
            array.tobytes(),
        ]
    )


@pytest.mark.parametrize(("spec", "place"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_as_torchvision_keeps_it(tmp_path: Path, spec: str, place: str) -> None:
    raw = tmp_path / place / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = (np.arange(20) % 10).astype(np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    data = read(spec, data_dir=str(tmp_path))
    inputs, targets = everything(data.train)
    (mean,), (std,) = plugins.find("data", spec).moments
    np.testing.assert_allclose(inputs[:, 0], (images / 255 - mean) / std, rtol=1e-5, atol=1e-6)
    assert targets.tolist() == labels.tolist()
    (raw / "train-images-idx3-ubyte").write_bytes(idx(images)[:-1])
    with pytest.raises(InputError, match=f"{place} in .* cannot be read .*; replace its files"):
        read(spec, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("spec", "place", "files", "key"),
    [
        ("cifar10", "cifar-10-batches-py", [f"data_batch_{i}" for i in range(1, 6)], "labels"),
        ("cifar100", "cifar-100-python", ["train"], "fine_labels"),
    ],
)
def test_cifar_as_torchvision_keeps_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: str,
    place: str,
    files: list[str],
    key: str,
) -> None:
    import torchvision

    name = {
        "mnist": "MNIST",
        "fashion-mnist": "FashionMNIST",
        "cifar10": "CIFAR10",
        "cifar100": "CIFAR100",
    }[spec]
    folder = tmp_path / place
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (10, 3072), dtype=np.uint8)
    for file in (*files, "test_batch" if spec == "cifar10" else "test"):
        (folder / file).write_bytes(pickle.dumps({"data": rows, key: list(range(10))}))
    # Files other than the published ones are not so much as opened: they are pickles.
    with pytest.raises(InputError, match="another `data_dir`, or `download`"):
        read(spec, data_dir=str(tmp_path))
    monkeypatch.setattr(getattr(torchvision.datasets, name), "_check_integrity", lambda self: True)
    monkeypatch.setattr(getattr(torchvision.datasets, name), "_load_meta", lambda self: None)
    data = read(spec, data_dir=str(tmp_path))
    inputs, targets = everything(data.train)
    mean, std = (np.array(each)[:, None, None] for each in plugins.find("data", spec).moments)
    expected = (rows.reshape(10, 3, 32, 32) / 255 - mean) / std
    np.testing.assert_allclose(inputs[:10], expected, rtol=1e-5, atol=1e-5)
    assert targets.tolist() == list(range(10)) * len(files)
    assert (data.input_shape, len(data.test)) == ((3, 32, 32), 10)


def test_options_that_do_not_fit_are_usage_errors(tmp_path: Path) -> None:
    spec = saved(tmp_path)
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {"batch_size": 13}, "training samples, 12"),
        ({"train_samples": 5}, {"batch_size": 6}, "training samples, 5"),
        ({"train_samples": -1}, {}, "`train_samples` is -1"),
        ({"image_size": 8}, {}, "`image_size` applies to folder"),
        ({}, {"batch_size": 0}, "`batch_size` is 0"),
        ({}, {"workers": -1}, "`workers` is -1"),
        ({}, {"device": "abacus"}, "device 'abacus'"),
        ({}, {"dtype": "float8"}, "no dtype 'float8'"),
        ({"mean": "0.5"}, {}, "give both"),
        ({"mean": "a", "std": "1"}, {}, "numbers separated"),
        ({"mean": "0,0", "std": "1,1"}, {}, "for each channel"),
        ({"mean": "0", "std": "0"}, {}, "positive"),
    ]
    for options, run, words in cases:
        with pytest.raises(UsageError, match=words):
            read(spec, RunConfig(**run), **options)
    with pytest.raises(UsageError, match="did you mean mnist"):
        read("minst")
    with pytest.raises(PruneLimitError, match="give `data`"):
        load_data(DataConfig(), RunConfig())


def test_subsets_are_seeded_nested_and_sorted() -> None:
    small, large = draw(100, 10, seed=3), draw(100, 40, seed=3)
    assert set(small.tolist()) < set(large.tolist())
    assert large.tolist() == sorted(set(large.tolist()))
    assert draw(100, 10, seed=4).tolist() != small.tolist()
    assert len(draw(100, 0, seed=0)) == len(draw(100, 500, seed=0)) == 100


def test_bytes_kept_as_bytes_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.arange(120, dtype=torch.uint8).view(10, 3, 2, 2)
    options: dict[str, Any] = {
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "mean": (0.1, 0.2, 0.3),
        "std": (0.5, 0.6, 0.7),
    }
    converted = TensorSplit(images, torch.arange(10), **options)
    monkeypatch.setattr(splits, "FLOAT_BYTES", 0)
    kept = TensorSplit(images, torch.arange(10), **options)
    assert torch.equal(everything(converted)[0], everything(kept)[0])
    assert torch.equal(everything(converted.subset(4, 0))[0], everything(kept.subset(4, 0))[0])
    assert images.flatten().tolist() == list(range(120))


def test_every_sample_comes_once_in_the_order_asked_for() -> None:
    split = TensorSplit(
        torch.arange(7.0)[:, None],
        torch.arange(7),
        device=torch.device("cpu"),
        dtype=torch.float64,
    )
    order = torch.tensor([6, 0, 3])
    assert [y.tolist() for _, y in split.batches(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [y.tolist() for _, y in split.batches(2, order=order)] == [[6, 0], [3]]
    assert everything(split)[0].dtype == torch.float64


OWN = """
import numpy as np
import torch
from torch.utils.data import Dataset

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(200) % 3


class Set(Dataset):
    def __init__(self, length=200, late=False, form=None):
        self.length, self.late, self.form = length, late, form

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        x = X[index] + torch.randn(6) if self.late and index > 150 else X[index]
        return {"x": x, "label": Y[index]} if self.form else (x, Y[index])


def pair(change):
    return lambda: ((change(X), Y),) * 2


sparse = pair(lambda x: x.to_sparse())
nested = pair(lambda x: torch.nested.nested_tensor(list(x)))
meta = pair(lambda x: x.to("meta"))
masked = pair(lambda x: np.ma.masked_greater(x.numpy(), 1.0))
length = lambda: (Set(-1), Set(-1))
late = lambda: (Set(late=True), Set(late=True))
without_labels = lambda: (Set(form=1), Set(form=1))
lists = lambda: ((X.tolist(), Y.tolist()),) * 2
list_of_arrays = lambda: (([x.numpy() for x in X], [int(y) for y in Y]),) * 2
plain = pair(lambda x: x)
"""


class TestOfOnesOwn:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("sparse", "sparse tensor cannot be read"),
            ("nested", "nested tensor cannot be read"),
            ("meta", "meta tensor cannot be read"),
            ("masked", "lose its mask"),
            ("length", "correct its __len__"),
            ("late", "differ between two readings"),
            ("without_labels", "dict without labels"),
        ],
    )
    def test_what_would_lose_something_is_refused(
        self, prunelimit: Callable[..., Outcome], name: str, said: str
    ) -> None:
        Path("own.py").write_text(OWN)
        found = prunelimit("train", "-m", "lenet-300-100", "-d", f"own.py:{name}", "--epochs", "1")
        refused(found, said)

    @pytest.mark.parametrize("name", ["lists", "list_of_arrays"])
    def test_lists_are_what_they_hold(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "own.py").write_text(OWN)
        read = [
            load_data(DataConfig(data=f"{tmp_path / 'own.py'}:{each}"), RunConfig())
            for each in (name, "plain")
        ]
        for one, other in zip(*(each.train.batches(200) for each in read), strict=True):
            torch.testing.assert_close(one[0], other[0])
            assert torch.equal(one[1], other[1])
