"""Options and dataclasses are the same thing, told twice by one source."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
import pytest

from prunelimit import config
from prunelimit.cli import options
from prunelimit.cli.main import COMMANDS, group
from prunelimit.errors import InputError, UsageError
from prunelimit.values import EpsilonRule

SECTIONS = {
    "export": ("ModelConfig", "DataConfig", "RunConfig", "ExportConfig"),
    "train": ("ModelConfig", "DataConfig", "RunConfig", "TrainConfig"),
    "spectrum": ("ModelConfig", "DataConfig", "RunConfig", "CurvatureConfig", "SharpnessConfig"),
    "predict": (
        "ModelConfig",
        "DataConfig",
        "RunConfig",
        "CurvatureConfig",
        "LimitConfig",
    ),
    "prune": (
        "ModelConfig",
        "DataConfig",
        "RunConfig",
        "CurvatureConfig",
        "LimitConfig",
        "PruneConfig",
    ),
    "measure": ("ModelConfig", "DataConfig", "RunConfig", "MeasureConfig"),
    "check": (
        "ModelConfig",
        "DataConfig",
        "RunConfig",
        "CurvatureConfig",
        "LimitConfig",
        "CheckConfig",
    ),
    "compare": (
        "ModelConfig",
        "DataConfig",
        "RunConfig",
        "CurvatureConfig",
        "LimitConfig",
        "CompareConfig",
    ),
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    parent = click.Context(group, info_name="prunelimit")
    command = group.get_command(parent, name)
    assert command is not None
    return command.make_context(name, list(arguments), parent=parent).params


def positional(name: str) -> list[str]:
    if name == "export":
        return ["checkpoint.safetensors", "-o", "other.pt"]
    return [] if name in ("train", "demo") else ["checkpoint.safetensors"]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_call_without_flags_gives_the_defaults(name: str) -> None:
    given = parsed(name, *positional(name))
    for kind in SECTIONS[name]:
        dataclass = getattr(config, kind)
        # The --tolerance of the gate, and that of accuracy, is not that of the limit.
        both = name in ("check", "compare") and kind == "LimitConfig"
        other = options.OTHER_TOLERANCE if both else ()
        assert options.build(dataclass, given, without=other) == dataclass()


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_has_a_flag(name: str) -> None:
    given = parsed(name, *positional(name))
    for kind in SECTIONS[name]:
        missing = {f.name for f in dataclasses.fields(getattr(config, kind))} - set(given)
        assert missing <= ({"trust_pickle", "key"} if name == "train" else set())


def test_flags_reach_their_fields() -> None:
    given = parsed(
        "predict", "x.pt", "-m", "fc5", "--model-arg", "a=1", "--model-arg", "b=2", "-b", "7",
        "--samples", "11", "--epsilon", "5%", "--download", "--curvature", "ggn",
    )  # fmt: skip
    assert options.build(config.ModelConfig, given) == config.ModelConfig(
        model="fc5", model_arg=("a=1", "b=2")
    )
    assert options.build(config.DataConfig, given) == config.DataConfig(download=True)
    assert options.build(config.RunConfig, given).batch_size == 7
    assert options.build(config.CurvatureConfig, given) == config.CurvatureConfig(
        curvature="ggn", samples=11
    )
    assert options.build(config.LimitConfig, given).epsilon == EpsilonRule("share", 0.05)


def test_a_repeatable_option_replaces_its_default() -> None:
    given = parsed("measure", "x.pt", "--tolerance", "2pp")
    assert options.build(config.MeasureConfig, given).tolerance == (0.02,)


def test_one_flag_feeds_prediction_and_measurement() -> None:
    given = parsed("check", "x.pt", "--epsilon", "0.01", "--confidence", "0.9")
    limit = options.build(config.LimitConfig, given)
    measure = options.build(config.MeasureConfig, given, without=("tolerance",))
    assert (limit.epsilon, limit.confidence) == (measure.epsilon, measure.confidence)
    assert limit.epsilon == EpsilonRule.parse(0.01)


def test_the_tolerance_of_check_is_the_gates() -> None:
    given = parsed("check", "x.pt", "--tolerance", "3pp")
    assert options.build(config.CheckConfig, given).tolerance == 0.03
    measure = options.build(config.MeasureConfig, given, without=("tolerance",))
    assert measure.tolerance == config.MeasureConfig().tolerance


def test_compare_has_every_option_of_measure_but_the_method() -> None:
    given = parsed("compare", "x.pt", "--tolerance", "3pp", "--cg-steps", "7")
    measure = options.build(config.MeasureConfig, given)
    assert measure == config.MeasureConfig(tolerance=("3pp",), cg_steps=7)
    missing = {f.name for f in dataclasses.fields(config.MeasureConfig)} - set(given)
    assert missing == {f.name for f in dataclasses.fields(config.MethodConfig)}


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_has_help(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None and command.help
    summary = command.help.split("\n")[0]
    assert summary.endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help and parameter.help.endswith((".", ").")), parameter.opts


@pytest.mark.parametrize("name", SECTIONS)
def test_help_shows_every_default(name: str) -> None:
    parent = click.Context(group, info_name="prunelimit")
    command = group.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent, terminal_width=1000)
    context.meta["prunelimit.all"] = True
    text = command.get_help(context)
    given = parsed(name, *positional(name))
    for kind in SECTIONS[name]:
        for field in dataclasses.fields(getattr(config, kind)):
            unset = field.default is None or field.default is False or field.default == ()
            shared = name in ("check", "compare") and field.name == "tolerance"
            if unset or shared or field.name not in given:
                continue
            shown = field.default if isinstance(field.default, tuple) else (field.default,)
            flag = (*field.metadata["flags"], "--" + field.name.replace("_", "-"))[-1]
            entries = [each for each in text.split("\n  -") if f"-{each}".startswith(f"{flag} ")]
            entries += [each for each in text.split("\n  -") if f", {flag} " in each[:30]]
            assert f"[default: {', '.join(map(str, shown))}]" in entries[0]


class TestSettings:
    """Defaults from files: flags win over --config, that over pyproject.toml."""

    def test_files_and_flags_in_order(self, empty_folder: Path) -> None:
        (empty_folder / "pyproject.toml").write_text(
            "[tool.prunelimit]\nsteps = 10\nprobes = 2\nseed = 3\n"
        )
        (empty_folder / "other.toml").write_text("probes = 4\nseed = 5\n")
        given = parsed("predict", "x.pt", "--config", "other.toml", "--seed", "6")
        assert (given["steps"], given["probes"], given["seed"]) == (10, 4, 6)

    def test_a_commands_own_table_goes_first(self, empty_folder: Path) -> None:
        (empty_folder / "pyproject.toml").write_text(
            "[tool.prunelimit]\nsteps = 10\nl1 = 0.5\n[tool.prunelimit.predict]\nsteps = 20\n"
        )
        assert parsed("predict", "x.pt")["steps"] == 20
        assert parsed("spectrum", "x.pt")["steps"] == 10
        assert parsed("train")["l1"] == 0.5

    def test_a_config_file_may_be_a_pyproject(self, empty_folder: Path) -> None:
        (empty_folder / "other.toml").write_text("[tool.prunelimit]\nsteps = 12\n")
        assert parsed("predict", "x.pt", "--config", "other.toml")["steps"] == 12

    def test_a_pyproject_of_others_changes_nothing(self, empty_folder: Path) -> None:
        (empty_folder / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.ruff]\na = 1\n")
        given = parsed("predict", "x.pt")
        assert options.build(config.CurvatureConfig, given) == config.CurvatureConfig()

    def test_kinds_of_values(self, empty_folder: Path) -> None:
        (empty_folder / "pyproject.toml").write_text(
            "[tool.prunelimit]\nepsilon = 0.01\nexclude = ['a', 'b']\ndownload = true\n"
            "model-arg = 'width=3'\nbatch_size = 9\n[tool.prunelimit.measure]\ntolerance='1pp'\n"
        )
        given = parsed("measure", "x.pt")
        assert given["epsilon"] == "0.01"
        assert given["exclude"] == ("a", "b")
        assert given["download"] is True
        assert given["model_arg"] == ("width=3",)
        assert given["batch_size"] == 9
        assert given["tolerance"] == ("1pp",)

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("step = 3", "steps"),
            ("[predict]\nprobs = 3", r"predict\.probs.*probes"),
            ("[predikt]\nprobes = 3", "predikt.*predict"),
            ("[predict]\nl1 = 3", r"predict\.l1"),
            ("download = 3", "download.*true or false"),
            ("steps = [1, 2]", "steps.*one value"),
            ("steps = true", "steps.*one value"),
            ("exclude = [['a']]", "exclude.*list"),
            ("trust-pickle = true", "trust-pickle.*command line"),
            ("force = true", "force.*command line"),
            ("config = 'x.toml'", "config"),
            ("l1 = [1]", r"l1.*one value"),
        ],
    )
    def test_mistakes_are_named(self, empty_folder: Path, text: str, named: str) -> None:
        (empty_folder / "other.toml").write_text(text)
        with pytest.raises(UsageError, match=named) as caught:
            parsed("predict", "x.pt", "--config", "other.toml")
        assert "other.toml" in str(caught.value)

    def test_a_value_of_a_wrong_kind_is_a_usage_error(self, empty_folder: Path) -> None:
        (empty_folder / "other.toml").write_text("steps = 'many'")
        with pytest.raises(UsageError, match=r"steps in other\.toml .*many.* integer"):
            parsed("predict", "x.pt", "--config", "other.toml")

    @pytest.mark.parametrize("content", [b"steps = ", None, b"\xff\xfe"])
    def test_an_unreadable_file_is_named(self, empty_folder: Path, content: bytes | None) -> None:
        if content is not None:
            (empty_folder / "other.toml").write_bytes(content)
        with pytest.raises(InputError, match=r"other\.toml"):
            parsed("predict", "x.pt", "--config", "other.toml")
