"""``history``: a folder of checkpoints or predictions -> how sparse each could be made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import (
    Config,
    CurvatureConfig,
    DataConfig,
    HistoryConfig,
    LimitConfig,
    ModelConfig,
    RunConfig,
    stage_of,
)
from ..errors import InputError, UsageError, shown
from ..inputs.checkpoint import digest
from ..progress import Progress, silent
from ..results.history import HistoryPoint, HistoryResult
from ..results.serialization import to_json
from ..results.soundness import read
from ..results.types import PredictResult
from ..storage.checkpoints import SUFFIXES, Numbered, checkpoints, in_order, numbered
from ..storage.files import check_writable, read_json, write_json
from .predict import predict
from .provenance import Recorder

__all__ = ["history"]

NO_MATTER = ("batch_size", "workers", "device", "cache")
"""Options of a run that change the numbers not at all, or hardly."""


def history(
    directory: Path,
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    curvature: CurvatureConfig,
    limit: LimitConfig,
    config: HistoryConfig,
    *,
    force: bool = False,
    progress: Progress = silent,
) -> HistoryResult:
    """The predictions for every checkpoint in ``directory``, in order.

    If the folder has a prediction of a checkpoint by the same options, as JSON, it is read and not
    made again. A prediction whose checkpoint is gone is read too. With ``config.keep`` each new
    prediction is written as NAME.predict.json at once. So the same call goes on where one was
    interrupted. A file that cannot be read is left out and named.

    Raises:
        InputError: there is nothing in the folder, none of it can be read, or the checkpoints are
            of different networks or data.
        OutputError: a prediction by other options has the name that one is to be kept by, and
            ``force`` is not given.
        UsageError: a value makes no sense, or no network or data are named.
    """
    recorder = Recorder("history", run, model, data, curvature, limit, config)
    files = checkpoints(directory)
    made, broken = _predictions(directory)
    if not files and not made and not broken:
        raise InputError(
            f"{directory} has no checkpoint ({', '.join(SUFFIXES)}) and no prediction; give the "
            "folder that holds them."
        )
    wanted = _wanted(model, data, run, curvature, limit)
    sums, left_out = _sums(files)
    left_out = [*broken, *left_out]
    known = {path: _known(made, sha, wanted) for path, sha in sums.items()}
    if config.keep:
        for path in sums:
            if known[path] is None:
                check_writable(_beside(path), force=force)
    found: list[tuple[Numbered, PredictResult, bool]] = []
    for number, path in enumerate(sums):
        progress("predicting checkpoints", number, len(sums), path.name)
        result = known[path]
        if result is None:
            try:
                result = predict(path, model, data, run, curvature, limit, progress=progress)
            except UsageError:
                raise
            except InputError as error:
                left_out.append(f"{path.name}: {error}")
                continue
            if config.keep:
                write_json(_beside(path), to_json(result), force=force)
        found.append((numbered(path), result, known[path] is not None))
    gone = set(sums.values())
    found += [
        (numbered(path), result, True)
        for path, result in made
        if result.model.sha256 is None or result.model.sha256 not in gone
    ]
    if not found:
        raise InputError(f"No checkpoint in {directory} can be read: {left_out[0]}")
    return _history(directory, found, left_out, recorder)


def _predictions(directory: Path) -> tuple[list[tuple[Path, PredictResult]], list[str]]:
    """Results of predict in a folder, and files that cannot be read, with the reason. The latter
    are named as predictions are, or have a schema of another version. Other JSON is not ours."""
    found, broken = [], []
    for path in sorted(directory.glob("*.json")):
        try:
            document = read_json(path)
        except InputError as error:
            if path.name.endswith("predict.json"):
                broken.append(str(error))
            continue
        if not str(document.get("schema")).startswith(PredictResult.SCHEMA.partition("/")[0] + "/"):
            continue
        try:
            found.append((path, read(PredictResult, document, path.name)))
        except InputError as error:
            broken.append(str(error))
    return found, broken


def _sums(files: Iterable[Path]) -> tuple[dict[Path, str], list[str]]:
    """The sha256 of every checkpoint, each once, and the files left out, with the reason."""
    sums: dict[Path, str] = {}
    left_out = []
    for path in sorted(files, key=_preferred):
        try:
            sha = digest(path)
        except InputError as error:
            left_out.append(f"{path.name}: {error}")
            continue
        twin = next((each for each, other in sums.items() if other == sha), None)
        if twin is None:
            sums[path] = sha
        else:
            left_out.append(f"{path.name}: it has the same content as {twin.name}")
    return sums, left_out


def _preferred(path: Path) -> tuple[bool, str]:
    """Key for choosing between two files that are the same: a name with a number says more than
    ``last.ckpt``."""
    return numbered(path).number is None, path.name


def _wanted(model: ModelConfig, *configs: Config) -> dict[str, Any]:
    return {stage_of(type(each)): each.echo() for each in (model, *configs)}


def _known(
    made: Sequence[tuple[Path, PredictResult]], sha256: str, wanted: Mapping[str, Any]
) -> PredictResult | None:
    """The prediction of that checkpoint by these options, if it is there and was finished."""
    for _, result in made:
        finished = result.curvature.ended != "interrupted"
        if result.model.sha256 == sha256 and finished and _same(result, wanted):
            return result
    return None


def _same(result: PredictResult, wanted: Mapping[str, Any]) -> bool:
    return all(
        _telling(result.provenance.config.get(stage, {})) == _telling(options)
        for stage, options in wanted.items()
    )


def _telling(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in NO_MATTER}


def _beside(path: Path) -> Path:
    return path.parent / f"{path.name}.predict.json"


def _history(
    directory: Path,
    found: Sequence[tuple[Numbered, PredictResult, bool]],
    left_out: Sequence[str],
    recorder: Recorder,
) -> HistoryResult:
    first = found[0][1]
    for at, result, _ in found:
        if result.model.prunable != first.model.prunable or result.data.spec != first.data.spec:
            raise InputError(
                f"{at.path.name} has {result.model.prunable:,} prunable weights on "
                f"{shown(result.data.spec)}, but {found[0][0].path.name} has "
                f"{first.model.prunable:,} on {shown(first.data.spec)}; give a folder of one "
                "network's checkpoints."
            )
    order, places = in_order([at for at, _, _ in found])
    by_path = {at.path: (result, kept) for at, result, kept in found}
    points = tuple(_point(at, *by_path[at.path]) for at in places)
    last = by_path[places[-1].path][0]
    return HistoryResult(
        provenance=recorder.finish(),
        model=last.model,
        data=last.data,
        directory=str(directory),
        order=order,
        points=points,
        left_out=tuple(left_out),
        notes=tuple(_notes([result for _, result, _ in found], order)),
    )


def _notes(results: Sequence[PredictResult], order: str) -> list[str]:
    notes = []
    settings = {repr([_telling(r.provenance.config.get(s, {})) for s in ("limit", "curvature")])
                for r in results}  # fmt: skip
    if len(settings) > 1:
        notes.append("The predictions were made with different options: compare them with care.")
    if order == "time":
        notes.append(
            "Some file names have no number, so the files are in the order of their times."
        )
    return notes


def _point(at: Numbered, result: PredictResult, kept: bool) -> HistoryPoint:
    plain, limit, told = result.one_shot, result.limit, result.reliability
    return HistoryPoint(
        name=at.path.name,
        epoch=at.epoch,
        step=at.step,
        sha256=result.model.sha256,
        accuracy=result.dense.accuracy,
        loss=result.dense.loss,
        epsilon=result.epsilon.value,
        plain=None if plain is None else plain.sparsity,
        plain_interval=None if plain is None else plain.interval,
        limit=limit.sparsity,
        limit_interval=limit.interval,
        reliable=told.ok,
        reason=next(iter(told.reasons), None),
        kept=kept,
    )
