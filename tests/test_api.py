"""The library as ``import prunelimit`` gives it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import prunelimit as pl
from prunelimit.errors import InputError, OutputError, UsageError
from prunelimit.inputs import loaders

ROOT = Path(__file__).parents[1]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


INPUTS = draw(0, 300, 6)
TARGETS = (INPUTS[:, 0] + INPUTS[:, 1] ** 2 > 0.5).long()
DATA = INPUTS, TARGETS

FEW: dict[str, Any] = {"samples": 0, "steps": 8, "probes": 1}


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return pl.train(pl.Problem(network(), DATA, DATA), epochs=10, l1=1e-4).model


@pytest.fixture(scope="module")
def problem(model: nn.Module) -> pl.Problem:
    return pl.Problem(model, DATA, DATA)


@pytest.fixture(scope="module")
def predicted(problem: pl.Problem) -> Any:
    return pl.predict(problem, **FEW)


@pytest.fixture(scope="module")
def measured(problem: pl.Problem) -> Any:
    return pl.measure(problem, sparsities=[0, 0.5, 0.9])


@pytest.fixture(scope="module")
def results(problem: pl.Problem, predicted: Any, measured: Any) -> dict[str, Any]:
    return {
        "predict": predicted,
        "measure": measured,
        "spectrum": pl.spectrum(problem, **FEW),
        "compare": pl.compare(problem, "magnitude,random", predicted, sparsities="0,0.5"),
        "check": pl.check(predicted, pl.measure(problem)),
        "prune": pl.prune(problem, 0.5).result,
        "train": pl.train(problem, epochs=1).result,
    }


NAMES = ("predict", "measure", "spectrum", "compare", "check", "prune", "train")


class TestImport:
    def test_it_loads_nothing_heavy(self) -> None:
        code = (
            "import sys, prunelimit as pl; dir(pl); pl.Method; pl.PruneLimitError; "
            "print(*sorted({name.split('.')[0] for name in sys.modules}))"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        heavy = {"torch", "numpy", "scipy", "matplotlib", "sklearn", "pandas", "rich", "click"}
        assert not heavy & set(found.stdout.split())

    def test_every_name_is_there(self) -> None:
        assert {"Problem", "predict", "prune", "measure", "compare", "check"} <= set(pl.__all__)
        assert set(pl.__all__) <= set(dir(pl))
        assert all(hasattr(pl, name) for name in pl.__all__)

    def test_another_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="has no attribute 'xyzzy'"):
            _ = pl.xyzzy  # type: ignore[attr-defined]

    @pytest.mark.parametrize("name", pl.__all__)
    def test_no_module_takes_the_place_of_a_function(self, name: str) -> None:
        """Importing prunelimit.NAME would put the module in its place."""
        assert not (ROOT / "prunelimit" / name).exists()
        assert not (ROOT / "prunelimit" / f"{name}.py").exists()

    def test_it_is_typed(self) -> None:
        assert (ROOT / "prunelimit" / "py.typed").exists()


class Pairs(Dataset[Any]):
    """A map-style data set; with ``noise`` it is another one at every reading."""

    def __init__(self, count: int = len(INPUTS), noise: float = 0.0) -> None:
        self.count, self.noise = count, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return INPUTS[index] + self.noise * torch.randn(6), int(TARGETS[index])


class Named(Pairs):
    """Samples that torch cannot make a batch of."""

    def __getitem__(self, index: int) -> Any:
        return {"row": INPUTS[index], "label": int(TARGETS[index])}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(INPUTS, TARGETS, strict=True))


def collated(samples: list[Any]) -> tuple[Tensor, Tensor]:
    return torch.stack([s["row"] for s in samples]), torch.tensor([s["label"] for s in samples])


FORMS: dict[str, Callable[[], Any]] = {
    "tensors": lambda: DATA,
    "arrays": lambda: (INPUTS.numpy(), TARGETS.numpy()),
    "a data set of tensors": lambda: TensorDataset(*DATA),
    "a data set": Pairs,
    "a part of one": lambda: Subset(TensorDataset(*DATA), range(300)),
    "a loader": lambda: DataLoader(TensorDataset(*DATA), batch_size=7),
    "a loader that shuffles": lambda: DataLoader(Pairs(), batch_size=7, shuffle=True),
    "a loader that drops the last": lambda: DataLoader(
        Pairs(), batch_size=70, shuffle=True, drop_last=True
    ),
    "a loader with its own batches": lambda: DataLoader(
        Named(), batch_size=7, shuffle=True, collate_fn=collated
    ),
    "a loader of a list": lambda: DataLoader(list(Pairs()), batch_size=7),  # type: ignore[arg-type]
    "a loader of a part": lambda: DataLoader(
        Pairs(), batch_size=7, sampler=SubsetRandomSampler(list(range(299, -1, -1)))
    ),
}


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "augmented": (lambda: Pairs(noise=0.1), "differ between two readings"),
    "an augmenting loader": (
        lambda: DataLoader(Pairs(noise=0.1), batch_size=7, shuffle=True),
        "differ between two readings",
    ),
    "a stream": (Stream, "Stream is a stream, which has no order"),
    "a loader of a stream": (lambda: DataLoader(Stream()), "Stream is a stream"),
    "weighted": (
        lambda: DataLoader(Pairs(), sampler=WeightedRandomSampler([1.0] * 300, 300)),
        "WeightedRandomSampler does not give every sample once",
    ),
    "with replacement": (
        lambda: DataLoader(Pairs(), sampler=RandomSampler(Pairs(), replacement=True)),
        "RandomSampler does not give every sample once",
    ),
    "no batches": (lambda: DataLoader(Pairs(), batch_size=None), "torch's usual way"),
    "other batches": (
        lambda: DataLoader(
            Pairs(), batch_sampler=type("B", (BatchSampler,), {})(
                SequentialSampler(Pairs()), 7, False
            )
        ),
        "torch's usual way",
    ),
    "empty": (lambda: Pairs(0), "Pairs is empty"),
    "no pairs": (Named, "does not give"),
    "a number": (lambda: 3, "Data of type int cannot be used"),
}  # fmt: skip


class TestData:
    @pytest.mark.parametrize("held", [True, False], ids=["in memory", "as needed"])
    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_gives_the_same_numbers(
        self, form: str, held: bool, model: nn.Module, measured: Any, monkeypatch: Any
    ) -> None:
        if not held:
            monkeypatch.setattr(loaders, "HELD_BYTES", 0)
        found = pl.measure(
            pl.Problem(model, FORMS[form](), FORMS[form]()), sparsities=[0, 0.5, 0.9]
        )
        assert found.curve == measured.curve
        assert found.thresholds == measured.thresholds
        assert found.data == measured.data

    def test_a_loader_gives_the_same_limit(self, model: nn.Module, predicted: Any) -> None:
        loader = FORMS["a loader that shuffles"]()
        found = pl.predict(pl.Problem(model, loader, loader), **FEW)
        assert (found.limit, found.one_shot) == (predicted.limit, predicted.one_shot)

    def test_what_a_sampler_leaves_out_is_left_out(self, model: nn.Module) -> None:
        part = DataLoader(Pairs(), sampler=SubsetRandomSampler([5, 3, 9]))
        assert pl.Problem(model, part, DATA).loaded.data_info.samples == 3

    @pytest.mark.parametrize("case", REFUSED)
    @pytest.mark.parametrize("place", ["train", "test"])
    def test_what_cannot_be_read_in_order_is_refused(
        self, case: str, place: str, model: nn.Module
    ) -> None:
        make, words = REFUSED[case]
        given = {"train": DATA, "test": DATA, place: make()}
        with pytest.raises(InputError, match=words) as caught:
            pl.Problem(model, **given)
        assert "--" not in str(caught.value)
        assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")

    def test_a_network_that_does_not_fit_is_told(self) -> None:
        with pytest.raises(InputError, match=r"cannot take inputs of shape \(6,\)"):
            pl.Problem(nn.Linear(5, 2), DATA, DATA)


BAD_SETTINGS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "device": ({"device": "abacus"}, UsageError, "abacus"),
    "dtype": ({"dtype": "float16"}, UsageError, "dtype"),
    "batch size": ({"batch_size": 0}, UsageError, "`batch_size` is 0"),
    "batch size, a string": ({"batch_size": "9"}, UsageError, "`batch_size` is '9'"),
    "exclude": ({"exclude": "xyzzy"}, UsageError, "`exclude` 'xyzzy' matches no module"),
    "everything excluded": ({"exclude": ["."]}, UsageError, "No weight is left to prune"),
    "a mean loss": (
        {"loss": nn.CrossEntropyLoss()},
        InputError,
        r"`loss` gives \(\) for \d+ samples",
    ),
    "another loss": ({"loss": torch.matmul}, InputError, "check `model` and `loss`"),
    "metric": ({"metric": lambda o, t: o}, InputError, "`metric` gives"),
}


class TestProblem:
    def test_the_module_is_copied(self) -> None:
        given = network().train()
        before = copy.deepcopy(given.state_dict())
        made = pl.Problem(given, DATA, DATA)
        with torch.no_grad():
            given[0].weight.zero_()
        assert torch.equal(made.model[0].weight, before["0.weight"])  # type: ignore[index]
        assert given.training and not made.model.training

    def test_settings_reach_it(self) -> None:
        made = pl.Problem(
            network(), DATA, DATA, exclude="0", dtype=torch.float64,  # type: ignore[arg-type]
            device=torch.device("cpu"), batch_size=9, seed=4, name="mine",
        )  # fmt: skip
        assert made.problem.prunable == ("2.weight",)
        assert made.problem.dtype == torch.float64
        assert (made.problem.batch_size, made.problem.seed) == (9, 4)
        assert repr(made).startswith("Problem(mine: 24 prunable weights of 110 parameters")

    @pytest.mark.parametrize("case", BAD_SETTINGS)
    def test_bad_settings_are_told_by_their_name(self, case: str) -> None:
        settings, kind, words = BAD_SETTINGS[case]
        with pytest.raises(kind, match=words) as caught:
            pl.measure(pl.Problem(network(), DATA, DATA, **settings), sparsities=[0])
        assert "--" not in str(caught.value)

    def test_a_metric_takes_the_place_of_accuracy(self, model: nn.Module, measured: Any) -> None:
        def right(outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs.argmax(1) == targets

        def sure(outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs.softmax(1).gather(1, targets[:, None])[:, 0]

        same = pl.measure(pl.Problem(model, DATA, DATA, metric=right), sparsities=[0, 0.5, 0.9])
        assert (same.curve, same.thresholds) == (measured.curve, measured.thresholds)
        other = pl.measure(pl.Problem(model, DATA, DATA, metric=sure), sparsities=[0])
        with torch.no_grad():
            expected = float(sure(model(INPUTS), TARGETS).mean())
        assert other.dense.accuracy == pytest.approx(expected)

    def test_a_loss_of_ones_own(self, model: nn.Module) -> None:
        def halved(outputs: Tensor, targets: Tensor) -> Tensor:
            return nn.functional.cross_entropy(outputs, targets, reduction="none") / 2

        half = pl.measure(pl.Problem(model, DATA, DATA, loss=halved), sparsities=[0])
        whole = pl.measure(pl.Problem(model, DATA, DATA), sparsities=[0])
        assert half.dense.loss == pytest.approx(whole.dense.loss / 2)


class TestPrune:
    def test_the_network_reports_as_its_result_does(self, problem: pl.Problem) -> None:
        pruned = pl.prune(problem, 0.5)
        assert pruned.to_dict() == pruned.result.to_dict()
        assert str(pruned) == pruned.summary() == str(pruned.result)
        assert "Layers" in pruned.summary(verbose=True) or "layer" in pruned.summary(verbose=True)

    def test_a_copy_is_pruned(self, model: nn.Module, problem: pl.Problem) -> None:
        before = copy.deepcopy(model.state_dict())
        pruned = pl.prune(problem, 0.5)
        assert pruned.sparsity == 0.5
        state = pruned.state_dict()
        assert sum(int((state[n] == 0).sum()) for n in problem.problem.prunable) == 48
        for given in (model, problem.model):
            assert all(torch.equal(each, before[n]) for n, each in given.state_dict().items())
        for name, each in state.items():  # survivors keep their bits
            kept = (each != 0) | (before[name] == 0)
            assert torch.equal(each[kept], before[name][kept])
        assert not pruned.model.training

    @pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
    def test_gradients_that_the_caller_has_off_change_nothing(
        self, problem: pl.Problem, off: Callable[[], Any]
    ) -> None:
        settings = {"samples": 60, "steps": 8, "probes": 1}
        right = pl.predict(problem, **settings).limit
        moved = pl.prune(problem, 0.6, survivors="staged").state_dict()
        with off():
            assert pl.predict(problem, **settings).limit == right
            again = pl.prune(problem, 0.6, survivors="staged").state_dict()
            assert not torch.is_grad_enabled()
        assert all(torch.equal(each, again[name]) for name, each in moved.items())

    def test_the_result_is_of_the_network_that_is_given(self, problem: pl.Problem) -> None:
        pruned = pl.prune(problem, 0.6)
        with torch.no_grad():
            right = (pruned.model(INPUTS).argmax(1) == TARGETS).double().mean()
        assert pruned.result.accuracy_after == pytest.approx(float(right))
        assert pruned.result.artifact is None

    @pytest.mark.parametrize(
        "norm",
        [
            nn.utils.parametrizations.weight_norm,
            nn.utils.parametrizations.spectral_norm,
            nn.utils.parametrizations.orthogonal,
        ],
    )
    def test_a_parametrized_network_stays_as_it_is(self, norm: Callable[..., nn.Module]) -> None:
        given = nn.Sequential(norm(nn.Linear(6, 16)), nn.ReLU(), nn.Linear(16, 2)).eval()
        right = given(INPUTS)
        for _ in range(2):
            pruned = pl.prune(pl.Problem(given, DATA, DATA), 0.5)
            assert int((pruned.model[0].weight == 0).sum()) > 0  # type: ignore[index,operator]
            assert torch.equal(given(INPUTS), right)
        assert nn.utils.parametrize.is_parametrized(given[0])

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_types_stay(self, dtype: torch.dtype) -> None:
        given = network().to(dtype)
        pruned = pl.prune(pl.Problem(given, DATA, DATA, dtype="float64"), 0.25)
        for name, each in pruned.state_dict().items():
            assert each.dtype == dtype
            kept = each != 0
            assert torch.equal(each[kept], given.state_dict()[name][kept])

    def test_tied_weights_stay_tied(self) -> None:
        class Tied(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = nn.Linear(6, 6, bias=False)
                self.second = nn.Linear(6, 6, bias=False)
                self.second.weight = self.first.weight

            def forward(self, x: Tensor) -> Tensor:
                return self.second(torch.relu(self.first(x)))  # type: ignore[no-any-return]

        pruned = pl.prune(pl.Problem(Tied(), DATA, DATA), 0.5)
        assert pruned.model.first.weight is pruned.model.second.weight
        assert int((pruned.model.first.weight == 0).sum()) == 18  # type: ignore[arg-type]

    def test_statistics_of_batch_normalisation_move(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            given = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        trained = pl.train(pl.Problem(given, DATA, DATA), epochs=10).problem
        pruned = pl.prune(trained, 0.7, survivors="staged", cg_steps=5, bn_recalibrate=60)
        with torch.no_grad():
            right = (pruned.model(INPUTS).argmax(1) == TARGETS).double().mean()
        assert pruned.result.accuracy_after == pytest.approx(float(right))
        assert pruned.result.compensation is not None
        moved = (
            pruned.state_dict()["1.running_mean"] != trained.model.state_dict()["1.running_mean"]
        )
        assert bool(moved.any()) == (pruned.result.compensation.recalibrated > 0)

    def test_the_amount_comes_from_a_prediction(
        self, problem: pl.Problem, predicted: Any, tmp_path: Path
    ) -> None:
        predicted.save(tmp_path / "limit.json")
        anew = pl.prune(problem, **FEW).result
        for given in (predicted, tmp_path / "limit.json", str(tmp_path / "limit.json")):
            found = pl.prune(problem, limit=given).result
            assert (found.sparsity, found.reliability) == (anew.sparsity, anew.reliability)
        moved = pl.prune(problem, limit=predicted, survivors="trained", refit_passes=1)
        assert moved.sparsity >= found.sparsity

    def test_a_prediction_about_another_network_is_refused(self, predicted: Any) -> None:
        other = pl.Problem(nn.Linear(6, 2), DATA, DATA)
        with pytest.raises(InputError, match="give results about the same network"):
            pl.prune(other, limit=predicted)

    def test_a_method_by_name_is_its_choices(self, problem: pl.Problem) -> None:
        by_name = pl.prune(problem, 0.5, method="wanda/uniform").result
        by_choice = pl.prune(problem, 0.5, criterion="wanda", allocation="uniform").result
        by_value = pl.prune(problem, 0.5, method=pl.Method("wanda", "uniform")).result
        assert by_name.layers == by_choice.layers == by_value.layers
        assert by_name.method == "wanda/uniform"

    def test_plain_torch_reads_it(self, problem: pl.Problem, tmp_path: Path) -> None:
        pruned = pl.prune(problem, 0.5)
        for suffix in (".pt", ".pth"):
            file = pruned.save(tmp_path / f"pruned{suffix}")
            read = torch.load(file.path, weights_only=True)
            assert all(torch.equal(read[n], each) for n, each in pruned.state_dict().items())
            assert file.bytes == Path(file.path).stat().st_size
        plain = pruned.save(tmp_path / "pruned.safetensors")
        smaller = pruned.save(tmp_path / "sparse.safetensors", sparse=True)
        assert smaller.format != plain.format

    def test_files_are_not_replaced_unasked(self, problem: pl.Problem, tmp_path: Path) -> None:
        pruned = pl.prune(problem, 0.5)
        path = tmp_path / "pruned.pt"
        pruned.save(path)
        with pytest.raises(OutputError, match="exists"):
            pruned.save(path)
        pruned.save(path, force=True)
        with pytest.raises(UsageError, match=r"end its name with .safetensors, .pt, .pth"):
            pruned.save(tmp_path / "pruned.bin")
        with pytest.raises(UsageError, match="cannot hold packed matrices"):
            pruned.save(tmp_path / "other.pt.gz", sparse=True)
        assert [each.name for each in tmp_path.iterdir()] == ["pruned.pt"]


BAD_ARGUMENTS: dict[str, tuple[Callable[[pl.Problem], Any], type[Exception], str]] = {
    "unknown": (lambda p: pl.predict(p, epsilo=1), TypeError, "did you mean 'epsilon'"),
    "unknown here": (lambda p: pl.measure(p, probes=1), TypeError, "no argument 'probes'"),
    "flag": (lambda p: pl.prune(p, **{"min-keep": 1}), TypeError, "did you mean 'min_keep'"),
    "epsilon": (lambda p: pl.predict(p, epsilon="soon"), UsageError, "`epsilon` 'soon'"),
    "a float": (lambda p: pl.predict(p, confidence="high"), UsageError, "`confidence`"),
    "a range": (lambda p: pl.predict(p, confidence=95), UsageError, "`confidence` is 95"),
    "an integer": (lambda p: pl.spectrum(p, probes=1.5), UsageError, "`probes` is 1.5"),
    "a choice": (lambda p: pl.prune(p, criterion="wand"), UsageError, "did you mean wanda"),
    "an amount": (lambda p: pl.prune(p, 1.5), UsageError, "`amount` is 1.5"),
    "an amount that is no number": (lambda p: pl.prune(p, True), UsageError, "`amount` is True"),
    "labels": (
        lambda p: pl.Problem(p.model, (DATA[0], DATA[1] - 1), DATA),
        InputError,
        "has the label -1",
    ),
    "an amount of a type": (lambda p: pl.prune(p, [0.5]), UsageError, "`amount` is"),
    "two amounts": (lambda p: pl.prune(p, 0.5, within="1pp"), UsageError, "`within` finds"),
    "points as a number": (lambda p: pl.prune(p, within=0.5), UsageError, "such as '0.5pp'"),
    "points as numbers": (lambda p: pl.measure(p, tolerance=[0.01, 1]), UsageError, "'1pp'"),
    "two methods": (
        lambda p: pl.measure(p, "magnitude", survivors="staged"),
        UsageError,
        "`method` already sets `survivors`",
    ),
    "a method": (
        lambda p: pl.compare(p, ["magnitude", "wnda"]),
        UsageError,
        "criterion 'wnda'",
    ),
    "no methods": (lambda p: pl.compare(p, []), UsageError, "`methods`"),
    "tolerance": (lambda p: pl.measure(p, tolerance="1"), UsageError, "`tolerance` '1'"),
    "not a result": (lambda p: pl.check(p, p), UsageError, "what predict or measure returns"),
    "no file": (lambda p: pl.check("x.json", "y.json"), InputError, "There is no file x.json"),
    "not a problem": (lambda p: pl.predict(p.model), UsageError, "`problem` is a Sequential"),
    "not a network": (lambda p: pl.Problem("net", DATA, DATA), UsageError, "`model` is a str"),
    "seed": (lambda p: pl.predict(p, seed="one"), UsageError, "`seed` is 'one'"),
}


class TestArguments:
    @pytest.mark.parametrize("case", BAD_ARGUMENTS)
    def test_bad_ones_are_told_by_their_name(
        self, case: str, problem: pl.Problem, tmp_path: Path, monkeypatch: Any
    ) -> None:
        monkeypatch.chdir(tmp_path)
        call, kind, words = BAD_ARGUMENTS[case]
        with pytest.raises(kind, match=words) as caught:
            call(problem)
        assert "--" not in str(caught.value)
        if kind is not TypeError:
            assert isinstance(caught.value, pl.PruneLimitError)

    def test_none_is_the_default(self, problem: pl.Problem) -> None:
        given = pl.measure(problem, None, tolerance=None, sparsities=[0], calibration=None)
        assert given.thresholds == pl.measure(problem, sparsities=[0]).thresholds

    def test_numbers_of_numpy_are_numbers(self, problem: pl.Problem) -> None:
        given = pl.measure(problem, sparsities=np.array([0, 0.5]), confidence=np.float64(0.9))
        assert [point.sparsity for point in given.curve] == [0, 0.5]
        pruned = pl.prune(problem, np.float32(0.5), stages=np.int64(2))
        json.dumps(pruned.result.to_dict())

    def test_a_seed_takes_the_place_of_the_problems(
        self, problem: pl.Problem, model: nn.Module
    ) -> None:
        here = pl.spectrum(problem, seed=7, **FEW)
        there = pl.spectrum(pl.Problem(model, DATA, DATA, seed=7), **FEW)
        assert here.ritz_values == there.ritz_values
        assert here.ritz_values != pl.spectrum(problem, **FEW).ritz_values
        assert here.provenance.seed == 7

    def test_a_call_changes_nothing(self, problem: pl.Problem) -> None:
        first, again = (pl.predict(problem, **FEW) for _ in range(2))
        assert (first.limit, first.curve) == (again.limit, again.curve)


class TestProgress:
    def test_the_library_is_silent(self, problem: pl.Problem, capfd: Any) -> None:
        pl.predict(problem, **FEW)
        assert capfd.readouterr() == ("", "")

    def test_one_line_on_stderr(self, problem: pl.Problem, capfd: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr("prunelimit.api.progress.EVERY", 0.0)
        pl.predict(problem, progress=True, **FEW)
        found = capfd.readouterr()
        assert found.out == "" and "\n" not in found.err
        assert " of " in found.err and found.err.endswith("\r")

    def test_a_callable_of_ones_own(self, problem: pl.Problem) -> None:
        told: list[tuple[str, int, int]] = []
        pl.predict(
            problem, progress=lambda stage, done, total, note="": told.append((stage, done, total)),
            **FEW,
        )  # fmt: skip
        assert told and all(0 <= done <= total for _, done, total in told)


class TestResults:
    @pytest.mark.parametrize("name", NAMES)
    def test_they_are_frozen(self, name: str, results: dict[str, Any]) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            results[name].provenance = None

    @pytest.mark.parametrize("name", NAMES)
    def test_they_go_to_a_file_and_back(
        self, name: str, results: dict[str, Any], tmp_path: Path
    ) -> None:
        path = tmp_path / f"{name}.json"
        results[name].save(path)
        assert json.loads(path.read_text()) == results[name].to_dict()
        read = pl.load(path)
        assert type(read) is type(results[name])
        assert read.to_dict() == results[name].to_dict()
        with pytest.raises(OutputError, match="exists"):
            results[name].save(path)
        results[name].save(path, force=True)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_summary_is_plain_text(self, name: str, results: dict[str, Any]) -> None:
        text = results[name].summary()
        assert "\x1b" not in text and "--" not in text
        assert all(line == line.rstrip() for line in text.splitlines())
        assert "%" in text or name == "spectrum"

    @pytest.mark.parametrize("name", NAMES)
    def test_a_notebook_shows_it(self, name: str, results: dict[str, Any]) -> None:
        page = results[name]._repr_html_()
        assert page.startswith("<div><pre") and page.endswith("</svg></div></div>")
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
        assert "module" in page

    def test_names_are_escaped(self, model: nn.Module) -> None:
        named = pl.Problem(model, DATA, DATA, name="<b>mine</b> [red]")
        page = pl.spectrum(named, **FEW)._repr_html_()
        assert "&lt;b&gt;mine" in page and "[red]" in page and "<b>mine" not in page

    def test_the_summary_is_the_commands(
        self, trained: Path, prunelimit: Callable[..., Any]
    ) -> None:
        outcome = prunelimit("measure", trained, "--sparsities", "0,0.5,0.9")
        shown = {line.rstrip() for line in outcome.stderr.splitlines()}
        found = pl.measure(pl.Problem.from_checkpoint(trained), sparsities=[0, 0.5, 0.9])
        assert set(found.summary().splitlines()) <= shown

    def test_details_on_demand(self, predicted: Any) -> None:
        assert len(predicted.summary(verbose=True)) > len(predicted.summary())

    @pytest.mark.parametrize("name", NAMES)
    def test_figures(self, name: str, results: dict[str, Any], tmp_path: Path) -> None:
        assert type(results[name].plot()).__name__ == "Figure"
        for suffix in (".png", ".svg"):
            path = tmp_path / f"{name}{suffix}"
            results[name].plot(path)
            assert path.stat().st_size > 1000
        with pytest.raises(OutputError, match="exists"):
            results[name].plot(path)
        with pytest.raises(UsageError, match=r"end its name with .png, .pdf or .svg"):
            results[name].plot(tmp_path / "figure.bmp")

    def test_another_figure_and_other_paper(self, predicted: Any, measured: Any) -> None:
        figure = predicted.plot(figure="layers", width="82mm", no_title=True)
        assert figure.get_size_inches()[0] == pytest.approx(82 / 25.4)
        assert not figure.axes[0].get_title(loc="left")
        assert predicted.plot(figure="path").axes[0].get_title(loc="left")
        with pytest.raises(UsageError, match=r"compare does not draw .*can be limit, layers, path"):
            predicted.plot(figure="compare")
        with pytest.raises(UsageError, match="no figure 'limits'; did you mean limit"):
            predicted.plot(figure="limits")
        both = pl.plot(predicted, measured)
        assert len(both.axes) == 2

    def test_they_can_be_sent_to_another_process(self, predicted: Any) -> None:
        again = pickle.loads(pickle.dumps(predicted))
        assert again == predicted and again.summary() == predicted.summary()

    def test_a_file_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "other.json"
        path.write_text('{"schema": "prunelimit.predict/1"}')
        with pytest.raises(InputError, match="no result that this version reads"):
            pl.load(path)


COLUMNS: dict[str, dict[str | None, tuple[str, ...]]] = {
    "predict": {
        None: ("sparsity", "radius", "width"),
        "variants": ("formula", "operator", "sparsity", "low", "high"),
        "layers": ("name", "shape", "kept", "sparsity"),
    },
    "measure": {
        None: ("sparsity", "accuracy", "loss", "nonzero", "passes", "outcome"),
        "thresholds": ("rule", "tolerance", "sparsity", "low", "high"),
    },
    "compare": {
        None: ("method", "rule", "tolerance", "sparsity", "distance_pp", "low", "high"),
        "curve": ("method", "sparsity", "accuracy", "loss", "nonzero", "passes", "outcome"),
    },
    "spectrum": {
        None: ("probe", "ritz_value", "weight"),
        "sharpness": ("name", "value", "parameter", "layer", "low", "high"),
    },
    "prune": {None: ("name", "shape", "kept", "sparsity")},
    "check": {
        None: (
            "name", "kind", "passed", "value", "bound", "reason", "self_check",
        )
    },
    "train": {None: ("epoch", "loss", "accuracy")},
}  # fmt: skip


class TestFrames:
    @pytest.mark.parametrize("name", COLUMNS)
    def test_tables(self, name: str, results: dict[str, Any]) -> None:
        pytest.importorskip("pandas")
        for table, columns in COLUMNS[name].items():
            frame = results[name].to_pandas(table)
            assert tuple(frame.columns) == columns
            assert len(frame) > 0

    def test_an_unknown_table_is_told(self, predicted: Any) -> None:
        with pytest.raises(UsageError, match="this result has curve, variants, layers, path"):
            predicted.to_pandas("curves")

    def test_without_pandas_one_sentence_says_what_is_missing(
        self, predicted: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(UsageError, match=r"pip install 'prunelimit\[pandas\]'"):
            predicted.to_pandas()
