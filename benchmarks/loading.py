"""Peak memory of loading a checkpoint, over the size of its file.

    python benchmarks/loading.py --work bench [--mib 200] [--only REGEX]

One network of four linear layers in every format. A fresh process reads a small file first, so that
all code is there, and then the large one. The column "read" is the growth of its resident memory at
the peak. The column "into the network" is that of a second process, which then has the weights put
into a network. Both hold pages of the file that are mapped. Files of one format stay in ``--work``
until the next is made. Linux only.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from prunelimit.commands.export import export
from prunelimit.config import DataConfig, ExportConfig, ModelConfig, RunConfig
from prunelimit.inputs.checkpoint import read_checkpoint, weight_files
from prunelimit.inputs.fitting import fit

SMALL = 8


def network(width: int) -> nn.Module:
    """Four square layers."""
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(4)))


def state(width: int) -> dict[str, Tensor]:
    """Its weights, drawn anew."""
    torch.manual_seed(0)
    return network(width).state_dict()


def pruned(width: int) -> dict[str, Tensor]:
    """The same with nine of ten weights zero."""
    found = state(width)
    matrices = {name: each for name, each in found.items() if each.ndim > 1}
    zeros = {name: torch.rand(each.shape) < 0.9 for name, each in matrices.items()}
    return found | {name: each.masked_fill(zeros[name], 0) for name, each in matrices.items()}


def torch_zip(path: Path, width: int) -> Path:
    torch.save(state(width), path / "n.pt")
    return path / "n.pt"


def torch_old(path: Path, width: int) -> Path:
    torch.save(state(width), path / "n.pt", _use_new_zipfile_serialization=False)
    return path / "n.pt"


def torch_oldest(path: Path, width: int) -> Path:
    """A tar archive of a pickle, and of numbers and their places for every tensor."""
    weights = state(width)
    keys = {id(each): number for number, each in enumerate(weights.values())}
    with (path / "storages").open("wb") as numbers, (path / "tensors").open("wb") as places:
        pickle.dump(len(weights), numbers, protocol=2)
        pickle.dump(len(weights), places, protocol=2)
        for each in weights.values():
            key, shape = keys[id(each)], tuple(each.shape)
            pickle.dump((key, "cpu", torch.FloatStorage), numbers, protocol=2)
            numbers.write(struct.pack("<q", each.numel()))
            numbers.write(each.numpy().data)
            pickle.dump((key, key, torch.FloatTensor), places, protocol=2)
            places.write(struct.pack("<ii", len(shape), 0))
            places.write(struct.pack(f"<{2 * len(shape) + 1}q", *shape, *each.stride(), 0))
        pickle.dump([], numbers, protocol=2)  # none is a part of another
    with (path / "pickle").open("wb") as content:
        writer = pickle.Pickler(content, protocol=2)
        writer.persistent_id = lambda value: keys.get(id(value))  # type: ignore[method-assign]
        writer.dump(dict(weights))
    with tarfile.open(path / "n.pt", "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(path / name, name)
            (path / name).unlink()
    return path / "n.pt"


def half(path: Path, width: int) -> Path:
    torch.save({n: t.half() for n, t in state(width).items()}, path / "n.pt")
    return path / "n.pt"


def training(path: Path, width: int) -> Path:
    model = network(width)
    optimizer = torch.optim.Adam(model.parameters())
    for each in model.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()
    torch.save(
        {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, path / "n.pt"
    )
    return path / "n.pt"


def safetensors(path: Path, width: int) -> Path:
    save_file(state(width), path / "n.safetensors")
    return path / "n.safetensors"


def sharded(path: Path, width: int) -> Path:
    """Two tensors to a file, as Hugging Face names them."""
    every, names = state(width), {}
    for number in range(4):
        own = {n: t for n, t in every.items() if n.startswith(f"{number}.")}
        file = f"model-{number + 1:05d}-of-00004.safetensors"
        save_file(own, path / file)
        names |= dict.fromkeys(own, file)
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return path


def compressed(path: Path, width: int) -> Path:
    """With so few zeros that its size is near that of what it holds."""
    torch_zip(path, width)
    with (path / "n.pt").open("rb") as source, gzip.open(path / "n.pt.gz", "wb", 1) as target:
        shutil.copyfileobj(source, target, 2**20)
    (path / "n.pt").unlink()
    return path / "n.pt.gz"


def packed(suffix: str, packing: str) -> Callable[[Path, int], Path]:
    def make(path: Path, width: int) -> Path:
        torch.save(pruned(width), path / "dense.pt")
        output = path / f"n{suffix}"
        options = ModelConfig(), DataConfig(), RunConfig(), ExportConfig(format=packing)
        export(path / "dense.pt", *options, output)
        (path / "dense.pt").unlink()
        return output

    return make


FORMATS: dict[str, Callable[[Path, int], Path]] = {
    "torch.save, zip": torch_zip,
    "torch.save, before 1.6": torch_old,
    "torch.save, before 0.1.10": torch_oldest,
    "float16": half,
    "beside Adam": training,
    "safetensors": safetensors,
    "safetensors, in four parts": sharded,
    "gzip": compressed,
    "bit masks, .safetensors": packed(".safetensors", "bitmask"),
    "compressed rows, .pt": packed(".pt", "csr"),
}


def resident(peak: bool = False) -> int:
    """Bytes of this process in memory, now or at most since :func:`forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:" if peak else "VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("Linux alone says how much memory a process takes.")


def measure(path: Path, small: Path, width: int, into: bool) -> None:
    """Print by how many bytes reading ``path`` grew this process at the peak."""
    fit(network(SMALL), read_checkpoint(small), "the network")
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")
    read = read_checkpoint(path)
    if into:
        fit(network(width), read, "the network")
    print(resident(peak=True) - before)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the files")
    parser.add_argument("--mib", type=int, default=200, help="size of the weights in float32")
    parser.add_argument("--only", default="", help="formats whose names this regex finds")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--into", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    width = int((options.mib * 2**20 / 16) ** 0.5)
    if options.measure:
        measure(*options.measure, width, options.into)
        return
    print(
        "| file | MiB | dense MiB | read, over the file | over dense "
        "| into the network, over dense |"
    )
    print("|---|---|---|---|---|---|")
    dense = sum(each.nbytes for each in state(width).values())
    for name, make in FORMATS.items():
        if not re.search(options.only, name):
            continue
        large, small = (options.work / each for each in ("large", "small"))
        for folder in (large, small):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        paths = [str(make(large, width)), str(make(small, SMALL))]
        size = sum(each.stat().st_size for each in weight_files(Path(paths[0])))
        found = []
        for more in ([], ["--into"]):
            command = [sys.executable, __file__, "--work", str(options.work), "--mib",
                       str(options.mib), "--measure", *paths, *more]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(int(done.stdout))
        cells: list[Any] = [name, f"{size / 2**20:.0f}", f"{dense / 2**20:.0f}"]
        cells += [f"{found[0] / size:.2f}", f"{found[0] / dense:.2f}", f"{found[1] / dense:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    shutil.rmtree(options.work / "large")
    shutil.rmtree(options.work / "small")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
