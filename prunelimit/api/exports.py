"""Networks written for others, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..commands.export import check_export, dense_state, export_problem, export_tensors
from ..commands.export import export as export_file
from ..commands.provenance import Recorder
from ..config import DataConfig, ExportConfig, ModelConfig, RunConfig
from ..errors import UsageError
from ..inputs.checkpoint import read_checkpoint
from ..inputs.onnx import ONNX
from ..results.types import ExportResult
from ..storage.files import check_writable
from .networks import PrunedNetwork, TrainedNetwork
from .options import configured, takes
from .problem import Problem, recorder, tensors_of

__all__ = ["densify", "export"]


@takes(ExportConfig)
def export(
    source: Problem | PrunedNetwork | TrainedNetwork | str | Path,
    path: str | Path,
    *,
    force: bool = False,
    **options: Any,
) -> ExportResult:
    """Write a network, pruned or not, in a format that others read.

    Weights stay what they are, bit for bit. The suffix of ``path`` says the format:
    ``.safetensors``, ``.pt``, ``.pth``, ``.pt.gz`` or ``.onnx``. Before a network is written as
    ONNX it is run in onnxruntime.

    Args:
        source: A problem, what :func:`prune` or :func:`train` gave, or a checkpoint's path.
        path: The file.
        force: Replace a file that is there.

    Returns:
        ``artifact`` has the bytes of the file and of the dense one. ``packings`` has the bytes and
        the break-even sparsity of each way to store matrices.

    Raises:
        UsageError: the suffix is unknown, does not go with ``format``, or the masks do not.
        InputError: a checkpoint cannot be read, or onnxruntime gives other outputs than torch.
        OutputError: the file is there and ``force`` is not given, or it cannot be written.
        TypeError: there is no such argument.

    Example:

    >>> import tempfile
    >>> import torch
    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> pruned = pl.prune(problem, 0.9)
    >>> folder = tempfile.TemporaryDirectory()
    >>> found = pl.export(pruned, f"{folder.name}/small.pt", format="bitmask")
    >>> found.artifact.bytes < found.artifact.bytes_dense / 4
    True
    >>> state = pl.densify(f"{folder.name}/small.pt")
    >>> all(torch.equal(each, state[name]) for name, each in pruned.state_dict().items())
    True
    """
    config, path = configured(ExportConfig, options), Path(path)
    if isinstance(source, (str, Path)):
        return export_file(
            Path(source), ModelConfig(), DataConfig(), RunConfig(), config, path, force=force
        )
    check_export(path, config)
    check_writable(path, force=force)
    onnx = path.suffix.lower() == ONNX
    if isinstance(source, TrainedNetwork):
        source = source.problem
    if isinstance(source, PrunedNetwork):
        if onnx:
            raise UsageError(
                "To write ONNX the network is run on data, and a pruned network alone has none; "
                "give pl.Problem(pruned.model, train, test), or the checkpoint that save() writes."
            )
        record = Recorder("export", RunConfig(), config)
        name, entries, description = "module", source.state_dict(), source.description
    elif isinstance(source, Problem):
        record = recorder("export", source, config)
        if onnx:
            return export_problem(source.loaded, config, path, record, force=force)
        loaded = source.loaded
        name, entries, description = loaded.model_info.spec, tensors_of(source), loaded.description
    else:
        raise UsageError(
            f"`source` is a {type(source).__name__}; give a problem, a pruned network or the path "
            "of a checkpoint."
        )
    return export_tensors(name, entries, description, config, path, record, force=force)


def densify(path: str | Path, *, key: str | None = None) -> dict[str, Any]:
    """The weights of a checkpoint, packed or not, as plain tensors on the CPU, by name.

    Args:
        path: A checkpoint that :func:`export` wrote, or any other that the commands read.
        key: The place of the state_dict in the file, if there are several.

    Raises:
        InputError: it cannot be read, or is not whole.

    Example:

    >>> import tempfile
    >>> import prunelimit as pl
    >>> problem = pl.Problem.new(model="lenet-300-100", data="digits")
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = f"{folder.name}/rows.safetensors"
    >>> file = pl.export(pl.prune(problem, 0.9), path, format="csr").artifact
    >>> pl.densify(path)["layers.0.weight"].shape
    torch.Size([300, 64])
    """
    return dense_state(read_checkpoint(path), key)[0]
