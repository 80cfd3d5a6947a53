"""``train``: network + data -> a self-describing checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from ..config import DataConfig, ModelConfig, RunConfig, TrainConfig
from ..inputs.formats import check_suffix, write_network
from ..inputs.load import Loaded, load, new
from ..progress import Progress, silent
from ..results.types import Dense, TrainResult
from ..storage.files import check_writable, resume_path
from ..storage.resume import claim_or_discard
from ..training import l1 as training
from .provenance import Recorder

__all__ = ["train", "train_loaded"]


def train(
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    config: TrainConfig,
    output: Path,
    *,
    start: Path | None = None,
    force: bool = False,
    resume: bool = False,
    progress: Progress = silent,
) -> TrainResult:
    """Train a fresh network, or that of the checkpoint ``start``, and write it to ``output``.

    The state after every epoch is kept at :func:`resume_path` until ``output`` is written. If there
    is one, ``resume`` goes on from it.

    Raises:
        OutputError: ``output`` or a state exists, and neither ``force`` nor ``resume`` says what
            to do with it.
        UsageError: no format is known by ``output``'s suffix.
    """
    recorder = Recorder("train", run, model, data, config)
    check_suffix(output)
    check_writable(output, force=force)
    state = resume_path(output)
    claim_or_discard(state, "training", resume=resume, force=force)
    loaded = new(model, data, run) if start is None else load(start, model, data, run)
    loaded, result = train_loaded(loaded, config, recorder, state=state, progress=progress)
    artifact = write_network(
        output, loaded.problem.model.state_dict(), loaded.description, force=force
    )
    state.unlink(missing_ok=True)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    return dataclasses.replace(
        result,
        provenance=recorder.finish(),
        model=dataclasses.replace(result.model, sha256=digest),
        artifact=artifact,
    )


def train_loaded(
    loaded: Loaded,
    config: TrainConfig,
    recorder: Recorder,
    *,
    state: Path | None = None,
    progress: Progress = silent,
) -> tuple[Loaded, TrainResult]:
    """Train the network of a problem in place; ``loaded`` with what was done in its description."""
    seed = loaded.problem.seed
    trained = training.train(
        loaded.problem, config, seed=seed, resume_path=state, progress=progress
    )
    description = {
        **loaded.description,
        "training": {**dataclasses.asdict(config), "seed": seed},
    }
    if "training" in loaded.description:  # the first training made the dense network
        description.setdefault("start", loaded.description["training"])
    result = TrainResult(
        provenance=recorder.finish(),
        model=loaded.model_info,
        data=loaded.data_info,
        dense=Dense(loss=trained.loss, accuracy=trained.accuracy),
        artifact=None,
        history=trained.history,
    )
    return dataclasses.replace(loaded, description=description), result
