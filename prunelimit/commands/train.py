"""``train``: network + data -> a self-describing checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..config import DataConfig, ModelConfig, RunConfig, TrainConfig
from ..inputs.checkpoint import read_checkpoint, write_checkpoint
from ..inputs.load import new
from ..progress import Progress, silent
from ..results.types import Dense, TrainResult
from ..storage.files import check_writable, resume_path
from ..storage.resume import settle
from ..training import l1 as training
from .provenance import Recorder

__all__ = ["train"]


def train(
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    config: TrainConfig,
    output: Path,
    *,
    force: bool = False,
    resume: bool = False,
    progress: Progress = silent,
) -> TrainResult:
    """Train a fresh network and write it to ``output``.

    The state after every epoch lies at :func:`resume_path` until ``output`` is written; ``resume``
    goes on from it when there is one.

    Raises:
        OutputError: ``output`` or a state exists, and neither ``force`` nor ``resume`` says what
            to do with it.
    """
    recorder = Recorder("train", run, model, data, config)
    check_writable(output, force=force)
    state = resume_path(output)
    settle(state, "training", resume=resume, force=force)
    loaded = new(model, data, run)
    trained = training.train(
        loaded.problem, config, seed=run.seed, resume_path=state, progress=progress
    )
    description = {
        **loaded.description,
        "training": {**dataclasses.asdict(config), "seed": run.seed},
    }
    artifact = write_checkpoint(output, loaded.problem.model.state_dict(), description, force=force)
    state.unlink(missing_ok=True)
    written = read_checkpoint(output)
    return TrainResult(
        provenance=recorder.finish(),
        model=dataclasses.replace(loaded.model_info, sha256=written.sha256),
        data=loaded.data_info,
        dense=Dense(loss=trained.loss, accuracy=trained.accuracy),
        artifact=artifact,
        history=trained.history,
    )
