"""The Lanczos vectors: kept in memory, in half of it, on disk, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..devices import wide
from ..distributed import ALONE, Group
from ..errors import UsageError
from ..storage.summed import read_summed, write_summed

__all__ = ["BASES", "BLOCK", "Basis", "basis_bytes"]

BASES = ("memory", "bfloat16", "disk", "none")
"""Where the vectors lie. "none" keeps the last two only. Orthogonality to the others is then lost
as Ritz values converge. These come back as copies and slow the rest down (Paige 1972)."""

BLOCK = 16
"""Vectors that are stored, and multiplied, together."""


def basis_bytes(kind: str, dimension: int, steps: int, itemsize: int) -> int:
    """Bytes of memory that the vectors of ``steps`` Lanczos steps take."""
    if kind == "memory":
        return (steps + 3) * dimension * itemsize
    if kind == "bfloat16":
        return steps * dimension * 2 + 3 * dimension * itemsize
    return (BLOCK if kind == "disk" else 0) * 2 * dimension * itemsize + 3 * dimension * itemsize


class Basis:
    """Orthonormal vectors (D,), appended one by one. Of each, this process of ``group`` has its
    part.

    Blocks of them are written to ``folder``: for ``kind`` "disk" when they are full, and for every
    kind by :meth:`save`. :meth:`load` reads them back.
    """

    def __init__(self, like: Tensor, kind: str, folder: Path | None, group: Group = ALONE) -> None:
        if kind not in BASES:
            raise UsageError(f"There is no basis {kind!r}; choose one of {', '.join(BASES)}.")
        if kind == "disk" and folder is None:
            raise UsageError("A basis on disk needs a folder; give the name of one.")
        self.kind = kind
        self.recent: list[Tensor] = []
        self._like = like
        self._folder = folder
        self._group = group
        self._dtype = torch.bfloat16 if kind == "bfloat16" else like.dtype
        self._blocks: list[Tensor | Path] = []
        self._count = 0
        self._saved = 0

    def append(self, vector: Tensor) -> None:
        """Take ``vector`` (D,) as the next; the last two are there as ``recent`` in its dtype."""
        self.recent = [*self.recent[-1:], vector]
        self._count += 1
        if self.kind == "none":
            return
        place = (self._count - 1) % BLOCK
        if place == 0:
            self._blocks.append(
                torch.empty(BLOCK, vector.numel(), dtype=self._dtype, device=vector.device)
            )
        block = self._blocks[-1]
        assert isinstance(block, Tensor)
        block[place] = vector
        if self.kind == "disk" and self._count % BLOCK == 0:
            self._write(len(self._blocks) - 1)
            self._blocks[-1] = self._path(len(self._blocks) - 1)

    def orthogonalize(self, residual: Tensor) -> None:
        """Take the components along all vectors out of ``residual`` (D,), in place: one pass of
        classical Gram-Schmidt, block by block."""
        if self.kind == "none":
            for vector in self.recent:
                residual -= self._component(vector[None], residual)[0].to(residual) * vector
            return
        for block in self._each():
            known = block.to(residual.dtype)
            residual -= known.T @ self._component(known, residual).to(residual)

    def _component(self, vectors: Tensor, residual: Tensor) -> Tensor:
        return self._group.all_reduce(wide(vectors @ residual))

    def save(self) -> dict[str, Tensor]:
        """Write what is not yet in the folder; returns the rest, which is small.

        Raises:
            OSError: it cannot be written.
        """
        rest = {f"recent_{place}": vector for place, vector in enumerate(self.recent)}
        if self.kind == "none":
            return rest
        for place in range(self._saved, self._count // BLOCK):
            self._write(place)
        part = self._count % BLOCK
        if part:
            block = self._blocks[-1]
            assert isinstance(block, Tensor)
            rest["part"] = block[:part].clone()
        return rest

    def load(self, rest: dict[str, Tensor], count: int) -> None:
        """Read back ``count`` vectors from the folder and from what :meth:`save` returned.

        Raises:
            ValueError: they are not all there, or of another size.
        """
        device = self._like.device
        names = ("recent_0", "recent_1")[: min(count, 2)]
        self.recent = [self._whole(rest[name], 0).to(device) for name in names]
        self._count = count
        if self.kind == "none":
            return
        self._saved = count // BLOCK
        for place in range(self._saved):
            path = self._path(place)
            block = self._whole(read_summed(path, device)["vectors"], BLOCK)
            self._blocks.append(path if self.kind == "disk" else block)
        if count % BLOCK:
            part = self._whole(rest["part"], count % BLOCK)
            block = torch.empty(BLOCK, self._like.numel(), dtype=self._dtype, device=device)
            block[: len(part)] = part.to(device)
            self._blocks.append(block)

    def _whole(self, found: Tensor, rows: int) -> Tensor:
        """``found``, once it is known to be ``rows`` of our vectors (0: one vector)."""
        shape = (rows, self._like.numel()) if rows else (self._like.numel(),)
        kind = self._dtype if rows else self._like.dtype
        if found.shape != shape or found.dtype != kind or not bool(torch.isfinite(found).all()):
            raise ValueError("the vectors are not those of this process")
        return found

    def emptied(self) -> Basis:
        """A new one of the same kind and place, without vectors."""
        return Basis(self._like, self.kind, self._folder, self._group)

    def truncate(self, count: int) -> bool:
        """Forget all but the first ``count`` vectors; False where they are not kept."""
        if self.kind == "none":
            return False
        keep = -(-count // BLOCK)
        del self._blocks[keep:]
        if isinstance(self._blocks[-1], Path):
            self._blocks[-1] = self._read(self._blocks[-1])
        self._count, self._saved = count, min(self._saved, count // BLOCK)
        last = torch.cat(list(self._each())[-2:])[-2:]
        self.recent = [vector.to(self._like.dtype) for vector in last]
        return True

    def __len__(self) -> int:
        return self._count

    def _each(self) -> Iterator[Tensor]:
        left = self._count
        for block in self._blocks:
            whole = block if isinstance(block, Tensor) else self._read(block)
            yield whole[: min(left, BLOCK)]
            left -= BLOCK

    def _path(self, place: int) -> Path:
        assert self._folder is not None
        return self._folder / f"vectors-{place:05d}.safetensors"

    def _write(self, place: int) -> None:
        block = self._blocks[place]
        if place < self._saved or not isinstance(block, Tensor):
            return
        path = self._path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_summed({"vectors": block}, path)
        self._saved = place + 1

    def _read(self, path: Path) -> Tensor:
        return load_file(path, device=str(self._like.device))["vectors"]
