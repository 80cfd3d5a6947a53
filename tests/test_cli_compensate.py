"""``prune`` with survivors that move: what it writes, and what interrupts and mistakes do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import torch

from prunelimit.compensation.stages import Compensator
from prunelimit.compensation.state import State
from prunelimit.inputs.checkpoint import read_checkpoint
from prunelimit.results.schema import schema
from prunelimit.storage.files import resume_path

pytestmark = pytest.mark.slow

Run = Callable[..., object]
ONCE = ("--survivors", "compensated")
STAGED = ("--survivors", "staged", "--stages")
SMALL = ("--calibration", "600", "--cg-steps", "5", "--epsilon", "0.02")


@pytest.mark.parametrize("stages", [ONCE, (*STAGED, "2"), (*STAGED, "auto")])
def test_it_prunes_exactly_and_says_how(
    prunelimit: Run, trained: Path, stages: tuple[str, ...]
) -> None:
    command = ("prune", trained, "--amount", "0.9", *SMALL, *stages, "--json", "-v")
    outcome = prunelimit(*command, "-o", "p.safetensors")
    assert outcome.code == 0, outcome.stderr
    document = outcome.document
    jsonschema.validate(document, schema("prune"))
    removed = round(0.9 * document["model"]["prunable"])
    assert document["nonzero"] <= document["model"]["prunable"] - removed
    found = document["compensation"]
    assert found["calibration"] == 600 and found["held_out"] == 150
    assert found["stages"][-1]["sparsity"] == pytest.approx(0.9, abs=1e-4)
    assert "Compensation on 600 inputs" in outcome.stderr
    # what was measured is what was written
    measured = prunelimit("measure", "p.safetensors", "--sparsities", "0", "--json", "-q")
    assert measured.document["curve"][0]["accuracy"] == document["accuracy_after"]
    assert not resume_path(Path("p.safetensors")).exists()


def test_what_is_measured_is_what_is_written_in_few_bits(prunelimit: Run, trained: Path) -> None:
    """Survivors that moved are rounded like the checkpoint; in two bytes the smallest vanish."""
    found = read_checkpoint(trained).tensors
    first, second, *_ = (name for name in found if name.endswith("weight"))
    # Of numbers so small two bytes hold multiples of 6e-8; relu lets the factor through.
    found[first], found[second] = 1e-6 * found[first], 1e5 * found[second]
    found[first.replace("weight", "bias")] *= 1e-6
    torch.save({name: tensor.half() for name, tensor in found.items()}, "short.pt")
    network = ("-m", "lenet-300-100", "-d", "digits")
    command = ("prune", "short.pt", *network, "--amount", "0.2", *SMALL, *ONCE, "--json")
    document = prunelimit(*command, "-o", "p.safetensors").document
    written = read_checkpoint(Path("p.safetensors")).tensors
    assert all(tensor.dtype == torch.float16 for tensor in written.values())
    weights = [tensor for tensor in written.values() if tensor.ndim == 2]
    assert document["nonzero"] == sum(int((each != 0).sum()) for each in weights)
    measured = prunelimit("measure", "p.safetensors", "--sparsities", "0", "--json", "-q")
    assert measured.document["curve"][0]["accuracy"] == document["accuracy_after"]


def test_it_goes_on_where_it_was_interrupted(
    prunelimit: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("prune", trained, "--amount", "0.95", *SMALL, *STAGED, "auto", "-q", "-o")
    assert prunelimit(*command, "whole.safetensors").code == 0
    advance = Compensator.advance

    def interrupted(self: Compensator, state: State, removed: int, **given: object) -> State:
        on_stage = given.pop("on_stage")

        def stop(reached: State) -> None:
            on_stage(reached)  # type: ignore[operator]
            raise KeyboardInterrupt

        return advance(self, state, removed, on_stage=stop, **given)

    with monkeypatch.context() as patch:
        patch.setattr(Compensator, "advance", interrupted)
        outcome = prunelimit(*command, "half.safetensors")
    assert outcome.code == 130 and "--resume" in outcome.stderr
    assert not Path("half.safetensors").exists()
    outcome = prunelimit(*command, "half.safetensors")
    assert outcome.code == 2 and "--resume" in outcome.stderr
    other = [*command]
    other[other.index("0.95")] = "0.9"
    outcome = prunelimit(*other, "half.safetensors", "--resume")
    assert outcome.code == 2 and "another remove (" in " ".join(outcome.stderr.split())
    assert prunelimit(*command, "half.safetensors", "--resume").code == 0
    first, second = (read_checkpoint(Path(f"{n}.safetensors")).tensors for n in ("whole", "half"))
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--stages", "0"), "--stages is 0"),
        (("--stages", "some"), "--stages is some"),
        ((*ONCE, "--cg-steps", "some"), "--cg-steps is some"),
        ((*ONCE, "--calibration", "1"), "--calibration is 1"),
        ((*STAGED, "2", "--calibration", "1"), "--calibration is 1"),
        ((*ONCE, "--bn-recalibrate", "1"), "--bn-recalibrate is 1"),
        ((*ONCE, "--min-keep", "100000"), "another --min-keep"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    prunelimit: Run, trained: Path, options: tuple[str, ...], said: str
) -> None:
    outcome = prunelimit("prune", trained, "--amount", "0.9", *options, "-o", "p.safetensors")
    assert outcome.code == 2 and said in outcome.stderr
    assert not Path("p.safetensors").exists()
