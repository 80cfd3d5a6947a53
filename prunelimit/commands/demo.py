"""``demo``: the whole story on data that need no download."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..commands.spectrum import spectrum
from ..config import (
    CheckConfig,
    CurvatureConfig,
    DataConfig,
    LimitConfig,
    MeasureConfig,
    ModelConfig,
    PruneConfig,
    ReportConfig,
    RunConfig,
    SharpnessConfig,
    TrainConfig,
)
from ..errors import OutputError
from ..inputs.load import load
from ..limit.reliability import judge_one_shot
from ..progress import Progress, silent
from ..reports.figure import draw
from ..results.serialization import to_json
from ..results.types import DemoResult, MeasureResult
from ..storage.files import write_json
from .check import check_results
from .measure import measure_loaded
from .predict import predict_loaded
from .provenance import Recorder
from .prune import prune_loaded
from .report import report_results
from .train import train

__all__ = ["demo"]

MODEL = ModelConfig(model="lenet-300-100")
DATA = DataConfig(data="digits")
TRAIN = TrainConfig(l1=3e-4, epochs=120, train_batch_size=64)
CURVATURE = CurvatureConfig(samples=0)
LIMIT = LimitConfig()
PRUNE = PruneConfig(amount="auto")
FIXED = MeasureConfig()
TRAINED = MeasureConfig(survivors="trained")
CHECK = CheckConfig()


def demo(
    directory: Path, *, force: bool = False, seed: int = 0, progress: Progress = silent
) -> DemoResult:
    """Train, predict, prune, measure and compare a small network on the handwritten digits.

    Everything is made in a hidden folder beside ``directory`` and moved there at the end.

    Raises:
        OutputError: ``directory`` holds something and ``force`` was not given, or cannot be made.
    """
    recorder = Recorder("demo", RunConfig(seed=seed), MODEL, DATA, TRAIN)
    with _whole(directory, force=force) as folder, _one_thread():
        return _tell(folder, directory, RunConfig(seed=seed), recorder, progress)


def _tell(
    folder: Path, directory: Path, run: RunConfig, recorder: Recorder, progress: Progress
) -> DemoResult:
    dense = folder / "lenet.safetensors"
    trained = train(MODEL, DATA, run, TRAIN, dense, progress=progress)
    own = (ModelConfig(), DataConfig())
    curvature = spectrum(dense, *own, run, CURVATURE, SharpnessConfig(), progress=progress)
    loaded = load(dense, *own, run)

    def recording(command: str, *configs: Any) -> Recorder:
        return Recorder(command, run, *own, *configs)

    predicted = predict_loaded(
        loaded, CURVATURE, LIMIT, recording("predict", CURVATURE, LIMIT), progress=progress
    )
    expected = predicted.one_shot
    assert expected is not None
    cut, sparse = (
        prune_loaded(
            loaded,
            config,
            expected.sparsity,
            folder / name,
            recording("prune", CURVATURE, LIMIT, config),
            reliability=judge_one_shot(expected, predicted.reliability.path),
        )
        for name, config in (
            ("pruned.safetensors", PRUNE),
            ("pruned-sparse.safetensors", dataclasses.replace(PRUNE, sparse=True)),
        )
    )
    fixed, moved = (
        measure_loaded(loaded, config, recording("measure", config), progress=progress)
        for config in (FIXED, TRAINED)
    )
    verdict = check_results(predicted, moved, CHECK)
    trained, cut, sparse = (_moved(each, directory) for each in (trained, cut, sparse))
    draw("spectrum", curvature, path=folder / "spectrum.png")
    draw("limit", predicted, path=folder / "limit.png")
    draw("measure", fixed, moved, predicted, path=folder / "measure.png")
    documents: dict[str, Any] = {
        "train": trained,
        "spectrum": curvature,
        "predict": predicted,
        "prune": cut,
        "measure-fixed": fixed,
        "measure-trained": moved,
        "check": verdict,
    }
    named = [(f"{name}.json", result) for name, result in documents.items()]
    report_results(named, ReportConfig(), folder / "report.html")
    for name, result in documents.items():
        write_json(folder / f"{name}.json", to_json(result), force=False)
    assert cut.artifact is not None and verdict.agreement is not None
    assert sparse.artifact is not None
    result = DemoResult(
        provenance=recorder.finish(),
        model=predicted.model,
        data=predicted.data,
        directory=str(directory),
        files=tuple(sorted([*(path.name for path in folder.iterdir()), "demo.json"])),
        dense=predicted.dense,
        predicted=predicted.limit.sparsity,
        interval=predicted.limit.interval,
        fixed=fixed.thresholds,
        trained=moved.thresholds,
        trained_accuracy=_accuracy_at_the_end(moved),
        pruned_sparsity=cut.sparsity,
        pruned_accuracy=cut.accuracy_after,
        artifact=cut.artifact,
        sparse_artifact=sparse.artifact,
        difference_pp=verdict.agreement.difference_pp,
        tolerance_pp=verdict.agreement.tolerance_pp,
        passed=verdict.passed,
        reliability=predicted.reliability,
        one_shot=predicted.one_shot,
    )
    write_json(folder / "demo.json", to_json(result), force=False)
    return result


def _moved(result: Any, directory: Path) -> Any:
    """The result with its artifact where it will lie in the end."""
    path = directory / Path(result.artifact.path).name
    return dataclasses.replace(
        result, artifact=dataclasses.replace(result.artifact, path=str(path))
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and on a busy machine lose most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _whole(directory: Path, *, force: bool) -> Iterator[Path]:
    """A folder to work in, whose files become those of ``directory`` when all went well."""
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory} is a file; name a folder to leave the demonstration in.")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise OutputError(f"{directory} is not empty; give `force` to write into it all the same.")
    whole = directory.resolve()
    work = whole.with_name(f".{whole.name}.{os.getpid()}")
    try:
        work.mkdir()
    except OSError as error:
        raise OutputError(
            f"The folder {directory} cannot be made ({error.strerror}); choose a place where you "
            "may write."
        ) from error
    try:
        yield work
        directory.mkdir(exist_ok=True)
        for path in sorted(work.iterdir()):
            path.replace(directory / path.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _accuracy_at_the_end(found: MeasureResult) -> float | None:
    """Test accuracy of the sparsest network that keeps the loss, where it is on the curve."""
    ends = [each.sparsity for each in found.thresholds if each.rule == "feasibility"]
    return next((point.accuracy for point in found.curve if point.sparsity in ends), None)
