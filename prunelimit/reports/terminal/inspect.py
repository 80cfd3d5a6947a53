"""What ``inspect`` found, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...errors import shown
from ...results.types import InspectResult
from .parts import BLANK, columns, pairs, titled

__all__ = ["inspect_table"]


def inspect_table(result: InspectResult) -> RenderableType:
    """The facts, and below them every matrix with its share."""
    facts = pairs(shown(result.path), _facts(result))
    if not result.tensors:
        return facts
    names = ("weight", "shape", "type", "zero", "share", "prunable")
    table = columns(names, words=(0, len(names) - 1))
    for each in result.tensors:
        if not each.prunable and each.why is None:
            continue
        size = max(1, _product(each.shape))
        said = "yes" if each.prunable else f"no: {each.why}"
        table.add_row(
            Text(shown(each.name)),
            "x".join(map(str, each.shape)),
            each.dtype,
            f"{each.zeros / size:.1%}",
            f"{each.share:.1%}",
            said if each.same_as is None else f"tied to {shown(each.same_as)}",
        )
    return Group(facts, BLANK, titled("Matrices", table))


def _facts(result: InspectResult) -> list[tuple[str, str]]:
    found = [("format", f"{result.format}, {result.bytes:,} bytes")]
    if result.code:
        names = ", ".join(map(shown, result.code[:10]))
        found.append(("wants to run", f"{names} (nothing was run, and no tensor read)"))
        return found
    if len(result.states) > 1:
        names = ", ".join(f"{shown(s.key) or 'itself'} ({s.entries:,})" for s in result.states)
        found.append(("state_dicts", names))
        found.append(("read is", f"{shown(result.state or 'itself')} (`key`)"))
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.dtypes.items())
    found.append(("tensors", f"{len(result.tensors)} ({kinds}), {result.entries:,} numbers"))
    if result.prefix:
        found.append(("prefix", shown(result.prefix)))
    tied = [each for each in result.tensors if each.same_as is not None]
    if tied:
        found.append(("tied", ", ".join(f"{shown(e.name)} = {shown(e.same_as)}" for e in tied[:5])))
    if result.folded:
        found.append(("folded", ", ".join(map(shown, result.folded[:5]))))
    if result.zeros:
        found.append(("zero already", f"{result.zeros:,} ({result.zeros / result.entries:.1%})"))
    if result.claimed is not None:
        found.append(("claims", f"accuracy {result.claimed:.2%}"))
    if result.described is not None:
        found.append(("says it is", shown(result.described)))
    if result.likely is not None:
        found.append(("looks like", f"{result.likely} (-m {result.likely})"))
    matrices = [each for each in result.tensors if each.same_as is None]
    share = sum(each.share for each in matrices if each.prunable)
    dense = sum(each.share for each in matrices if each.why is not None)
    by = "by their names" if result.network is None else f"as {shown(result.network)} has them"
    found.append(
        ("prunable", f"{share:.1%} of all numbers, {dense:.1%} in matrices that are not; {by}")
    )
    return found


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
