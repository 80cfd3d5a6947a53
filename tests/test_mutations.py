"""Thousands of damaged and hostile inputs, drawn by seed: each is refused in one sentence or read
for what it is. None runs code, hangs, ends in a traceback or is taken for what it is not."""

from __future__ import annotations

import copy
import gzip
import io
import json
import pickle
import random
import signal
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oldest import archived, tar_file
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import prunelimit as pl
from prunelimit.cli.main import COMMANDS, group, main
from prunelimit.config import DataConfig, RunConfig
from prunelimit.errors import PruneLimitError
from prunelimit.inputs.checkpoint import METADATA_KEY, read_checkpoint, write_checkpoint
from prunelimit.inputs.datasets import load_data
from prunelimit.inputs.pickles import wanted_globals
from prunelimit.inputs.splits import target_batches
from prunelimit.storage.resume import Resumable

SECONDS = 20
"""That one input may take: thousands of times what it does."""


@contextmanager
def in_time() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def read_or_refused(call: Callable[[], Any]) -> Any:
    """What ``call`` gives; None where it refuses in one sentence. All else is raised."""
    with in_time():
        try:
            return call()
        except PruneLimitError as error:
            text = str(error)
            assert text and text.isprintable() and len(text) < 4000
            assert text[-1] in ".?!", text
            assert "nforeseen" not in text
            return None


NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), True, False, None),
)
OTHERS: tuple[Any, ...] = (
    *("", "nan", "../../x", "a\x1b[31mb\nc", "x" * 5000, "\u202e", "\ud800"),
    *([], {}, [1], [[]], {"a": 1}, [None] * 3, {"": ""}),
)


def bytes_mutated(content: bytes, draw: random.Random) -> bytes:
    """``content`` with one to three changes: bits, ranges, cuts, repeats."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        place, kind = draw.randrange(max(1, len(data))), draw.randrange(8)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 1 and data:
            data[place % len(data)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + draw.randint(1, 64)]
        elif kind == 4:
            data[place:place] = draw.randbytes(draw.randint(1, 16))
        elif kind == 5:
            data[place : place + 8] = (draw.choice((0, 2**31, 2**40, 2**63, 2**64 - 1))).to_bytes(
                8, "little"
            )
        elif kind == 6:
            data[place:place] = data[: draw.randint(1, 200)]
        else:
            end = place + draw.randint(1, 200)
            data[place:end] = bytes(len(data[place:end]))
    return bytes(data)


def json_mutated(document: Any, draw: random.Random) -> Any:
    """``document`` with one value, somewhere in it, replaced, taken away or moved."""
    changed = copy.deepcopy(document)
    place, path = changed, 0
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return changed
        key = draw.choice(keys)
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and draw.random() < 0.8 and path < 9:
            place, path = inner, path + 1
            continue
        kind = draw.randrange(6)
        if kind < 3:
            place[key] = draw.choice(NUMBERS)
        elif kind == 3:
            place[key] = draw.choice(OTHERS)
        elif kind == 4:
            del place[key]
        elif isinstance(place, dict):
            place[str(draw.choice(OTHERS))] = place.pop(key)
        else:
            place.append(inner)
        return changed


STATE: dict[str, Tensor] = {
    "a.weight": torch.eye(4).repeat(6, 5) * 1.5,
    "a.bias": torch.arange(24.0),
    "n.num_batches_tracked": torch.tensor(3),
    "conv.weight": torch.eye(4).repeat(3, 1, 2, 2).view(3, 4, 4, 4),
}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


def archive_of(content: dict[str, bytes], deflated: bool = False) -> bytes:
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as target:
        for name, each in content.items():
            target.writestr(name, each)
    return buffer.getvalue()


def contents(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        return {name: source.read(name) for name in source.namelist()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A whole checkpoint of every kind, by suffix and name."""
    folder = tmp_path_factory.mktemp("whole")
    torch.save({"state_dict": STATE, "epoch": 3, "best_prec1": 91.5}, folder / "run.pt")
    torch.save(STATE, folder / "older.pt", _use_new_zipfile_serialization=False)
    tar_file({"state_dict": STATE, **STATE}, folder / "oldest.pt")
    torch.save({"w": Payload(folder / "made-by-mutant"), **STATE}, folder / "evil.pt")
    torch.save(
        Payload(folder / "made-by-mutant"),
        folder / "worse.pt",
        _use_new_zipfile_serialization=False,
    )
    save_file(STATE, folder / "plain.safetensors")
    write_checkpoint(folder / "ours.safetensors", {**STATE, "a._extra_state": {"x": 1}}, {
        "model": {"model": "lenet5", "classes": 10}, "data": {"data": "digits"},
    })  # fmt: skip
    for packing in ("bitmask", "csr", "nm"):
        for suffix in ("safetensors", "pt"):
            pl.export(folder / "run.pt", folder / f"{packing}.{suffix}", format=packing)
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    program = torch.export.export(network, (torch.ones(1, 4),))
    torch.export.save(program, folder / "program.pt2")
    for path in [folder / "run.pt", folder / "oldest.pt", folder / "evil.pt"]:
        (folder / f"{path.stem}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def held(read: Any, content: bytes) -> None:
    """What is read is tensors that the file can hold."""
    if read is None:
        return
    for state in read.states:
        for name, tensor in state.tensors.items():
            assert isinstance(name, str) and tensor.layout == torch.strided
            assert tensor.numel() * tensor.element_size() <= max(2**28, 64 * len(content))
            tensor.sum() if tensor.dtype == torch.float32 else None  # all of it can be read


class TestCheckpoints:
    @pytest.mark.parametrize("seed", range(8))
    def test_bytes(self, tmp_path: Path, files: dict[str, bytes], seed: int) -> None:
        """8 x 150 files."""
        draw = random.Random(seed)
        for number in range(150):
            name = draw.choice(list(files))
            content = bytes_mutated(files[name], draw)
            path = tmp_path / f"{number}{Path(name).suffix}"
            path.write_bytes(content)
            held(read_or_refused(lambda path=path: read_checkpoint(path)), content)
            path.unlink()
        assert not list(tmp_path.parent.glob("**/made-by-mutant"))

    @pytest.mark.parametrize("seed", range(4))
    def test_parts_of_archives(self, tmp_path: Path, files: dict[str, bytes], seed: int) -> None:
        """4 x 100 archives that are whole as archives."""
        draw = random.Random(seed)
        names = [name for name, each in files.items() if zipfile.is_zipfile(io.BytesIO(each))]
        for number in range(100):
            inside = contents(files[draw.choice(names)])
            part = draw.choice(list(inside))
            match draw.randrange(4):
                case 0:
                    del inside[part]
                case 1:
                    inside[part] = pickle.dumps(Payload(tmp_path / "made-by-mutant"))
                case 2:
                    inside[draw.choice(("data.pkl", "x/data.pkl", "../x", part * 3))] = inside[part]
                case _:
                    inside[part] = bytes_mutated(inside[part], draw)
            content = archive_of(inside, deflated=draw.random() < 0.3)
            path = tmp_path / f"{number}.pt"
            path.write_bytes(content)
            held(read_or_refused(lambda path=path: read_checkpoint(path)), content)
        assert not (tmp_path / "made-by-mutant").exists()

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("seed", range(3))
    def test_members_of_tar_archives(
        self, tmp_path: Path, files: dict[str, bytes], seed: int
    ) -> None:
        """3 x 100 files of torch before 0.1.10 that are whole as archives, some in gzip."""
        draw = random.Random(seed)
        with tarfile.open(fileobj=io.BytesIO(files["oldest.pt"])) as archive:
            whole = {each.name: archive.extractfile(each) for each in archive}
            members = {name: each.read() for name, each in whole.items() if each is not None}
        read = 0
        for number in range(100):
            inside = dict(members)
            part = draw.choice(list(inside))
            match draw.randrange(8):
                case 0:
                    del inside[part]
                case 1:
                    inside[part] = pickle.dumps(Payload(tmp_path / "made-by-mutant"), protocol=2)
                case 2:
                    inside[draw.choice(("x", "../x", "./storages", part * 30))] = inside[part]
                case 3:
                    inside[part] = inside[draw.choice(list(inside))]
                case _:
                    inside[part] = bytes_mutated(inside[part], draw)
            content = archived(inside)
            packed = draw.random() < 0.3
            path = tmp_path / f"{number}.pt"
            path.write_bytes(gzip.compress(content) if packed else content)
            found = read_or_refused(lambda path=path: read_checkpoint(path))
            held(found, content)
            read += found is not None
            assert all(len(name) < 2000 for name in wanted_globals(path))
        assert 0 < read < 90
        assert not (tmp_path / "made-by-mutant").exists()

    @pytest.mark.parametrize("seed", range(2))
    def test_files_in_gzip(self, tmp_path: Path, files: dict[str, bytes], seed: int) -> None:
        """2 x 100 files compressed, damaged before or after; what is read is what was packed."""
        draw = random.Random(seed)
        for number in range(100):
            content = files[draw.choice([name for name in files if not name.endswith(".gz")])]
            path = tmp_path / f"{number}.pt.gz"
            match draw.randrange(4):
                case 0:
                    path.write_bytes(bytes_mutated(gzip.compress(content), draw))
                case 1:
                    path.write_bytes(gzip.compress(content) + draw.randbytes(draw.randint(1, 50)))
                case 2:
                    path.write_bytes(gzip.compress(gzip.compress(content)))
                case _:
                    path.write_bytes(gzip.compress(bytes_mutated(content, draw)))
            held(read_or_refused(lambda path=path: read_checkpoint(path)), content)
            path.unlink()
        assert not list(tmp_path.parent.glob("**/made-by-mutant"))

    @pytest.mark.parametrize("seed", range(4))
    def test_headers_of_safetensors(
        self, tmp_path: Path, files: dict[str, bytes], seed: int
    ) -> None:
        """4 x 125 files whose JSON, or that of their description, was changed."""
        draw = random.Random(seed)
        names = [name for name in files if name.endswith(".safetensors")]
        for number in range(125):
            content = files[draw.choice(names)]
            end = 8 + int.from_bytes(content[:8], "little")
            header = json.loads(content[8:end])
            about = header.get("__metadata__", {})
            if METADATA_KEY in about and draw.random() < 0.7:
                described = json_mutated(json.loads(about[METADATA_KEY]), draw)
                about[METADATA_KEY] = json.dumps(described)
            else:
                header = json_mutated(header, draw)
            text = json.dumps(header).encode(errors="replace")
            content = len(text).to_bytes(8, "little") + text + content[end:]
            path = tmp_path / f"{number}.safetensors"
            path.write_bytes(content)
            found = read_or_refused(lambda path=path: read_checkpoint(path))
            held(found, content)

    @pytest.mark.parametrize("seed", range(2))
    def test_values_of_pickles(self, tmp_path: Path, seed: int) -> None:
        """2 x 100 training checkpoints of odd values."""
        draw = random.Random(seed)
        for number in range(100):
            inner: Any = {
                name: draw.choice(
                    (each, each.double(), each.to_sparse() if each.ndim else each, each[None])
                )
                for name, each in STATE.items()
            }
            run: Any = {"state_dict": inner, "acc": draw.choice(NUMBERS), "lr": [1, {"b": inner}]}
            for _ in range(draw.randint(1, 3)):
                place = draw.choice((run, inner))
                place[draw.choice((*NUMBERS[:6], *OTHERS[:5], "model", "ema"))] = draw.choice(
                    (*NUMBERS, *OTHERS, torch.ones(2), STATE)
                )
            path = tmp_path / f"{number}.pt"
            torch.save(draw.choice((run, inner, [run], (inner, run))), path)
            found = read_or_refused(lambda path=path: read_checkpoint(path))
            held(found, path.read_bytes())
            assert found is None or found.claimed is None or 0 < found.claimed <= 1


@pytest.mark.parametrize("seed", range(3))
def test_states(tmp_path: Path, seed: int) -> None:
    """3 x 100 states of interrupted work, which are whole or refused: not one number is another."""
    draw = random.Random(seed)
    path = tmp_path / "n.resume"
    unfinished = Resumable(path, "training", {"seed": 0, "model": "lenet5"})
    given = {"epoch": 3, "weights": torch.arange(200.0), "history": [{"loss": 0.5}]}
    unfinished.save(given)
    whole = path.read_bytes()
    read = 0
    for _ in range(100):
        path.write_bytes(bytes_mutated(whole, draw))
        found = read_or_refused(lambda: unfinished.restored(dict))
        if found is not None:
            read += 1
            assert found["epoch"] == 3 and found["history"] == [{"loss": 0.5}]
            assert torch.equal(found["weights"], given["weights"])
    assert read < 60


@pytest.fixture(scope="module")
def results() -> tuple[dict[str, Any], dict[str, Any]]:
    torch.manual_seed(0)
    x = torch.randn(300, 6)
    data = x, x[:, :3].argmax(dim=1)
    problem = pl.Problem(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), data, data)
    few: dict[str, Any] = {"samples": 100, "steps": 5, "probes": 1}
    limit, measured = pl.predict(problem, **few), pl.measure(problem, sparsities="0:0.9:0.3")
    return limit.to_dict(), measured.to_dict()


@pytest.mark.parametrize("seed", range(6))
def test_results(tmp_path: Path, results: tuple[dict[str, Any], dict[str, Any]], seed: int) -> None:
    """6 x 120 predictions and measurements: a gate passes on finite numbers that agree, or not."""
    draw = random.Random(seed)
    for number in range(120):
        documents = [copy.deepcopy(each) for each in results]
        which = draw.randrange(2)
        for _ in range(draw.randint(1, 2)):
            documents[which] = json_mutated(documents[which], draw)
        paths = [tmp_path / f"{number}-{each}.json" for each in range(2)]
        for path, document in zip(paths, documents, strict=True):
            text = json.dumps(document).encode("utf-8", errors="surrogatepass")
            path.write_bytes(bytes_mutated(text, draw) if draw.random() < 0.1 else text)
        floors = {"min_sparsity": "0.01", "baseline": (str(paths[1]),)}
        options: dict[str, Any] = floors if number % 2 else {}
        found = read_or_refused(
            lambda paths=paths, options=options: pl.check(*paths, tolerance="50pp", **options)
        )
        if found is not None and found.passed:
            agreement = found.agreement
            assert agreement is not None
            explained = max(50, agreement.error_pp)
            apart = 100 * abs(agreement.predicted - agreement.measured)
            assert apart <= explained + 1e-6
            assert 0 <= agreement.predicted <= 1 and 0 <= agreement.measured <= 1
            for gate in found.gates[1:]:
                assert all(0 <= value <= 1 for value in (gate.value, *gate.interval))
        if found is not None:
            found.summary()
            json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("seed", range(4))
def test_arrays(tmp_path: Path, seed: int) -> None:
    """4 x 80 archives of arrays: types, shapes, values and bytes."""
    draw = random.Random(seed)
    random_numbers = np.random.default_rng(seed)
    whole = {
        "x_train": random_numbers.random((40, 1, 6, 6)).astype("f4"),
        "y_train": np.arange(40) % 3,
        "x_test": random_numbers.random((12, 1, 6, 6)).astype("f4"),
        "y_test": np.arange(12) % 3,
    }
    for number in range(80):
        arrays: dict[str, Any] = {name: each.copy() for name, each in whole.items()}
        name = draw.choice(list(arrays))
        each = arrays[name]
        match draw.randrange(8):
            case 0:
                arrays[name] = each.astype(
                    draw.choice(("f2", "f8", "c8", "?", "u1", "i1", "u8", "S3", "O", "M8[s]"))
                )
            case 1:
                arrays[name] = each[: draw.randrange(3)]
            case 2:
                arrays[name] = each.reshape(draw.choice(((-1,), (1, *each.shape), (len(each), -1))))
            case 3 if each.dtype == np.float32:
                each.flat[draw.randrange(each.size)] = draw.choice((np.nan, np.inf, -np.inf, 3e38))
            case 3 | 4:
                each.flat[draw.randrange(each.size)] = draw.choice((-1, 3, 9999, 2**24))
            case 5:
                del arrays[name]
            case 6:
                arrays[name] = np.array(draw.choice((7, "text", None)), dtype=object)
            case _:
                pass
        path = tmp_path / f"{number}.npz"
        np.savez(path, **arrays)
        if draw.random() < 0.4:
            path.write_bytes(bytes_mutated(path.read_bytes(), draw))
        config = DataConfig(data=f"npz:{path}")
        found = read_or_refused(lambda config=config: load_data(config, RunConfig()))
        if found is not None:
            labels = torch.cat(list(target_batches(found.train)))
            assert labels.is_floating_point() or int(labels.min()) >= 0
            assert bool(torch.isfinite(labels).all())
            inputs, _ = next(iter(found.train.batches(len(found.train))))
            assert bool(torch.isfinite(inputs).all())


@pytest.mark.parametrize("seed", range(2))
def test_images(tmp_path: Path, seed: int) -> None:
    """2 x 60 folders with a damaged picture."""
    draw = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for split in ("train", "test"):
        for label in "ab":
            place = tmp_path / split / label
            place.mkdir(parents=True)
            Image.fromarray(pixels).save(place / "1.png")
    target = tmp_path / "train" / "a" / "2.png"
    for _ in range(60):
        buffer = io.BytesIO()
        kind = draw.choice(("PNG", "JPEG", "BMP", "PPM", "WEBP"))
        Image.fromarray(pixels).save(buffer, kind)
        target.write_bytes(bytes_mutated(buffer.getvalue(), draw))
        config = DataConfig(data=f"folder:{tmp_path}", image_size=draw.choice((None, 8)))
        found = read_or_refused(lambda config=config: load_data(config, RunConfig()))
        assert found is None or len(found.train) == 3


VALUES = (
    *("", "0", "-1", "1", "0.5", "1e400", "nan", "inf", "-inf", "2:4", "4:2", "0:0", "5%", "-5%"),
    *("0.5pp", "nanpp", "1e999pp", "auto", "limit", "x", "../..", "a:b", "no.py:a", "magnitude"),
    *("magnitude/2:4+staged", "a/b/c/d", ",", "0,1", "0:1:0", "0:1:1e-9", "999999999999999999999"),
    *(
        "\u0660",
        "\uff11",
        "\x1b[31m",
        "a\nb",
        "é" * 300,
        "--",
        "-",
        "=",
        "key=value",
        "1_000",
        " 1 ",
        "\u221e",
    ),
)


@pytest.mark.parametrize("seed", range(4))
def test_options(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """4 x 130 command lines, about a checkpoint that is not there."""
    import click

    monkeypatch.chdir(tmp_path)
    draw = random.Random(seed)
    commands = [name for name in COMMANDS if name not in ("demo", "schema", "init")]
    for _ in range(130):
        name = draw.choice(commands)
        command = group.get_command(click.Context(group), name)
        assert command is not None
        line = [name, *(["no.pt"] if name != "train" else [])]
        options = [
            each
            for each in command.params
            if isinstance(each, click.Option) and not each.is_eager and each.name != "data_dir"
        ]
        for option in draw.sample(options, draw.randint(1, 3)):
            line.append(draw.choice(option.opts))
            if not option.is_flag:
                line.append(draw.choice(VALUES))
        capfd.readouterr()
        with in_time():
            code = main(line)
        said = capfd.readouterr()
        assert code in (2, 3), (line, said)
        assert "nforeseen" not in said.err, line
        (error,) = (each for each in said.err.splitlines() if each.startswith("Error: "))
        assert error.isprintable() and said.out == "", line
    assert not list(tmp_path.iterdir())
