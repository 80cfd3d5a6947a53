"""A network as ONNX: written by torch, and checked by a run in onnxruntime."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..results.types import Artifact
from ..storage.files import writing
from .extras import extra, quiet
from .plain import copied
from .problem import Problem
from .resolve import reason

__all__ = ["ONNX", "check_onnx", "write_onnx"]

ONNX = ".onnx"

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

SAMPLES = 16
"""Samples on which onnxruntime is compared with torch."""

CLOSE = 1e-3
"""Largest difference of outputs in float32, as a share of the largest output, at which the two
agree."""


def check_onnx() -> None:
    """Refuse where the packages are missing.

    Raises:
        UsageError: one of them is.
    """
    for name in PACKAGES:
        extra(name, "onnx")


def write_onnx(problem: Problem, path: Path, *, force: bool = False) -> tuple[Artifact, float, int]:
    """Write the network of ``problem`` to ``path``, for batches of any size.

    Returns:
        What was written; the largest difference of outputs between onnxruntime and torch, over the
        largest output; and on how many test samples.

    Raises:
        InputError: torch cannot export the network, or onnxruntime gives other outputs.
        OutputError: ``path`` cannot be written.
    """
    check_onnx()
    count = min(SAMPLES, len(problem.test))
    inputs = next(iter(problem.test.batches(count)))[0].cpu()
    network = copied(problem.model).cpu().eval()
    content = _exported(network, inputs)
    with torch.no_grad():
        expected = network(inputs)
    difference = _difference(content, inputs, expected)
    if not difference <= CLOSE:
        raise InputError(
            f"onnxruntime gives other outputs than torch for this network (they differ by "
            f"{difference:.1e} of the largest), so {path.name} was not written; export its weights "
            "as .safetensors or .pt instead."
        )
    with writing(path, force=force) as temporary:
        temporary.write_bytes(content)
    artifact = Artifact(path=str(path), format="onnx", bytes=len(content), bytes_dense=len(content))
    return artifact, difference, count


def _exported(network: nn.Module, inputs: torch.Tensor) -> bytes:
    file = io.BytesIO()
    try:
        with quiet(), torch.no_grad():
            found: Any = torch.onnx.export(
                network,
                (inputs,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["input"],
                output_names=["output"],
                verbose=False,
            )
            found.save(file)
    except Exception as error:
        raise InputError(
            f"torch cannot export this network to ONNX ({reason(error)}); export its weights as "
            ".safetensors or .pt instead."
        ) from error
    return file.getvalue()


def _difference(content: bytes, inputs: torch.Tensor, expected: torch.Tensor) -> float:
    """The difference of outputs, relative to the largest output, for all of the samples and for
    one."""
    runtime = extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    largest = 0.0
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for count in {1, len(inputs)}:
            (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs[:count].numpy()})
            apart = (torch.from_numpy(outputs) - expected[:count]).abs().max()
            largest = max(largest, float(apart / expected.abs().max().clamp(min=1e-30)))
    except Exception as error:
        raise InputError(
            f"onnxruntime cannot run this network ({reason(error)}); export its weights as "
            ".safetensors or .pt instead."
        ) from error
    return largest
