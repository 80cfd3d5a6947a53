"""Every command as a user gives it: good input, bad input, and what is left behind."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from conftest import Outcome
from safetensors.torch import load_file, save_file

from prunelimit import plugins
from prunelimit.cli.spelling import spelled
from prunelimit.inputs.checkpoint import read_checkpoint
from prunelimit.results.schema import schema
from prunelimit.results.serialization import from_json
from prunelimit.results.types import MeasureResult, PredictResult

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]

QUICK = ("--steps", "12", "--directional-steps", "8", "--samples", "256")
"""A coarse prediction in a second."""

PRUNABLE = ("layers.0.weight", "layers.1.weight", "layers.2.weight")


def valid(name: str, document: Any) -> Any:
    """``document``, which must be what the published schema says."""
    jsonschema.Draft202012Validator(schema(name)).validate(document)
    return document


def one_sentence(outcome: Outcome, code: int) -> str:
    """The error of a command that failed as it should."""
    assert outcome.code == code, outcome.stderr
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("Error: ")
    assert outcome.stderr.count("\n") == 1
    assert "Traceback" not in outcome.stderr
    return outcome.stderr


def zeros(path: Path) -> int:
    tensors = read_checkpoint(path).tensors
    return sum(int((t == 0).sum()) for name, t in tensors.items() if t.ndim > 1)


class TestTrain:
    OPTIONS = ("-m", "lenet-300-100", "-d", "digits", "--epochs", "1")

    def test_leaves_a_checkpoint_that_describes_itself(self, prunelimit: Run) -> None:
        outcome = prunelimit(
            "train", *self.OPTIONS, "--l1", "1e-5", "-o", "a.safetensors", "--json"
        )
        assert outcome.code == 0
        document = valid("train", outcome.document)
        assert document["artifact"]["bytes"] == Path("a.safetensors").stat().st_size
        assert document["model"]["sha256"] == read_checkpoint(Path("a.safetensors")).sha256
        assert [epoch["accuracy"] for epoch in document["history"]] == [
            document["dense"]["accuracy"]
        ]
        description = read_checkpoint(Path("a.safetensors")).description
        assert description is not None
        assert description["training"]["l1"] == 1e-5
        assert sorted(path.name for path in Path().iterdir()) == ["a.safetensors"]

    def test_is_the_same_for_the_same_seed(self, prunelimit: Run) -> None:
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            command = ("train", *self.OPTIONS, "--seed", seed, "-q", "-o", f"{name}.safetensors")
            assert prunelimit(*command).code == 0
        a, b, c = (Path(f"{name}.safetensors").read_bytes() for name in "abc")
        assert a == b != c

    def test_an_interrupted_training_goes_on_to_the_same_network(
        self, prunelimit: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from prunelimit.training import l1 as training

        command = ("train", "-m", "lenet-300-100", "-d", "digits", "--epochs", "3", "-o")
        assert prunelimit(*command, "whole.safetensors", "-q").code == 0
        original = training.train

        def interrupted(*arguments: Any, progress: Any, **settings: Any) -> Any:
            def stop(stage: str, done: int, total: int, note: str = "") -> None:
                if resume.exists() and not stopped:
                    stopped.append(stage)
                    raise KeyboardInterrupt

            return original(*arguments, progress=stop, **settings)

        stopped: list[str] = []
        resume = Path("half.safetensors.resume").resolve()
        monkeypatch.setattr(training, "train", interrupted)
        outcome = prunelimit(*command, "half.safetensors")
        assert outcome.code == 130 and "--resume" in outcome.stderr
        assert resume.exists() and not Path("half.safetensors").exists()
        assert "--resume" in one_sentence(prunelimit(*command, "half.safetensors"), 2)
        assert prunelimit(*command, "half.safetensors", "-q", "--resume").code == 0
        assert Path("half.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()
        assert not resume.exists()

    @pytest.mark.parametrize("spec", ["own_network.py:Small", "own_network:Small"])
    def test_a_network_of_the_users_own(self, prunelimit: Run, spec: str) -> None:
        Path("own_network.py").write_text(
            "import torch\n\n\n"
            "class Small(torch.nn.Module):\n"
            "    def __init__(self, width=3):\n"
            "        super().__init__()\n"
            "        self.inner = torch.nn.Linear(64, width)\n"
            "        self.outer = torch.nn.Linear(width, 10)\n\n"
            "    def forward(self, x):\n"
            "        return self.outer(torch.relu(self.inner(x.flatten(1))))\n"
        )
        options = ("-m", spec, "--model-arg", "width=5", "-d", "digits", "--epochs", "2", "-q")
        assert prunelimit("train", *options, "-o", "own.safetensors").code == 0
        # A checkpoint may come from anyone, so it alone does not make code run.
        assert f"--model {spec}" in one_sentence(
            prunelimit("predict", "own.safetensors", *QUICK), 2
        )
        command = ("predict", "own.safetensors", "-m", spec, *QUICK, "--json", "-q")
        document = prunelimit(*command).document
        assert document["model"]["spec"] == spec
        assert document["model"]["prunable"] == 64 * 5 + 5 * 10

    def test_never_overwrites_unasked(self, prunelimit: Run) -> None:
        Path("a.safetensors").write_text("mine")
        message = one_sentence(prunelimit("train", *self.OPTIONS, "-o", "a.safetensors"), 2)
        assert "--force" in message and "a.safetensors" in message
        assert Path("a.safetensors").read_text() == "mine"
        assert prunelimit("train", *self.OPTIONS, "-o", "a.safetensors", "-q", "--force").code == 0
        assert load_file("a.safetensors")

    @pytest.mark.parametrize(
        ("options", "said", "code"),
        [
            (("-d", "digits"), "--model", 2),
            (("-m", "lenet-300-100"), "--data", 2),
            (("-m", "lenet-300-10", "-d", "digits"), "lenet-300-100", 2),
            (("-m", "lenet-300-100", "-d", "digit"), "digits", 2),
            (("-m", "lenet-300-100", "-d", "npz:none.npz"), "none.npz", 3),
            (("-m", "lenet-300-100", "-d", "digits", "--epochs", "0"), "--epochs", 2),
            (("-m", "lenet-300-100", "-d", "digits", "--lr", "-1"), "--lr", 2),
            (("-m", "lenet-300-100", "-d", "digits", "--l1", "-1"), "--l1", 2),
            (("-m", "lenet-300-100", "-d", "digits", "--device", "abacus"), "abacus", 2),
        ],
    )
    def test_bad_input(
        self, prunelimit: Run, tmp_path: Path, options: tuple[str, ...], said: str, code: int
    ) -> None:
        assert said in one_sentence(prunelimit("train", *options), code)
        assert not list(tmp_path.iterdir())


class TestSpectrum:
    def test_writes_all_it_is_asked_for(self, prunelimit: Run, trained: Path) -> None:
        outcome = prunelimit(
            "spectrum", trained, "--steps", "10", "--probes", "2", "--samples", "128",
            "-o", "s.json", "--npz", "s.npz", "--plot", "s.png", "--json",
        )  # fmt: skip
        assert outcome.code == 0 and outcome.stderr
        document = valid("spectrum", outcome.document)
        assert document == json.loads(Path("s.json").read_text())
        assert document["curvature"]["probes"] == 2 and document["data"]["samples"] == 128
        arrays = np.load("s.npz")
        assert arrays["ritz_values"].shape == (2, 10)
        np.testing.assert_allclose(arrays["quadrature_weights"].sum(axis=1), 1.0, rtol=1e-6)
        assert Path("s.png").read_bytes().startswith(b"\x89PNG")

    def test_the_spectrum_is_the_same_twice(self, prunelimit: Run, trained: Path) -> None:
        command = ("spectrum", trained, "--steps", "6", "--samples", "64", "--json", "-q")
        first, second = (prunelimit(*command).document["ritz_values"] for _ in range(2))
        assert first == second


class TestPredict:
    def test_json_is_clean_and_tables_go_to_stderr(self, prunelimit: Run, trained: Path) -> None:
        outcome = prunelimit("predict", trained, *QUICK, "--json", "--plot", "limit.svg")
        assert outcome.code == 0
        document = valid("predict", outcome.document)
        low, high = document["limit"]["interval"]
        assert 0 <= low <= document["limit"]["sparsity"] <= high <= 1
        assert document["limit"]["of"] == "prunable"
        assert document["model"]["spec"] == "lenet-300-100"
        assert document["config"]["curvature"]["steps"] == 12
        assert "%" in outcome.stderr
        assert Path("limit.svg").read_text().startswith("<?xml")

    def test_two_numbers_each_with_its_meaning(self, prunelimit: Run, trained: Path) -> None:
        given = (*QUICK, "--curvature", "hessian", "--json")
        outcome = prunelimit("predict", trained, *given)
        document = valid("predict", outcome.document)
        found, limit = document["one_shot"], document["limit"]
        low, high = found["interval"]
        assert 0 <= low <= found["sparsity"] <= high <= 1
        assert found["errors"]["samples"] > 0  # 256 samples stand in for all
        assert (found["samples"], found["of_samples"]) == (256, 1437)
        assert found["ratio"] == document["reliability"]["nonquadraticity"]
        said = " ".join(outcome.stderr.split())
        assert f"plain {found['sparsity']:.1%}" in said and "with nothing moved" in said
        assert f"limit {limit['sparsity']:.1%}" in said and "surviving weights keeps it" in said
        assert "predicted from 256 of" not in said
        assert (
            "more --max-seconds or, with the Hessian, more --samples" in said
            and "`" not in outcome.stderr
        )
        outcome = prunelimit("predict", trained, *given, "-v")
        assert "`" not in outcome.stderr
        said = " ".join(outcome.stderr.split())
        assert "predicted from 256 of 1,437 training samples" in said

    def test_it_ends_with_commands_that_go_on(self, prunelimit: Run, trained: Path) -> None:
        network = ("-m", "lenet-300-100", "-d", "digits")
        outcome = prunelimit("predict", trained, *QUICK, *network)
        _, _, following = outcome.stderr.partition("\nNext\n")
        commands = [line.strip() for line in following.splitlines() if "prunelimit" in line]
        *pruning, measuring = (command.split()[1] for command in commands)
        # To the limit, or to the low end of what is expected where the limit is not reliable.
        further = "to the limit" in following or "  expected" in outcome.stderr
        assert (pruning, measuring) == (["prune"] * (2 + further), "measure")
        for command in commands:
            program, *words = shlex.split(command)
            assert (program, words[1]) == ("prunelimit", str(trained))
            assert words[2:6] == ["--model", "lenet-300-100", "--data", "digits"]
        quick = (*QUICK, "--calibration", "600", "--cg-steps", "3", "-q")
        assert prunelimit(*shlex.split(commands[0])[1:], *QUICK, "-q").code == 0
        for command in commands[1:-1]:
            assert prunelimit(*shlex.split(command)[1:], *quick, "--force").code == 0
        last = ("--refit-passes", "1", "--sparsities", "0,0.5", "-q")
        assert prunelimit(*shlex.split(commands[-1])[1:], *last).code == 0

    @pytest.mark.parametrize("epsilon", ["0.001", "50%", "2pp"])
    def test_those_commands_are_about_the_same_loss_tolerance(
        self, prunelimit: Run, trained: Path, epsilon: str
    ) -> None:
        given = ("--samples", "300", "--epsilon", epsilon, "-o", "p.json")
        outcome = prunelimit("predict", trained, *given)
        predicted = json.loads(Path("p.json").read_text())
        _, _, following = outcome.stderr.partition("\nNext\n")
        commands = [line.strip() for line in following.splitlines() if "prunelimit" in line]
        assert len(commands) > 2
        for command in commands:
            assert f"--epsilon {epsilon}" in command
        plain = prunelimit(*shlex.split(commands[0])[1:], "--json").document
        assert plain["sparsity"] == predicted["one_shot"]["sparsity"]

    def test_the_samples_that_carry_most_are_not_those_that_the_path_is_followed_on(
        self, prunelimit: Run, trained: Path
    ) -> None:
        outcome = prunelimit("predict", trained, *QUICK, "--json", "-v")
        document = valid("predict", outcome.document)
        found, curvature = document["one_shot"], document["curvature"]
        assert (found["samples"], found["of_samples"]) == (1437, 1437)
        assert found["errors"]["samples"] == 0
        # More than their share by number, since they are those of which the network is least sure.
        assert curvature["samples"] == 256 and 256 / 1437 < curvature["carried"] < 1
        said = " ".join(outcome.stderr.split())
        assert "on 256 samples that carry" in said
        assert "measured on all 1,437 training samples" in said

    def test_quiet_is_quiet(self, prunelimit: Run, trained: Path) -> None:
        outcome = prunelimit("predict", trained, *QUICK, "-q", "-o", "p.json")
        assert (outcome.code, outcome.stdout, outcome.stderr) == (0, "", "")
        assert from_json(PredictResult, json.loads(Path("p.json").read_text()))

    def test_strict_fails_after_everything_is_written(self, prunelimit: Run, trained: Path) -> None:
        coarse = ("--curvature", "hessian", "--steps", "2", "--samples", "64")
        outcome = prunelimit("predict", trained, *coarse, "--strict", "-q", "-o", "p.json")
        document = json.loads(Path("p.json").read_text())
        assert not document["reliability"]["ok"]
        assert outcome.code == 4
        assert spelled(document["reliability"]["reasons"][0]) in outcome.stderr
        assert "`" not in outcome.stderr

    def test_options_come_from_the_projects_file(self, prunelimit: Run, trained: Path) -> None:
        Path("pyproject.toml").write_text(
            "[tool.prunelimit.predict]\nsteps = 5\nsamples = 64\ndirectional-steps = 4\n"
        )
        document = prunelimit("predict", trained, "--samples", "96", "--json", "-q").document
        assert document["config"]["curvature"]["steps"] == 5
        assert document["config"]["curvature"]["samples"] == 96


class TestPrune:
    def test_a_number_removes_exactly_that_many(self, prunelimit: Run, trained: Path) -> None:
        command = ("prune", trained, "--amount", "0.9", "--min-keep", "0", "--json")
        outcome = prunelimit(*command, "-o", "p.safetensors")
        assert outcome.code == 0
        document = valid("prune", outcome.document)
        assert "faster" in outcome.stderr
        prunable = document["model"]["prunable"]
        removed = round(0.9 * prunable)
        before, after = load_file(trained), load_file("p.safetensors")
        gone = sum(int(((before[k] != 0) & (after[k] == 0)).sum()) for k in before)
        assert zeros(Path("p.safetensors")) == removed
        assert gone <= removed
        for key in before:
            kept = after[key] != 0
            assert torch.equal(before[key][kept], after[key][kept])
        smallest_kept = min(after[k][after[k] != 0].abs().min() for k in PRUNABLE)
        largest_gone = max(
            before[k][after[k] == 0].abs().max() for k in PRUNABLE if (after[k] == 0).any()
        )
        assert largest_gone <= smallest_kept
        assert document["nonzero"] == prunable - removed
        assert document["artifact"]["bytes"] == Path("p.safetensors").stat().st_size

    def test_the_pruned_checkpoint_describes_itself(self, prunelimit: Run, trained: Path) -> None:
        pruned = prunelimit("prune", trained, "--amount", "0.5", "-o", "p.safetensors", "--json")
        description = read_checkpoint(Path("p.safetensors")).description
        assert description is not None
        assert description["pruning"]["sparsity"] == pruned.document["sparsity"]
        assert description["pruning"]["method"] == "magnitude"
        measured = prunelimit("measure", "p.safetensors", "--sparsities", "0,0.5", "--json", "-q")
        points = measured.document["curve"]
        assert points[0]["accuracy"] == points[1]["accuracy"]
        assert points[0]["accuracy"] == pruned.document["accuracy_after"]

    def test_a_sparse_file_is_smaller_and_the_same(self, prunelimit: Run, trained: Path) -> None:
        for name, options in (("dense", ()), ("sparse", ("--sparse",))):
            command = ("prune", trained, "--amount", "0.95", "-o", f"{name}.safetensors", *options)
            assert prunelimit(*command, "-q").code == 0
        dense, sparse = (read_checkpoint(Path(f"{n}.safetensors")) for n in ("dense", "sparse"))
        assert all(torch.equal(dense.tensors[key], sparse.tensors[key]) for key in dense.tensors)
        sizes = {n: Path(f"{n}.safetensors").stat().st_size for n in ("dense", "sparse")}
        assert sizes["sparse"] < sizes["dense"] / 4

    @pytest.mark.parametrize(("amount", "share"), [("0", 0.0), ("1", 1.0), ("1.0", 1.0)])
    def test_the_ends(self, prunelimit: Run, trained: Path, amount: str, share: float) -> None:
        command = ("prune", trained, "--amount", amount, "-o", "p.safetensors", "--json", "-q")
        document = prunelimit(*command).document
        assert document["sparsity"] == share
        assert document["nonzero"] == (1 - share) * document["model"]["prunable"]

    def test_auto_is_the_prediction(
        self, prunelimit: Run, trained: Path, results: tuple[Path, Path]
    ) -> None:
        predicted = json.loads(results[0].read_text())
        outcome = prunelimit("prune", trained, *QUICK, "-o", "p.safetensors", "--json", "-q")
        document = valid("prune", outcome.document)
        assert document["amount"] == "auto"
        assert document["sparsity"] == predicted["one_shot"]["sparsity"]
        assert document["reliability"]["path"] == predicted["reliability"]["path"]
        # Nothing is moved, so the limit, which is about survivors that move, would break it.
        assert document["accuracy_after"] > document["accuracy_before"] - 0.02

    def test_auto_with_survivors_that_move_is_the_limit(
        self, prunelimit: Run, trained: Path, results: tuple[Path, Path]
    ) -> None:
        predicted = json.loads(results[0].read_text())
        command = ("prune", trained, *QUICK, "--survivors", "compensated", "--calibration", "600")
        document = prunelimit(*command, "-o", "p.safetensors", "--json", "-q").document
        assert document["sparsity"] == predicted["limit"]["sparsity"]
        assert document["reliability"] == predicted["reliability"]

    @pytest.mark.parametrize(
        ("survivors", "amount", "number"),
        [
            ("fixed", "limit", "limit"),
            ("compensated", "one-shot", "one_shot"),
            ("trained", "auto", "limit"),
            ("obs", "auto", "limit"),
        ],
    )
    def test_a_predicted_amount_is_named_or_that_of_the_survivors(
        self,
        prunelimit: Run,
        trained: Path,
        results: tuple[Path, Path],
        survivors: str,
        amount: str,
        number: str,
    ) -> None:
        predicted = json.loads(results[0].read_text())
        few = ("--calibration", "600", "--cg-steps", "2", "--refit-passes", "1")
        choices = ("--survivors", survivors, "--amount", amount, *few)
        command = ("prune", trained, *QUICK, *choices, "-o", "p.safetensors", "--json", "-q")
        document = valid("prune", prunelimit(*command).document)
        assert document["amount"] == amount
        assert document["sparsity"] == predicted[number]["sparsity"]

    def test_min_keep_guards_every_layer(self, prunelimit: Run, trained: Path) -> None:
        command = ("prune", trained, "--amount", "0.99", "--min-keep", "100", "--json", "-q")
        document = prunelimit(*command, "-o", "p.safetensors").document
        assert min(layer["kept"] for layer in document["layers"]) >= 100
        message = one_sentence(
            prunelimit("prune", trained, "--amount", "1", "--min-keep", "300", "-o", "q.pt"), 2
        )
        assert "--min-keep" in message

    def test_an_excluded_layer_stays(self, prunelimit: Run, trained: Path) -> None:
        command = (
            "prune",
            trained,
            "--amount",
            "0.9",
            "--exclude",
            "layers.2",
            "-o",
            "p.safetensors",
        )
        document = prunelimit(*command, "--json", "-q").document
        before, after = load_file(trained), load_file("p.safetensors")
        assert torch.equal(before["layers.2.weight"], after["layers.2.weight"])
        assert [layer["name"] for layer in document["layers"]] == [
            "layers.0.weight",
            "layers.1.weight",
        ]
        assert document["model"]["excluded"] == before["layers.2.weight"].numel() + 10

    @pytest.mark.parametrize("criterion", plugins.names("criterion"))
    @pytest.mark.parametrize("survivors", ["fixed", "obs"])
    def test_every_criterion(
        self, prunelimit: Run, trained: Path, criterion: str, survivors: str
    ) -> None:
        choices = ("--criterion", criterion, "--survivors", survivors, "--calibration", "64")
        command = ("prune", trained, "--amount", "0.8", *choices)
        outcome = prunelimit(*command, "-o", "p.safetensors", "--json")
        document = valid("prune", outcome.document)
        moves = survivors == "obs"
        reads = criterion not in ("magnitude", "random", "synflow") or moves
        assert document["method"] == (f"{criterion}+obs" if moves else criterion)
        assert document["calibration"] == (64 if reads else 0)
        assert ("64 training samples" in outcome.stderr) == reads
        assert document["allocation"] == ("rows" if criterion == "wanda" else "global")
        prunable = document["model"]["prunable"]
        assert document["model"]["prunable"] - document["nonzero"] == round(0.8 * prunable)
        before, after = load_file(trained), load_file("p.safetensors")
        moved = [
            not torch.equal(before[key][after[key] != 0], after[key][after[key] != 0])
            for key in before
        ]
        assert any(moved) == moves
        description = read_checkpoint(Path("p.safetensors")).description
        assert description is not None
        for key in ("method", "allocation", "calibration", "sparsity"):
            assert description["pruning"][key] == document[key]
        measured = prunelimit("measure", "p.safetensors", "--sparsities", "0", "--json", "-q")
        assert measured.document["curve"][0]["accuracy"] == document["accuracy_after"]

    @pytest.mark.parametrize("options", [("--criterion", "snip"), ("--allocation", "rd")])
    def test_one_sample_is_enough_for_criterion_and_allocation(
        self, prunelimit: Run, trained: Path, options: tuple[str, ...]
    ) -> None:
        command = ("prune", trained, "--amount", "0.8", *options, "--calibration", "1", "--json")
        document = valid("prune", prunelimit(*command, "-q", "-o", "p.safetensors").document)
        assert document["calibration"] == 1
        prunable = document["model"]["prunable"]
        assert document["nonzero"] == prunable - round(0.8 * prunable)

    @pytest.mark.parametrize(
        "allocation", [name for name in plugins.names("allocation") if name != "targets"]
    )
    def test_every_allocation(self, prunelimit: Run, trained: Path, allocation: str) -> None:
        command = ("prune", trained, "--amount", "0.9", "--allocation", allocation)
        outcome = prunelimit(*command, "--min-keep", "50", "-o", "p.safetensors", "--json")
        document = valid("prune", outcome.document)
        assert document["allocation"] == allocation
        assert document["method"] == f"magnitude/{allocation}"
        shown = re.search(rf"(?m)^  allocation +{allocation}\b", outcome.stderr)
        assert (shown is not None) == (allocation != "global")
        prunable = document["model"]["prunable"]
        assert zeros(Path("p.safetensors")) == round(0.9 * prunable)
        assert min(layer["kept"] for layer in document["layers"]) >= 50
        if allocation == "uniform":
            assert [layer["sparsity"] for layer in document["layers"]] == pytest.approx(
                [0.9] * 3, abs=1e-3
            )

    def test_a_pattern_decides_the_amount(self, prunelimit: Run, trained: Path) -> None:
        outcome = prunelimit("prune", trained, "--pattern", "2:4", "-o", "p.safetensors", "--json")
        document = valid("prune", outcome.document)
        assert (document["method"], document["amount"]) == ("magnitude/2:4", "2:4")
        assert document["allocation"] is None and document["reliability"] is None
        assert document["sparsity"] == 0.5
        after = load_file("p.safetensors")
        for key in PRUNABLE:
            groups = (after[key] != 0).reshape(-1, 4)
            assert bool((groups.sum(dim=1) == 2).all())

    def test_a_method_of_the_users_own(self, prunelimit: Run, trained: Path) -> None:
        Path("mine.py").write_text(
            "def largest_first(problem):\n"
            "    return -problem.vector()[problem.prunable_mask()].abs()\n"
            "def broken(problem):\n"
            "    return problem.vector()\n"
        )
        command = ("prune", trained, "--amount", "0.3", "-o", "p.safetensors", "--json", "-q")
        document = valid(
            "prune", prunelimit(*command, "--criterion", "mine.py:largest_first").document
        )
        assert document["method"] == "mine.py:largest_first"
        before, after = load_file(trained), load_file("p.safetensors")
        gone = min(before[k][after[k] == 0].abs().max() for k in PRUNABLE if (after[k] == 0).any())
        kept = max(after[k].abs().max() for k in PRUNABLE)
        assert kept <= gone
        bad = prunelimit("prune", trained, "--amount", "0.3", "--criterion", "mine.py:broken")
        assert "mine.py:broken" in one_sentence(bad, 3)
        missing = prunelimit("prune", trained, "--amount", "0.3", "--criterion", "mine.py:largest")
        assert "did you mean largest_first?" in one_sentence(missing, 3)

    @pytest.mark.parametrize("amount", ["-0.1", "1.5", "nan", "half", "90%"])
    def test_amounts_that_make_no_sense(
        self, prunelimit: Run, tmp_path: Path, trained: Path, amount: str
    ) -> None:
        outcome = prunelimit("prune", trained, f"--amount={amount}", "-o", "p.safetensors")
        assert amount in one_sentence(outcome, 2)
        assert not list(tmp_path.iterdir())


class TestMeasure:
    @pytest.mark.parametrize(
        ("criterion", "survivors"),
        [("snip", "fixed"), ("obs", "obs"), ("mine.py:scores", "fixed"), ("snip", "obs")],
    )
    def test_a_criterion_and_an_allocation(
        self, prunelimit: Run, trained: Path, criterion: str, survivors: str
    ) -> None:
        Path("mine.py").write_text(
            "def scores(problem):\n    return problem.vector()[problem.prunable_mask()].square()\n"
        )
        choices = ("--criterion", criterion, "--allocation", "erk", "--survivors", survivors)
        options = (*choices, "--calibration", "64")
        sparsities = ("--sparsities", "0,0.6,0.9")
        outcome = prunelimit("measure", trained, *options, *sparsities, "--json")
        document = valid("measure", outcome.document)
        moved = "" if survivors == "fixed" else f"+{survivors}"
        assert document["method"] == f"{criterion}/erk{moved}"
        assert document["allocation"] == "erk"
        assert document["calibration"] == 64
        rules = [each["rule"] for each in document["thresholds"]]
        assert rules == ["accuracy", "accuracy", "dense-accuracy", "loss"]
        command = ("prune", trained, "--amount", "0.6", *options, "-o", "p.safetensors")
        pruned = prunelimit(*command, "--json", "-q").document
        assert document["curve"][1]["accuracy"] == pruned["accuracy_after"]
        assert document["curve"][1]["nonzero"] == pruned["nonzero"]

    def test_the_curve_that_was_asked_for(self, prunelimit: Run, trained: Path) -> None:
        outcome = prunelimit(
            "measure", trained, "--sparsities", "0,0.5,0.9", "--tolerance", "1pp",
            "--csv", "m.csv", "--plot", "m.png", "-o", "m.json", "--json",
        )  # fmt: skip
        assert outcome.code == 0
        document = valid("measure", outcome.document)
        assert document == json.loads(Path("m.json").read_text())
        assert [point["sparsity"] for point in document["curve"]] == pytest.approx(
            [0, 0.5, 0.9], abs=1e-4
        )
        rows = list(csv.DictReader(Path("m.csv").read_text().splitlines()))
        assert [float(row["accuracy"]) for row in rows] == [
            point["accuracy"] for point in document["curve"]
        ]
        assert Path("m.png").read_bytes().startswith(b"\x89PNG")

    def test_dense_agrees_with_the_prediction(self, results: tuple[Path, Path]) -> None:
        predicted, measured = (json.loads(path.read_text()) for path in results)
        assert predicted["dense"] == measured["dense"]
        assert predicted["epsilon"] == measured["epsilon"]
        assert from_json(MeasureResult, valid("measure", measured))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--sparsities", "0,1.5"), "1.5"),
            (("--sparsities", "a,b"), "--sparsities"),
            (("--sparsities", "0:1"), "0:1"),
            (("--tolerance", "much"), "much"),
            (("--epsilon", "-1"), "-1"),
            (("--confidence", "1.5"), "1.5"),
            (("--batch-size", "0"), "--batch-size"),
        ],
    )
    def test_bad_options(
        self, prunelimit: Run, tmp_path: Path, trained: Path, options: tuple[str, str], said: str
    ) -> None:
        outcome = prunelimit("measure", trained, *options, "-o", "m.json")
        assert said in one_sentence(outcome, 2)
        assert not list(tmp_path.iterdir())


class TestCheck:
    def test_files_pass_or_fail_by_the_tolerance(
        self, prunelimit: Run, results: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        predicted, measured = results
        other = json.loads(predicted.read_text())
        other["one_shot"]["sparsity"] -= 0.05
        other["one_shot"]["interval"] = [other["one_shot"]["sparsity"]] * 2
        Path("other.json").write_text(json.dumps(other))
        results = Path("other.json"), measured
        wide = prunelimit("check", *results, "--tolerance", "100pp", "--json")
        assert wide.code == 0
        document = valid("check", wide.document)
        agreement = document["agreement"]
        assert document["passed"] and agreement["tolerance_pp"] == 100
        assert agreement["difference_pp"] == pytest.approx(
            100 * (agreement["predicted"] - agreement["measured"])
        )
        assert agreement["difference_pp"] != 0
        narrow = prunelimit(
            "check", *results, "--tolerance", "1e-9pp", "--json", "--junit", "j.xml", "-o", "c.json"
        )
        assert narrow.code == 1
        assert not valid("check", narrow.document)["passed"]
        assert narrow.document == json.loads(Path("c.json").read_text())
        assert ET.parse("j.xml").getroot().get("failures") == "1"

    def test_the_job_summary(
        self, prunelimit: Run, results: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        assert prunelimit("check", *results, "--tolerance", "100pp", "-q").code == 0
        assert "passed" in Path("summary.md").read_text()

    def test_a_checkpoint_is_predicted_and_measured(
        self, prunelimit: Run, trained: Path, results: tuple[Path, Path]
    ) -> None:
        options = ("--tolerance", "100pp", "--json", "-q")
        whole = prunelimit("check", trained, *QUICK, *options).document
        files = prunelimit("check", *results, *options).document
        for key in ("gates", "passed", "model", "agreement"):
            assert whole[key] == files[key]

    def test_one_shot_loss_is_what_was_predicted_of_it(
        self, prunelimit: Run, trained: Path, results: tuple[Path, Path]
    ) -> None:
        every = ("--steps", "12", "--directional-steps", "8", "--samples", "0")
        assert prunelimit("predict", trained, *every, "-q", "-o", "p.json").code == 0
        outcome = prunelimit("check", "p.json", results[1], "--tolerance", "0.25pp", "--json")
        assert outcome.code == 0
        document = valid("check", outcome.document)["agreement"]
        assert document["self_check"] and "self-check" in outcome.stderr
        assert (document["rule"], document["number"]) == ("loss", "one-shot")
        assert document["method"] == "magnitude"
        assert "predicted plain" in outcome.stderr
        accuracy = prunelimit(
            "check", "p.json", results[1], "--tolerance", "100pp", "--rule", "accuracy", "--json"
        ).document["agreement"]
        assert (accuracy["rule"], accuracy["number"]) == ("accuracy", "limit")
        assert accuracy["predicted"] == json.loads(Path("p.json").read_text())["limit"]["sparsity"]

    def test_what_nothing_is_predicted_for_is_refused(
        self, prunelimit: Run, trained: Path, results: tuple[Path, Path]
    ) -> None:
        predicted, measured = (json.loads(path.read_text()) for path in results)
        old = {k: v for k, v in predicted.items() if k != "one_shot"}
        Path("old.json").write_text(json.dumps(old))
        assert "predict again" in one_sentence(prunelimit("check", "old.json", results[1]), 3)
        Path("snip.json").write_text(json.dumps({**measured, "method": "snip"}))
        assert "snip" in one_sentence(prunelimit("check", results[0], "snip.json"), 3)
        loose = ("--tolerance", "100pp", "-q", "--rule", "accuracy")
        for files in (("old.json", results[1]), (results[0], "snip.json")):
            assert prunelimit("check", *files, *loose).code == 0
        # Refused before anything is predicted or measured.
        other = prunelimit("check", "none.safetensors", "--allocation", "erk")
        assert "magnitude/erk" in one_sentence(other, 3)
        said = one_sentence(prunelimit("check", *results, "--rule", "loss"), 2)
        assert "--rule" in said and "event" in said

    @pytest.mark.parametrize(
        ("ok", "interval", "options", "code"),
        [
            (True, [-0.005, 0.005], (), 0),
            (False, [-0.005, 0.005], (), 0),
            (True, [-0.1, 0.01], (), 4),
            (True, [-0.1, 0.01], ("--rule", "accuracy"), 0),
            (False, [-0.005, 0.005], ("--rule", "accuracy"), 4),
        ],
    )
    def test_strict_needs_a_reliable_number_to_hold_to(
        self,
        prunelimit: Run,
        results: tuple[Path, Path],
        ok: bool,
        interval: list[float],
        options: tuple[str, ...],
        code: int,
    ) -> None:
        document = json.loads(results[0].read_text())
        document["reliability"]["ok"] = ok
        document["reliability"]["reasons"] = [] if ok else ["The spectrum is not resolved."]
        plain = document["one_shot"]["sparsity"]
        document["one_shot"]["interval"] = [plain + each for each in interval]
        Path("p.json").write_text(json.dumps(document))
        command = ("check", "p.json", results[1], "--tolerance", "100pp", "--strict", "-q")
        outcome = prunelimit(*command, *options, "--json")
        assert outcome.code == code
        assert valid("check", outcome.document)["agreement"]["reliability"]["ok"] is (code == 0)

    def test_bad_input(self, prunelimit: Run, results: tuple[Path, Path], tmp_path: Path) -> None:
        predicted, measured = results
        Path("other.json").write_text(
            json.dumps(
                {
                    **(document := json.loads(measured.read_text())),
                    "model": {**document["model"], "sha256": "0" * 64},
                }
            )
        )
        Path("broken.json").write_text('{"schema": ')
        Path("list.json").write_text("[]")
        for files, code, said in (
            ((predicted, "none.json"), 3, "none.json"),
            ((predicted, "broken.json"), 3, "broken.json"),
            ((predicted, "list.json"), 3, "list.json"),
            ((measured, measured), 2, "Both files come from measure"),
            ((predicted, "other.json"), 3, "checkpoint"),
        ):
            assert said in one_sentence(prunelimit("check", *files, "-o", "c.json"), code)
        assert "much" in one_sentence(prunelimit("check", *results, "--tolerance", "much"), 2)
        assert not Path("c.json").exists()


WITH_OUTPUT = {
    "spectrum": ("-o", "out.json"),
    "predict": ("-o", "out.json"),
    "prune": ("-o", "out.safetensors", "--amount", "0.5"),
    "measure": ("-o", "out.json"),
    "check": ("-o", "out.json"),
    "compare": ("-o", "out.json"),
}


@pytest.mark.parametrize("name", WITH_OUTPUT)
class TestEveryCommand:
    """Checkpoints, networks and outputs that every command has to refuse alike."""

    def fails(self, prunelimit: Run, name: str, code: int, *arguments: object) -> str:
        before = {path: path.read_bytes() for path in Path().iterdir()}
        message = one_sentence(prunelimit(name, *arguments, *WITH_OUTPUT[name]), code)
        assert {path: path.read_bytes() for path in Path().iterdir()} == before
        return message

    def test_missing(self, prunelimit: Run, name: str) -> None:
        assert "none.pt" in self.fails(prunelimit, name, 3, "none.pt")

    def test_truncated(self, prunelimit: Run, name: str, trained: Path) -> None:
        Path("half.safetensors").write_bytes(trained.read_bytes()[:5000])
        assert "half.safetensors" in self.fails(prunelimit, name, 3, "half.safetensors")

    def test_empty(self, prunelimit: Run, name: str) -> None:
        Path("empty.pt").write_bytes(b"")
        assert "empty.pt" in self.fails(prunelimit, name, 3, "empty.pt")

    def test_code(self, prunelimit: Run, name: str) -> None:
        import functools

        torch.save({"state_dict": functools.partial(print, "run")}, "code.pt")
        message = self.fails(prunelimit, name, 3, "code.pt", "-m", "lenet-300-100", "-d", "digits")
        assert "partial" in message and "--trust-pickle" in message

    def test_another_network(self, prunelimit: Run, name: str, trained: Path) -> None:
        message = self.fails(prunelimit, name, 3, trained, "--model", "fc5")
        assert "fc" in message

    def test_weights_that_are_not_finite(self, prunelimit: Run, name: str, trained: Path) -> None:
        tensors = load_file(trained)
        tensors["layers.1.weight"][0, 0] = float("nan")
        save_file(tensors, "nan.safetensors")
        message = self.fails(
            prunelimit, name, 3, "nan.safetensors", "-m", "lenet-300-100", "-d", "digits"
        )
        assert "layers.1.weight" in message

    def test_nothing_said_about_the_network(
        self, prunelimit: Run, name: str, trained: Path
    ) -> None:
        save_file(load_file(trained), "bare.safetensors")
        message = self.fails(prunelimit, name, 2, "bare.safetensors")
        assert "--model" in message

    def test_an_output_that_exists(self, prunelimit: Run, name: str, trained: Path) -> None:
        shutil.copy(trained, WITH_OUTPUT[name][1])
        assert "--force" in self.fails(prunelimit, name, 2, trained)

    def test_a_batch_larger_than_the_data(self, prunelimit: Run, name: str, trained: Path) -> None:
        message = self.fails(prunelimit, name, 2, trained, "--batch-size", "100000")
        assert "100000" in message or "100,000" in message


def test_precision_is_shown_with_its_error(trained: Path, prunelimit: Run) -> None:
    outcome = prunelimit("predict", str(trained), *QUICK, "--precision", "bfloat16", "--json")
    assert outcome.code == 0, outcome.stderr
    document = valid("predict", json.loads(outcome.stdout))
    assert document["curvature"]["precision"] == "bfloat16"
    assert 0 < document["curvature"]["rounding_error"] < 0.1
    assert "bfloat16: a product is off by" in outcome.stderr
    assert any("`precision`" in reason for reason in document["reliability"]["reasons"])


@pytest.mark.parametrize(
    ("extra", "why"),
    [(("--dtype", "float64"), "--dtype"), (("--backend", "pyhessian"), "PyHessian")],
)
def test_precision_is_refused_where_it_cannot_be(
    extra: tuple[str, ...], why: str, trained: Path, prunelimit: Run
) -> None:
    outcome = prunelimit(
        "spectrum", str(trained), "--steps", "4", "--precision", "bfloat16", *extra
    )
    assert why in one_sentence(outcome, 2)
