"""``regime``: pruned networks trained from several seeds -> the regime of pruning they are in.

Source: Zhou, Yang, Chang, Mahoney 2023, "A Three-regime Model of Network Pruning" (ICML).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import DataConfig, ModelConfig, RegimeConfig, RunConfig
from ..errors import InputError, UsageError
from ..inputs.load import Loaded, load
from ..inputs.problem import evaluate
from ..measurement.connectivity import POINTS, connectivity
from ..measurement.similarity import cka, outputs_of
from ..progress import Progress, silent
from ..results.types import LinePoint, RegimeNetwork, RegimePair, RegimeResult, Temperature
from .provenance import Recorder

__all__ = ["FEWEST", "regime", "regime_loaded"]

FEWEST = (
    "The regime needs at least two networks of one architecture, pruned alike and trained from "
    "different seeds; give another network."
)

ADVICE = {
    "I": "The networks lie in separate valleys. Train the dense network hotter before pruning: a "
    "larger `lr`, a smaller `train_batch_size`, fewer `epochs`. Or remove less.",
    "II-A": "The networks lie in one valley but answer differently. Train the dense network cooler "
    "before pruning: train longer, with a smaller `lr` or a larger `train_batch_size`.",
    "II-B": "The networks lie in one valley and answer alike. As far as this "
    "model goes, the training suits this sparsity.",
}
"""Advice by regime: the changes that Zhou et al. 2023 found to help."""

SAME_DENSITY = 0.01
"""Densities that differ by less than this share of the larger one count as one. A weight that is
trained may end at exactly zero."""

FEWEST_SAMPLES = 20
"""Fewest samples from whose outputs a similarity can be read."""

MUCH = 0.1
"""With a larger training error, a line between networks says little."""

SAME_TRAINING = ("lr", "momentum", "train_batch_size", "epochs", "weight_decay", "l1")


def regime(
    checkpoints: Sequence[Path],
    model: ModelConfig,
    data: DataConfig,
    run: RunConfig,
    config: RegimeConfig,
    *,
    progress: Progress = silent,
) -> RegimeResult:
    """The regime of the networks of ``checkpoints``.

    Raises:
        UsageError: fewer than two are given.
        InputError: they are not of one architecture, one density and one data set, or two are the
            same network.
    """
    if len(checkpoints) < 2:
        raise UsageError(FEWEST)
    recorder = Recorder("regime", run, model, data, config)
    loaded = [load(path, model, data, run) for path in checkpoints]
    names = [str(path) for path in checkpoints]
    return regime_loaded(loaded, names, config, recorder, progress=progress)


def regime_loaded(
    loaded: Sequence[Loaded],
    names: Sequence[str],
    config: RegimeConfig,
    recorder: Recorder,
    *,
    progress: Progress = silent,
) -> RegimeResult:
    """:func:`regime` for networks that are loaded already, called ``names``."""
    if len(loaded) < 2:
        raise UsageError(FEWEST)
    _require_alike(loaded, names)
    problems = [
        dataclasses.replace(
            each.problem, train=each.problem.train.subset(config.samples, loaded[0].problem.seed)
        )
        for each in loaded
    ]
    count = len(problems[0].train)
    if count < FEWEST_SAMPLES:
        raise UsageError(
            f"The regime needs at least {FEWEST_SAMPLES} training samples, and there are {count}; "
            "raise `samples`."
        )
    networks = tuple(_network(each, name) for each, name in zip(loaded, names, strict=True))
    _require_one_density(networks)
    dense = [evaluate(problem, problem.train) for problem in problems]
    if not all(each.points for each in dense):
        raise UsageError(
            "The regime needs a metric from 0 to 1, and the metric of these data is not; give "
            "another `metric`."
        )
    outputs = [outputs_of(problem, problems[0].train) for problem in problems]
    pairs = list(itertools.combinations(range(len(problems)), 2))
    found = []
    for done, (first, second) in enumerate(pairs):

        def on_place(place: int, before: int = done * POINTS) -> None:
            progress("lines", before + place, len(pairs) * POINTS)

        line = connectivity(problems[first], problems[second], on_place=on_place)
        found.append(
            RegimePair(
                first=names[first],
                second=names[second],
                connectivity=line.value,
                similarity=cka(outputs[first], outputs[second]),
                line=tuple(LinePoint(**dataclasses.asdict(place)) for place in line.places),
            )
        )
    connected = sum(each.connectivity for each in found) / len(found)
    similar = sum(each.similarity for each in found) / len(found)
    name = _named(connected, similar, config)
    networks = tuple(
        dataclasses.replace(each, accuracy=evaluate(one.problem, one.problem.test).accuracy)
        for one, each in zip(loaded, networks, strict=True)
    )
    return RegimeResult(
        provenance=recorder.finish(),
        model=loaded[0].model_info,
        data=dataclasses.replace(loaded[0].data_info, samples=len(problems[0].train)),
        regime=name,
        connectivity=connected,
        similarity=similar,
        density=sum(each.density for each in networks) / len(networks),
        networks=networks,
        pairs=tuple(found),
        advice=ADVICE[name],
        notes=(*_constant(outputs, names), *_wrong(found), *_notes(loaded, networks)),
    )


def _named(connected: float, similar: float, config: RegimeConfig) -> str:
    if connected < -config.barrier:
        return "I"
    return "II-B" if similar >= config.similar else "II-A"


def _require_alike(loaded: Sequence[Loaded], names: Sequence[str]) -> None:
    """Refuse networks between which there is no line, or no line that says anything."""
    states = [each.problem.model.state_dict() for each in loaded]
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in states]
    for shape, name in zip(shapes, names, strict=True):
        if shape != shapes[0]:
            odd = next(
                each for each in {**shape, **shapes[0]} if shape.get(each) != shapes[0].get(each)
            )
            raise InputError(
                f"{name} has another architecture than {names[0]} ({odd} differs); give networks "
                "of one architecture."
            )
    data = [
        (each.data_info.spec, each.data_info.test_samples, len(each.problem.train))
        for each in loaded
    ]
    for own, name in zip(data, names, strict=True):
        if own != data[0]:
            raise InputError(f"{name} has other data than {names[0]}; name one data set for both.")
    for first, second in itertools.combinations(range(len(loaded)), 2):
        if torch.equal(loaded[first].problem.vector(), loaded[second].problem.vector()):
            raise InputError(
                f"{names[second]} holds the same weights as {names[first]}; give networks trained "
                "from different seeds."
            )


def _require_one_density(networks: Sequence[RegimeNetwork]) -> None:
    """Refuse networks that are pruned to different sparsities. A regime belongs to one sparsity."""
    least = min(networks, key=lambda each: each.density)
    most = max(networks, key=lambda each: each.density)
    if most.density - least.density > SAME_DENSITY * most.density:
        raise InputError(
            f"{most.name} keeps {100 * most.density:.1f}% of its prunable weights and "
            f"{least.name} keeps {100 * least.density:.1f}%. A regime belongs to one density; "
            "give networks that are pruned alike."
        )


def _network(loaded: Loaded, name: str) -> RegimeNetwork:
    """The network as its file describes it; the accuracy comes later."""
    problem = loaded.problem
    weights = problem.vector()[problem.prunable_mask()]
    return RegimeNetwork(
        name=name,
        density=float((weights != 0).cpu().double().mean()),
        accuracy=math.nan,
        temperature=_temperature(loaded.description),
    )


def _temperature(description: Mapping[str, Any]) -> Temperature | None:
    """The temperature of the training that made the dense network, as far as the file says."""
    said = description.get("start", description.get("training"))
    if not isinstance(said, Mapping):
        return None
    values = {name: said.get(name) for name in SAME_TRAINING}
    if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in values.values()):
        return None
    if not (values["train_batch_size"] >= 1 and 0 <= values["momentum"] < 1):  # type: ignore[operator]
        return None
    noise = values["lr"] / (values["train_batch_size"] * (1 - values["momentum"]))  # type: ignore[operator]
    return Temperature(
        lr=float(values["lr"]),  # type: ignore[arg-type]
        batch_size=int(values["train_batch_size"]),  # type: ignore[arg-type]
        epochs=int(values["epochs"]),  # type: ignore[arg-type]
        noise=float(noise),
    )


def _constant(outputs: Sequence[Tensor], names: Sequence[str]) -> tuple[str, ...]:
    """Notes on networks whose outputs are constant."""
    return tuple(
        f"{name} gives every sample the same answer, so its regime says nothing; remove fewer "
        "weights."
        for each, name in zip(outputs, names, strict=True)
        if len(each.argmax(1).unique()) == 1 and each.shape[1] > 1
    )


def _wrong(pairs: Sequence[RegimePair]) -> tuple[str, ...]:
    """A note if the networks are too inaccurate for a line between them to mean much."""
    ends = [place.error for pair in pairs for place in (pair.line[0], pair.line[-1])]
    error = sum(ends) / len(ends)
    if error <= MUCH:
        return ()
    return (
        f"The networks get {100 * error:.0f}% of the training samples wrong, so the error on the "
        "line between them says little; remove fewer weights, or train again for longer.",
    )


def _notes(loaded: Sequence[Loaded], networks: Sequence[RegimeNetwork]) -> tuple[str, ...]:
    """Reasons not to read too much into the regime."""
    notes = []
    masks = [each.problem.vector()[each.problem.prunable_mask()] != 0 for each in loaded]
    if not all(torch.equal(mask, masks[0]) for mask in masks):
        notes.append(
            "The zeros are not the same in all networks. The model of regimes is about networks "
            "with one mask that are trained again from different seeds."
        )
    if all(bool(mask.all()) for mask in masks):
        notes.append("None of the networks is pruned.")
    if len({each.temperature for each in networks}) > 1:
        notes.append("The networks were pruned from dense ones that were trained differently.")
    if any(each.temperature is None for each in networks):
        notes.append("The files do not all say how the dense network was trained.")
    return tuple(notes)
