"""`plot`, `report` and `check --report`: from files to what people look at."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Outcome
from made import MODEL, PRUNED, TRAINED, TRAINING, both, compared, measured, spectrum, verdict
from PIL import Image

import prunelimit as pl
from prunelimit.errors import InputError, OutputError, UsageError

Run = Callable[..., Outcome]

pytestmark = pytest.mark.slow

RESULTS: dict[str, Any] = {
    "predict": both(),
    "measure": measured(),
    "refit": measured(TRAINING),
    "spectrum": spectrum(),
    "prune": PRUNED,
    "check": verdict(),
    "compare": compared(),
    "train": dataclasses.replace(TRAINED, history=({"epoch": 1.0, "loss": 0.5, "accuracy": 0.8},)),
}


@pytest.fixture
def files(prunelimit: Run, tmp_path: Path) -> dict[str, Path]:
    """The results, saved where the command line runs."""
    for name, result in RESULTS.items():
        result.save(tmp_path / f"{name}.json")
    return {name: Path(f"{name}.json") for name in RESULTS}


class TestPlot:
    @pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
    def test_a_prediction_and_its_measurements_share_a_figure(
        self, suffix: str, files: dict[str, Path], prunelimit: Run
    ) -> None:
        given = (files["predict"], files["measure"], files["refit"])
        output = Path(f"figure.{suffix}")
        outcome = prunelimit("plot", *given, "-o", output, "--width", "3.25in", "--dpi", "200")
        assert (outcome.code, outcome.stdout) == (0, "")
        assert outcome.stderr == f"Drawn: {output}\n"
        if suffix == "png":
            with Image.open(output) as image:
                assert image.size[0] == 650
        else:
            assert output.stat().st_size > 5_000
        if suffix == "svg":
            text = output.read_text()
            assert "predicted plain" in text and "magnitude+trained" in text

    @pytest.mark.parametrize(
        ("name", "figure"),
        [
            ("predict", "limit"),
            ("predict", "layers"),
            ("predict", "path"),
            ("measure", "measure"),
            ("spectrum", "spectrum"),
            ("compare", "compare"),
            ("check", "verdict"),
            ("prune", "layers"),
            ("train", "training"),
        ],
    )
    def test_every_figure_again(
        self, name: str, figure: str, files: dict[str, Path], prunelimit: Run
    ) -> None:
        outcome = prunelimit("plot", files[name], "-o", "a.svg", "--figure", figure, "-q")
        assert (outcome.code, outcome.stderr) == (0, "")
        same = pl.plot(RESULTS[name], path="b.svg", figure=figure)
        assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()
        assert type(same).__name__ == "Figure"
        RESULTS[name].plot("c.svg", figure=figure)
        assert Path("c.svg").read_bytes() == Path("a.svg").read_bytes()

    def test_no_title(self, files: dict[str, Path], prunelimit: Run) -> None:
        for name, flags in (("with.svg", ()), ("without.svg", ("--no-title",))):
            assert prunelimit("plot", files["predict"], "-o", name, *flags).code == 0
        assert "Pruning limit" in Path("with.svg").read_text()
        assert "Pruning limit" not in Path("without.svg").read_text()

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (("-o", "a.png"), 2, "plot needs at least one JSON file"),
            (("predict.json",), 2, "plot needs -o FILE"),
            (("predict.json", "-o", "a.bmp"), 2, "end its name with .png, .pdf or .svg"),
            (("predict.json", "-o", "a"), 2, "end its name with .png, .pdf or .svg"),
            (("predict.json", "-o", "a.png", "--width", "3.25"), 0, ""),
            (("predict.json", "-o", "a.png", "--width", "wide"), 2, "--width is wide; give"),
            (("predict.json", "-o", "a.png", "--width", "99in"), 2, "from 1 to 40 inches"),
            (("predict.json", "-o", "a.png", "--dpi", "9"), 2, "--dpi is 9; give from 30"),
            (("predict.json", "-o", "a.png", "--figure", "compare"), 2, "does not draw 1 result"),
            (("predict.json", "-o", "a.png", "--figure", "limits"), 2, "did you mean limit?"),
            (("measure.json", "spectrum.json", "-o", "a.png"), 2, "No figure draws 2 results"),
            (("none.json", "-o", "a.png"), 3, "There is no file none.json"),
            (("junk.json", "-o", "a.png"), 3, "cannot be read as JSON"),
            (("empty.json", "-o", "a.png"), 3, "holds no result that this version reads"),
            (("other.json", "predict.json", "-o", "a.png"), 3, "give files about one network"),
            (("predict.json", "-o", "predict.json"), 2, "the name of an input"),
            (("predict.json", "-o", "there.png"), 2, "there.png exists; give --force"),
            (("predict.json", "-o", "no/a.png"), 2, "there is no folder no"),
        ],
    )
    def test_what_cannot_be_drawn_is_said_in_a_sentence(
        self,
        arguments: tuple[str, ...],
        code: int,
        said: str,
        files: dict[str, Path],
        prunelimit: Run,
    ) -> None:
        Path("junk.json").write_text("{")
        Path("empty.json").write_text("{}")
        Path("there.png").write_text("mine")
        model = dataclasses.replace(MODEL, sha256="cd" * 32)
        dataclasses.replace(measured(), model=model).save("other.json")
        before = sorted(Path().iterdir())
        outcome = prunelimit("plot", *arguments)
        assert outcome.code == code and said in outcome.stderr
        if code:
            assert outcome.stderr.startswith("Error: ") and outcome.stderr.count("\n") == 1
            assert sorted(Path().iterdir()) == before
        assert Path("there.png").read_text() == "mine"


class TestReport:
    def test_a_page_by_default(self, files: dict[str, Path], prunelimit: Run) -> None:
        given = [files["check"]]
        outcome = prunelimit("report", *given)
        assert (outcome.code, outcome.stdout) == (0, "")
        assert outcome.stderr == "Written: report.html\n"
        text = Path("report.html").read_text()
        assert text == pl.report(*given)
        assert text.startswith("<!doctype html>") and "data:application/json" in text
        outcome = prunelimit("report", *given)
        assert outcome.code == 2 and "report.html exists; give --force" in outcome.stderr
        assert prunelimit("report", *given, "--force", "-q").stderr == ""

    def test_markdown_by_name_and_on_stdout(self, files: dict[str, Path], prunelimit: Run) -> None:
        given = [files[name] for name in ("predict", "measure", "check", "compare")]
        outcome = prunelimit("report", *given, "--format", "md")
        assert (outcome.code, outcome.stderr) == (0, "")
        assert prunelimit("report", *given, "-o", "comment.md").code == 0
        assert Path("comment.md").read_text() == outcome.stdout
        assert outcome.stdout == pl.report(*(RESULTS[each.stem] for each in given), format="md")
        assert "**PASSED**" in outcome.stdout
        assert len(outcome.stdout) < 65_536  # a comment's most

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            ((), 2, "report needs at least one JSON file"),
            (
                ("predict.json", "-o", "a.txt"),
                2,
                "end its name with .html or .md, or give --format",
            ),
            (("predict.json", "-o", "a.txt", "--format", "html"), 0, ""),
            (("predict.json", "predict.json"), 2, "both come from predict"),
            (("other.json", "predict.json"), 3, "give files about one network"),
            (("predict.json", "-o", "predict.json"), 2, "the name of an input"),
            (("none.json",), 3, "There is no file none.json"),
        ],
    )
    def test_what_makes_no_report_is_said_in_a_sentence(
        self,
        arguments: tuple[str, ...],
        code: int,
        said: str,
        files: dict[str, Path],
        prunelimit: Run,
    ) -> None:
        model = dataclasses.replace(MODEL, sha256="cd" * 32)
        dataclasses.replace(measured(), model=model).save("other.json")
        before = sorted(Path().iterdir())
        outcome = prunelimit("report", *arguments)
        assert outcome.code == code and said in outcome.stderr
        if code:
            assert outcome.stderr.startswith("Error: ") and outcome.stderr.count("\n") == 1
            assert sorted(Path().iterdir()) == before

    def test_from_python(self, prunelimit: Run, tmp_path: Path) -> None:
        text = pl.report(both(), measured(), path=tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text() == text
        with pytest.raises(OutputError, match="give `force`"):
            pl.report(both(), path=tmp_path / "page.html")
        with pytest.raises(UsageError, match="`format`"):
            pl.report(both(), path=tmp_path / "page.txt")
        with pytest.raises(UsageError, match="no format 'pdf'"):
            pl.report(both(), format="pdf")
        with pytest.raises(UsageError, match="A dict is not a result"):
            pl.report(json.loads(json.dumps(both().to_dict())))
        with pytest.raises(TypeError, match="no argument 'formt'; did you mean 'format'"):
            pl.report(both(), formt="md")
        with pytest.raises(UsageError, match="nothing to draw"):
            pl.plot()
        with pytest.raises(InputError, match="There is no file"):
            pl.plot("none.json")


class TestCheck:
    def test_the_verdict_and_what_it_is_about(self, trained: Path, prunelimit: Run) -> None:
        few = ("--samples", "100", "--steps", "10", "--probes", "1", "--sparsities", "0,0.5,0.9")
        outcome = prunelimit("check", trained, *few, "--report", "page.html", "--tolerance", "99pp")
        assert outcome.code == 0
        text = Path("page.html").read_text()
        for name in ("predict.json", "measure.json", "check.json"):
            assert f'download="{name}"' in text
        assert "Passed." in text

    def test_of_files(self, files: dict[str, Path], prunelimit: Run) -> None:
        given = ("check", files["predict"], files["refit"])
        assert prunelimit(*given, "--report", "page.html").code == 0
        text = Path("page.html").read_text()
        assert 'download="refit.json"' in text and "Passed." in text
        outcome = prunelimit(*given, "--report", "page.html")
        assert outcome.code == 2 and "page.html exists" in outcome.stderr
        floor = ("--min-sparsity", "0.9999")
        outcome = prunelimit(*given, *floor, "--report", "failed.md", "-q")
        assert outcome.code == 1 and "**FAILED**" in Path("failed.md").read_text()
        outcome = prunelimit(*given, "--report", "predict.json", "--force")
        assert outcome.code == 2 and "the name of an input" in outcome.stderr
        outcome = prunelimit(*given, "--report", "page.txt")
        assert outcome.code == 2 and not Path("page.txt").exists()


@pytest.mark.parametrize("command", ["measure", "compare"])
@pytest.mark.parametrize("name", ["a.feather", "a.txt", "a"])
def test_a_curve_is_written_as_its_suffix_says_or_not_at_all(
    command: str, name: str, trained: Path, prunelimit: Run
) -> None:
    outcome = prunelimit(command, trained, "--csv", name)
    assert outcome.code == 2 and "end its name with .csv or .parquet" in outcome.stderr
    assert not Path(name).exists()


def test_a_curve_is_written_as_parquet_where_that_can_be(
    trained: Path, prunelimit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("measure", trained, "--sparsities", "0,0.5", "-q", "--parquet", "m.parquet")
    find = importlib.util.find_spec
    with monkeypatch.context() as patched:
        patched.setattr(
            "importlib.util.find_spec", lambda name: None if name == "pyarrow" else find(name)
        )
        outcome = prunelimit(*given)
    assert outcome.code == 2 and "pip install 'prunelimit[parquet]'" in outcome.stderr
    assert not Path("m.parquet").exists()
    pytest.importorskip("pyarrow")
    assert prunelimit(*given, "-o", "m.json").code == 0
    curve = json.loads(Path("m.json").read_text())["curve"]
    frame = pytest.importorskip("pandas").read_parquet("m.parquet")
    assert list(frame["accuracy"]) == [point["accuracy"] for point in curve]
    assert list(frame["nonzero"]) == [point["nonzero"] for point in curve]


def test_a_curve_is_written_to_every_file_that_is_named(trained: Path, prunelimit: Run) -> None:
    files = ("--csv", "a.csv", "--csv", "b.csv")
    outcome = prunelimit("measure", trained, "--sparsities", "0,0.5", "-q", *files)
    assert outcome.code == 0, outcome.stderr
    assert Path("a.csv").read_text() == Path("b.csv").read_text() != ""
    outcome = prunelimit("measure", trained, "-q", "--csv", "c.csv", "--csv", "c.csv")
    assert outcome.code == 2 and "another output" in outcome.stderr and not Path("c.csv").exists()


@pytest.mark.parametrize("command", ["measure", "predict", "spectrum"])
def test_a_figure_that_fails_costs_no_result(
    command: str, trained: Path, prunelimit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*results: object, **options: object) -> None:
        raise InputError("The figure cannot be drawn.")

    monkeypatch.setattr("prunelimit.reports.figure.draw", refuse)
    few = ("--sparsities", "0,0.5") if command == "measure" else ("--steps", "4", "--probes", "1")
    outcome = prunelimit(command, trained, *few, "-o", "found.json", "--plot", "found.svg")
    assert outcome.code == 3 and "cannot be drawn" in outcome.stderr
    assert "lenet" in outcome.stderr and not Path("found.svg").exists()
    assert json.loads(Path("found.json").read_text())["command"] == command
