"""The cache: it changes no number, and believes nothing that is not whole and its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import prunelimit as pl
from prunelimit.errors import OutputError
from prunelimit.inputs import identity, problem
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import evaluate
from prunelimit.storage.cache import SUFFIX, Cache

DRAWS = torch.Generator().manual_seed(0)
DATA = torch.randn(300, 6, generator=DRAWS), torch.randint(3, (300,), generator=DRAWS)


def made(cache: Path | None, seed: int = 0, **options: Any) -> problem.Problem:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return problem_from_module(
        network, DATA, DATA, cache=None if cache is None else str(cache), **options
    )


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


@pytest.mark.parametrize("curvatures", [False, True])
def test_an_evaluation_is_the_same_without_with_and_again(curvatures: bool, tmp_path: Path) -> None:
    plain = evaluate(made(None), made(None).train, curvatures=curvatures)
    for _ in range(2):
        found = made(tmp_path)
        kept = evaluate(found, found.train, curvatures=curvatures)
        assert np.array_equal(kept.losses, plain.losses)
        assert np.array_equal(kept.correct, plain.correct) and kept.points == plain.points
        assert (kept.curvatures is None) == (not curvatures)
        if curvatures:
            assert np.array_equal(kept.curvatures, plain.curvatures)
    assert len(files(tmp_path)) == 1


def test_what_is_kept_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(tmp_path, batch_size=10)
    evaluate(found, found.train, curvatures=True)
    told: list[int] = []
    evaluate(found, found.train, on_batch=told.append)
    assert told == []
    # Curvatures that are not there are a reason to compute.
    monkeypatch.setattr(identity, "environment", identity.environment)
    other = made(tmp_path, seed=1)
    evaluate(other, other.train)
    evaluate(other, other.train, curvatures=True, on_batch=told.append)
    assert told


CHANGES: dict[str, Callable[[problem.Problem], Any]] = {
    "a weight": lambda found: found.model[0].weight.data.add_(1e-3),
    "a buffer": lambda found: found.model[1].running_mean.add_(1e-3),
    "an attribute": lambda found: setattr(found.model[1], "eps", 0.5),
    "a layer": lambda found: setattr(found.model, "2", nn.Tanh()),
    "a sample": lambda found: found.train._inputs[7].add_(1),
    "a target": lambda found: found.train.targets[7].add_(1).remainder_(3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_is_seen(change: str, tmp_path: Path) -> None:
    found = made(tmp_path)
    evaluate(found, found.train)
    CHANGES[change](found)
    plain = evaluate(problem.dataclasses.replace(found, cache=None), found.train)
    assert np.array_equal(evaluate(found, found.train).losses, plain.losses)
    assert len(files(tmp_path)) == 2


def test_options_that_may_change_a_bit_have_entries_of_their_own(tmp_path: Path) -> None:
    for options in ({}, {"batch_size": 7}, {"dtype": "float64"}, {"loss": lambda o, t: o.sum(1)}):
        found = made(tmp_path, **options)
        evaluate(found, found.train)
    assert len(files(tmp_path)) == 4


def test_code_that_no_hash_sees_is_noticed_by_the_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = made(tmp_path)
    evaluate(found, found.train)
    relu = torch.nn.functional.relu
    monkeypatch.setattr(torch.nn.functional, "relu", lambda x, inplace=False: relu(x) * 1.5)
    plain = evaluate(problem.dataclasses.replace(found, cache=None), found.train)
    assert np.array_equal(evaluate(found, found.train).losses, plain.losses)
    assert "the network gives something else now" in caplog.text


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "a bit": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "text": lambda content: b"nothing of ours",
    "longer": lambda content: content + b"0",
    "a pickle": lambda content: b"\x80\x04cos\nsystem\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_thrown_away_with_a_word(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = made(tmp_path)
    plain = evaluate(found, found.train)
    (path,) = files(tmp_path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert np.array_equal(evaluate(found, found.train).losses, plain.losses)
    assert "is thrown away" in caplog.text and str(path) in caplog.text
    caplog.clear()
    evaluate(found, found.train)
    assert not caplog.text


def test_a_file_of_another_key_is_not_believed(tmp_path: Path) -> None:
    first, second = made(tmp_path), made(tmp_path, seed=1)
    plain = evaluate(second, second.train).losses
    (own,) = files(tmp_path)
    evaluate(first, first.train)
    (other,) = set(files(tmp_path)) - {own}
    own.write_bytes(other.read_bytes())
    assert np.array_equal(evaluate(second, second.train).losses, plain)


def test_the_folder_stays_small_and_others_files_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    cache = Cache(tmp_path, most=3_000)
    for number in range(8):
        cache.put(str(number), {"x": torch.full((100,), float(number))})
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 3_000
    assert cache.get("7") is not None and cache.get("0") is None
    assert (tmp_path / "mine.txt").read_text() == "mine"
    cache.put("large", {"x": torch.zeros(10_000)})
    assert cache.get("large") is None


def test_writers_beside_each_other_leave_whole_files(tmp_path: Path) -> None:
    def work(number: int) -> bool:
        cache = Cache(tmp_path)
        for turn in range(10):
            cache.put("same", {"x": torch.full((500,), float(number))})
            found = cache.get("same")
            if turn == 5 and number == 0:
                for path in files(tmp_path):
                    path.unlink(missing_ok=True)
            if found is not None and len(found["x"].unique()) != 1:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert not list(tmp_path.glob("*.new"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"The cache .* cannot be made"):
        Cache(tmp_path / "file" / "below")


def test_commands_say_the_same_with_it(
    prunelimit: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    quick = ("--steps", "8", "--directional-steps", "6", "--samples", "64", "--json", "-q")

    def shorn(document: Any) -> Any:
        if isinstance(document, dict):
            left = ("created", "wall_seconds", "peak_bytes", "cache")
            kept = {k: v for k, v in document.items() if k not in left and "seconds" not in k}
            return {name: shorn(each) for name, each in kept.items()}
        return [shorn(each) for each in document] if isinstance(document, list) else document

    for command in (
        ("predict", trained, *quick),
        ("measure", trained, "--sparsities", "0.5", "--json", "-q"),
        ("prune", trained, "--amount", "0.5", "--json", "-q", "--force", "-o", "p.pt"),
    ):
        plain = prunelimit(*command).document
        for _ in range(2):
            outcome = prunelimit(*command, "--cache", tmp_path / "kept")
            assert outcome.code == 0, outcome.stderr
            assert json.dumps(shorn(outcome.document)) == json.dumps(shorn(plain))
    assert len(files(tmp_path / "kept")) >= 2


def test_functions_take_it_too(tmp_path: Path) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(6, 3)

    found = [
        pl.measure(pl.Problem(network(), DATA, DATA, cache=cache), sparsities="0.5").curve
        for cache in (None, tmp_path, tmp_path)
    ]
    assert found[0] == found[1] == found[2] and files(tmp_path)
