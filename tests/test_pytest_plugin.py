"""What pytest gets, in runs of pytest of its own."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from torch import nn

import prunelimit as pl
from prunelimit.errors import InputError, UsageError
from prunelimit.pytest_plugin import PrunabilityWarning, Verdict, assert_prunable

pytest_plugins = ("pytester",)

MODULE = "prunelimit.pytest_plugin"
FOUND = MODULE in {each.value for each in entry_points(group="pytest11")}
NAMED = () if FOUND else ("-p", MODULE)
"""What makes pytest load it where it was installed before there was such an entry point."""

SETTING = """
    import torch
    from torch import nn

    def network():
        torch.manual_seed(0)
        model = nn.Linear(8, 2)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[3.0, 2.0, 1, 1, 1e-7, 1e-7, 1e-7, 1e-7]] * 2))
            model.weight[1] *= -1
        return model

    def data():
        inputs = torch.randn(400, 8, generator=torch.Generator().manual_seed(1))
        targets = network()(inputs).argmax(1)
        return (inputs[:200], targets[:200]), (inputs[200:], targets[200:])
"""


def run(pytester: pytest.Pytester, body: str) -> pytest.RunResult:
    """A test file with a network of which half of the weights are next to nothing."""
    lines = [line.removeprefix("    ") for line in SETTING.splitlines()]
    pytester.makepyfile("\n".join([*lines, *body.splitlines()]))
    return pytester.runpytest_subprocess(*NAMED, "-p", "no:cacheprovider")


@pytest.mark.parametrize("given", [-0.1, 1.1, float("nan"), "limit", True, None])
def test_a_sparsity_that_is_none_is_called_by_its_own_name(given: object) -> None:
    with pytest.raises(UsageError, match=r"`sparsity` is .*fraction to remove") as caught:
        assert_prunable(*plain(), sparsity=given)  # type: ignore[arg-type]
    assert "amount" not in str(caught.value)


def plain() -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    inputs = torch.randn(100, 8)
    data = inputs, inputs[:, 0].gt(0).long()
    return model, (data, data)


def test_refusals_name_the_arguments_that_there_are() -> None:
    with pytest.raises(UsageError, match="smaller `sparsity`") as caught:
        assert_prunable(*plain(), sparsity=1.0, min_keep="3")
    assert "amount" not in str(caught.value)
    with pytest.raises(
        UsageError, match=r"magnitude/2:4 removes 50\.0% and no more, and `sparsity`"
    ):
        assert_prunable(*plain(), sparsity=0.8, method="magnitude/2:4")
    found = assert_prunable(*plain(), sparsity=0.5, within="100pp", method="magnitude/2:4")
    assert found.sparsity == 0.5
    with pytest.raises(UsageError, match="leave out `amount`"):
        assert_prunable(*plain(), sparsity=0.5, amount=0.5)


def test_a_file_that_names_no_network_is_told_how_it_is_given(tmp_path: Path) -> None:
    torch.save(plain()[0].state_dict(), tmp_path / "bare.pt")
    with pytest.raises(UsageError, match=r"bare\.pt does not say .*from_checkpoint\(FILE, model"):
        assert_prunable(tmp_path / "bare.pt", sparsity=0.5)
    with pytest.raises(InputError, match="nope"):
        assert_prunable(tmp_path / "nope.pt", sparsity=0.5)


def test_advice_on_a_pattern_keeps_the_pattern() -> None:
    model = nn.Linear(8, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.1, 1, 1, 1, 1, 1, 1, 1], [-1.1] + [-1] * 7]))
    inputs = torch.randn(400, 8, generator=torch.Generator().manual_seed(1))
    right = inputs, model(inputs).argmax(1)
    with pytest.raises(pytest.fail.Exception, match=r"magnitude/1:8\+staged may lose less\.$"):
        assert_prunable(model, (right, right), sparsity=0.5, within=0.0, method="magnitude/1:8")


@pytest.mark.slow
def test_what_keeps_its_accuracy_passes(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
def test_fixture(prunelimit):
    found = prunelimit.assert_prunable(network(), data, sparsity=0.5, within="0.5pp")
    assert (found.sparsity, found.drop, found.explained) == (0.5, 0, False)

def test_function():
    from prunelimit.pytest_plugin import assert_prunable
    assert assert_prunable(network(), data(), sparsity=0.5).result.nonzero == 8
""",
    )
    done.assert_outcomes(passed=2)


@pytest.mark.slow
def test_a_failure_says_how_much_is_lost_and_the_better_command(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
def test_it(prunelimit):
    prunelimit.assert_prunable(network(), data, sparsity=1.0, within="0.5pp", min_keep=0)
""",
    )
    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    (said,) = re.findall(r"(?m)^(module pruned by .*)$", text)
    numbers = re.search(
        r"to 100\.0% loses ([\d.]+) pp of accuracy \(paired standard error ([\d.]+) pp on 200 test "
        r"samples\), and 0\.5 pp are allowed",
        said,
    )
    assert numbers is not None and float(numbers[1]) > 20 and 0 < float(numbers[2]) < 10
    assert "prunelimit prune CKPT -m FILE.py:network -d FILE.py:data --within 0.5pp" in said
    assert "Traceback" not in text and "pytest_plugin.py" not in text


def small(flips: int, samples: int = 100) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A network whose smallest weight decides ``flips`` of the samples, and nothing else does."""
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.2], [-1.0, -0.1]]))
    inputs = torch.tensor([[1.0, 0.0]] * (samples - flips) + [[-1e-3, 1.0]] * flips)
    return model, (inputs, torch.zeros(samples, dtype=torch.int64))


@pytest.mark.parametrize(("flips", "outcome"), [(0, "passes"), (2, "explained"), (20, "fails")])
def test_what_its_error_explains_is_no_failure_and_is_said(flips: int, outcome: str) -> None:
    model, data = small(flips)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PrunabilityWarning)
        if outcome == "fails":
            with pytest.raises(pytest.fail.Exception, match=r"loses 20\.00 pp"):
                assert_prunable(model, (data, data), sparsity=0.5, within="0.5pp", min_keep=0)
            return
        found = assert_prunable(model, (data, data), sparsity=0.5, within="0.5pp", min_keep=0)
    said = [str(each.message) for each in caught if each.category is PrunabilityWarning]
    assert isinstance(found, Verdict) and found.explained == (outcome == "explained")
    assert len(said) == (outcome == "explained")
    if said:
        assert "the sampling error explains the difference" in said[0]
        # At a lower level the same loss is more than the error explains.
        with pytest.raises(pytest.fail.Exception):
            assert_prunable(
                model, (data, data), sparsity=0.5, within="0.5pp", min_keep=0, confidence=0.1
            )


def test_a_checkpoint_and_a_problem_do_without_data(trained: Path) -> None:
    for given in (trained, str(trained), pl.Problem.from_checkpoint(trained)):
        assert assert_prunable(given, sparsity=0.2, within="3pp").sparsity == 0.2
    with pytest.raises(pytest.fail.Exception) as failed:
        assert_prunable(trained, sparsity=0.99, within="1pp")
    assert "prunelimit prune CKPT --within 1pp --survivors staged" in str(failed.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"within": "much"}, "`within`"),
        ({"sparsity": 1.5}, "`sparsity`"),
        ({"confidence": 1.0}, "`confidence`"),
        ({"data": None}, r"\(train, test\)"),
        ({"method": "magnitud"}, "magnitude"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], said: str) -> None:
    model, data = small(1)
    given = {"data": (data, data), "sparsity": 0.5, **changes}
    with pytest.raises(UsageError, match=said):
        assert_prunable(model, **given)  # type: ignore[arg-type]


def test_nothing_heavy_is_loaded_before_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(
        "import sys\n\ndef test_it(prunelimit):\n"
        "    assert callable(prunelimit.assert_prunable)\n"
        "    assert not {'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", *NAMED, "--rootdir"]
    done = subprocess.run(
        [*command, str(tmp_path), str(tmp_path), "-p", "no:cacheprovider", "-p", "no:xdist"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_an_entry_point_of_pytest() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[1] / "setup.cfg")
    assert f"prunelimit = {MODULE}" in setup["options.entry_points"]["pytest11"]
