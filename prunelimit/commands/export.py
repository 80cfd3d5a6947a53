"""``export`` and ``densify``: a checkpoint in the formats that others read, and packed or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import DataConfig, ExportConfig, ModelConfig, RunConfig
from ..errors import UsageError
from ..inputs.checkpoint import Checkpoint, read_checkpoint
from ..inputs.description import kept_description
from ..inputs.formats import check_suffix, write_network
from ..inputs.load import Loaded, load
from ..inputs.onnx import ONNX, check_onnx, write_onnx
from ..inputs.packed import PACKINGS
from ..inputs.packing import Group, break_even, can_pack, group_of, packed_bytes
from ..inputs.plain import folded_tensors
from ..inputs.states import choose, strip_prefixes
from ..pruning.patterns.n_m import parse
from ..results.types import Artifact, ExportResult, PackingInfo
from ..storage.files import check_writable
from .provenance import Recorder

__all__ = [
    "check_export",
    "dense_state",
    "densify",
    "export",
    "export_problem",
    "export_tensors",
]


def export(
    checkpoint: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    config: ExportConfig,
    output: Path,
    *,
    force: bool = False,
) -> ExportResult:
    """Write the weights of ``checkpoint`` to ``output``, in the format of its suffix.

    A network is made only for .onnx. It is run in onnxruntime, and compared with torch, before
    anything is written.

    Raises:
        UsageError: the suffix is unknown, or does not go with ``format``; the matrices keep to no
            N:M; or, for .onnx, no network or data are named.
        InputError: the checkpoint cannot be read, or onnxruntime gives other outputs.
        OutputError: ``output`` cannot be written.
    """
    recorder = Recorder("export", run, model, config)
    check_export(output, config)
    check_writable(output, force=force)
    if output.suffix.lower() == ONNX:
        loaded = load(checkpoint, model, data, run)
        return export_problem(loaded, config, output, recorder, source=checkpoint, force=force)
    read = read_checkpoint(checkpoint, trust_pickle=model.trust_pickle)
    entries, taken = dense_state(read, model.key)
    description = {**_named(read), **kept_description(read)}
    return export_tensors(
        checkpoint, entries, description, config, output, recorder, taken=taken, force=force
    )


def export_problem(
    loaded: Loaded,
    config: ExportConfig,
    output: Path,
    recorder: Recorder,
    *,
    source: Path | str | None = None,
    force: bool = False,
) -> ExportResult:
    """Write the network of a problem loaded already as ONNX."""
    artifact, *checked = write_onnx(loaded.problem, output, force=force)
    entries = loaded.problem.model.state_dict()
    tensors = {name: each for name, each in entries.items() if isinstance(each, Tensor)}
    name = loaded.model_info.spec if source is None else source
    return _result(name, tensors, {}, config, artifact, recorder, checked=checked)


def check_export(output: Path, config: ExportConfig) -> None:
    """Refuse options that are wrong whatever the checkpoint holds."""
    packed = config.format != "dense"
    if output.suffix.lower() == ONNX:
        if packed:
            raise UsageError(
                f"An ONNX file such as {output.name} holds plain weights only; leave out "
                "`format`, or end the name with .safetensors or .pt."
            )
        check_onnx()
        return
    check_suffix(output, sparse=packed, onnx=True)


def dense_state(read: Checkpoint, key: str | None = None) -> tuple[dict[str, Any], str]:
    """The entries of the state_dict that is meant, under a network's names, and its key."""
    state = choose(list(read.states), key, str(read.path))[0]
    folded, _ = folded_tensors(state.tensors)
    tensors: dict[str, Any] = dict(strip_prefixes(folded))
    return {**tensors, **state.extra}, state.key


def _named(read: Checkpoint) -> dict[str, Any]:
    """The file's description of network and data, which still holds."""
    described = read.description or {}
    return {name: described[name] for name in ("model", "data") if name in described}


def export_tensors(
    source: Path | str,
    entries: Mapping[str, Any],
    description: Mapping[str, Any],
    config: ExportConfig,
    output: Path,
    recorder: Recorder,
    *,
    taken: str = "",
    force: bool = False,
) -> ExportResult:
    """Write ``entries`` by name. Matrices are packed as ``config`` says, if that is smaller."""
    tensors = {name: each for name, each in entries.items() if isinstance(each, Tensor)}
    pattern = _pattern(description)
    matrices = {name: each for name, each in tensors.items() if can_pack(each)}
    groups = {name: group_of(each, pattern) for name, each in matrices.items()}
    if config.format == "nm" and not any(groups.values()):
        raise UsageError(
            "`format` nm needs a matrix with an N:M pattern that keeps at most half of its "
            f"weights, and {source} has none; give bitmask or csr, or prune with `pattern` 2:4."
        )
    packed: dict[str, Group | None] = {}
    if config.format != "dense":
        packed = {
            name: groups[name]
            for name, each in matrices.items()
            if _size(each, config.format, groups[name]) < each.nbytes
        }
    artifact = write_network(
        output,
        entries,
        description,
        sparse=packed,
        packing=config.format,
        groups={n: g for n, g in packed.items() if g is not None and config.format == "nm"},
        force=force,
    )
    return _result(
        source,
        tensors,
        packed,
        config,
        artifact,
        recorder,
        taken=taken,
        matrices=matrices,
        groups=groups,
    )


def _size(tensor: Tensor, packing: str, group: Group | None) -> int:
    if packing == "nm" and group is None:
        return tensor.nbytes
    return packed_bytes(tensor, packing, group)


def _pattern(description: Mapping[str, Any]) -> tuple[int, int] | None:
    """N and M, where a file of ours says that it was pruned so."""
    pruning = description.get("pruning")
    method = pruning.get("method") if isinstance(pruning, dict) else None
    for part in str(method).partition("+")[0].split("/")[1:]:
        try:
            return parse(part)
        except UsageError:
            continue
    return None


def _result(
    source: Path | str,
    tensors: Mapping[str, Tensor],
    packed: Mapping[str, Any],
    config: ExportConfig,
    artifact: Artifact,
    recorder: Recorder,
    *,
    taken: str = "",
    matrices: Mapping[str, Tensor] | None = None,
    groups: Mapping[str, Group | None] | None = None,
    checked: Sequence[Any] = (),
) -> ExportResult:
    if matrices is None:
        matrices = {name: each for name, each in tensors.items() if can_pack(each)}
    if groups is None:
        groups = {name: group_of(each) for name, each in matrices.items()}
    dense = sum(each.nbytes for each in tensors.values())
    return ExportResult(
        provenance=recorder.finish(),
        source=str(source),
        state=taken,
        format=config.format,
        artifact=artifact,
        tensors=len(tensors),
        matrices=len(matrices),
        packed=tuple(packed),
        entries=sum(each.numel() for each in matrices.values()),
        zeros=sum(int((each == 0).sum()) for each in matrices.values()),
        packings=tuple(_packing(name, matrices, groups, dense) for name in ("dense", *PACKINGS)),
        difference=checked[0] if checked else None,
        samples=checked[1] if checked else None,
    )


def _packing(
    packing: str, matrices: Mapping[str, Tensor], groups: Mapping[str, Group | None], dense: int
) -> PackingInfo:
    """Bytes of all tensors in this packing. Matrices that would be larger in it count unpacked."""
    if packing == "nm" and not any(groups.values()):
        return PackingInfo(name=packing, bytes=None, break_even=break_even(matrices, packing))
    saved = sum(
        max(0, each.nbytes - _size(each, packing, groups[name])) for name, each in matrices.items()
    )
    even = None if packing == "dense" else break_even(matrices, packing)
    return PackingInfo(name=packing, bytes=dense - saved, break_even=even)


def densify(
    checkpoint: Path,
    model: ModelConfig,
    run: RunConfig,
    output: Path,
    *,
    force: bool = False,
) -> ExportResult:
    """Write a packed checkpoint's weights to ``output`` as plain tensors, bit for bit the same.

    Raises:
        UsageError: the suffix is unknown.
        InputError: the checkpoint cannot be read.
        OutputError: ``output`` cannot be written.
    """
    recorder = Recorder("densify", run, model)
    check_suffix(output)
    check_writable(output, force=force)
    read = read_checkpoint(checkpoint, trust_pickle=model.trust_pickle)
    entries, taken = dense_state(read, model.key)
    description = {**_named(read), **kept_description(read)}
    return export_tensors(
        checkpoint,
        entries,
        description,
        ExportConfig(),
        output,
        recorder,
        taken=taken,
        force=force,
    )
