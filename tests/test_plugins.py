"""What is found by name: one file each, listed without torch, and added by other packages."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prunelimit import plugins
from prunelimit.commands.predict import predict_problem
from prunelimit.config import CurvatureConfig, DataConfig, LimitConfig, MethodConfig, RunConfig
from prunelimit.curvature import CurvatureProduct
from prunelimit.errors import InputError, UsageError
from prunelimit.inputs.build import build_network
from prunelimit.inputs.datasets import load_data
from prunelimit.inputs.load import problem_from_module
from prunelimit.inputs.problem import Problem, evaluate
from prunelimit.pruning.selection import Selection
from prunelimit.reports.figure import draw
from prunelimit.values import Method, Pattern

ROOT = Path(plugins.__file__).parent

FILES = {
    "criterion": '''
"""Criteria of another package."""
from prunelimit.pruning.criterion import Criterion, Scores
from prunelimit.pruning.layers import prunable_part

NAME = "largest"
SOURCE = "a test"
HELP = "Large weights go first."


def judge(problem, split, seed, progress):
    return Scores(-prunable_part(problem, problem.vector()).abs().double())


CRITERION = Criterion(NAME, SOURCE, HELP, reads="weights", function=judge)
''',
    "allocation": '''
"""All from the last layers."""
from prunelimit.pruning.allocation import Allocation

NAME = "backwards"
SOURCE = "a test"
HELP = "The last layers first."


def begin(ranking):
    def counts(caps, remove):
        found = []
        for cap in reversed(caps):
            found.append(min(cap, remove - sum(found)))
        return found[::-1]

    return counts


ALLOCATION = Allocation(NAME, SOURCE, HELP, function=begin)
''',
    "pattern": '''
"""Whole columns."""
import torch

from prunelimit.errors import UsageError
from prunelimit.pruning.layers import prunable_layers
from prunelimit.pruning.pattern import MaskPattern

NAME = "columns"
SOURCE = "a test"
HELP = "The first columns of every layer go."
FORM = "columns=.*"
METAVAR = "columns=N"
LABEL = "columns=N"


def parse(text):
    number = text.removeprefix("columns=")
    if not number.isdecimal():
        raise UsageError(f"`pattern` is {text}; give columns=N.")
    return int(number)


def columns(problem, scores, value):
    kept = torch.ones(len(scores), dtype=torch.bool)
    for layer in prunable_layers(problem):
        layer.part(kept).view(layer.shape)[:, :value] = False
    return kept


PATTERN = MaskPattern(NAME, SOURCE, HELP, parse=parse, function=columns)
''',
    "formula": '''
"""Half of everything."""
from prunelimit.limit.formula import Formula
from prunelimit.limit.geometry import Transition

NAME = "half"
SOURCE = "a test"
HELP = "Half of the weights can go."
MARKER = "*"


def transition(question):
    top = question.geometry.prunable
    ends = dict.fromkeys(("probe", "depth", "direction"), (0, 0))
    return Transition(top // 2, ends, top)


FORMULA = Formula(
    NAME, SOURCE, HELP, transition=transition, width=lambda question, removed: 7.0
)
''',
    "curvature": '''
"""Twice the Hessian."""
import numpy as np

from prunelimit.curvature.operator import CurvatureOperator
from prunelimit.curvature.operators.hessian import CURVATURE as HESSIAN

NAME = "twice"
SOURCE = "a test"
HELP = "Twice the Hessian."
LABEL = "doubled Hessian"


def multiply(graph, direction, keep):
    return [2 * piece for piece in HESSIAN.multiply(graph, direction, keep)]


CURVATURE = CurvatureOperator(
    NAME,
    SOURCE,
    HELP,
    readings={"squared": np.square},
    differentiate=HESSIAN.differentiate,
    multiply=multiply,
)
''',
    "loss": '''
"""The squared error, four times."""
from prunelimit.inputs.loss import Loss
from prunelimit.inputs.losses.mse import LOSS as MSE

NAME = "fourfold"
METRIC = "r2"
SOURCE = "a test"
HELP = "Four times the squared error."


def loss(outputs, targets, form):
    return 4 * MSE.function(outputs, targets, form)


def root(outputs, targets, form, directions):
    return 2 * MSE.root(outputs, targets, form, directions)


def trace(outputs, targets, form):
    return 4 * MSE.trace(outputs, targets, form)


LOSS = Loss(
    NAME, SOURCE, HELP, function=loss, root=root, trace=trace, divergence=loss, distance=loss
)
''',
    "metric": '''
"""The share of a sample's errors below one."""
from prunelimit.inputs.metric import Metric

NAME = "near"
SOURCE = "a test"
HELP = "Share of outputs that are off by less than one."


def near(outputs, targets, form):
    return ((outputs - targets).abs() < 1).double().flatten(1).mean(1)


METRIC = Metric(NAME, SOURCE, HELP, function=near)
''',
    "network": '''
"""One layer."""
from torch import nn

from prunelimit.inputs.network import NetworkFamily

NAME = "onelayer"
SOURCE = "a test"
HELP = "One linear layer."


def build(shape, classes):
    size = 1
    for each in shape:
        size *= each
    return nn.Sequential(nn.Flatten(), nn.Linear(size, classes))


NETWORK = NetworkFamily(NAME, SOURCE, HELP, build=build, smallest_side=None)
''',
    "data": '''
"""Noise."""
import torch

from prunelimit.inputs.source import DataSource

NAME = "noise"
SOURCE = "a test"
HELP = "Random numbers."
FORM = "noise:[0-9]+"
LABEL = "noise:N"


def read(spec, config):
    number = int(spec.removeprefix("noise:"))
    inputs, labels = torch.ones(number, 1, 8, 8), torch.arange(number) % 10
    return inputs, labels, inputs, labels


DATA = DataSource(NAME, SOURCE, HELP, read=read)
''',
    "figure": '''
"""A line."""
from matplotlib.figure import Figure

from prunelimit.reports.figure import ReportFigure

NAME = "line"
SOURCE = "a test"
HELP = "The points of the path."
OF = ("spectrum", "predict")


def draw(results, path):
    figure = Figure()
    figure.subplots().plot([0, 1])
    if path is not None:
        figure.savefig(path, format="png")
    return figure


FIGURE = ReportFigure(NAME, SOURCE, HELP, draw=draw)
''',
}
"""One of each kind, a file each."""

NAMES = {
    "criterion": "largest",
    "allocation": "backwards",
    "pattern": "columns",
    "formula": "half",
    "curvature": "twice",
    "loss": "fourfold",
    "metric": "near",
    "network": "onelayer",
    "data": "noise",
    "figure": "line",
}

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install files as a package of one's own, as pip would leave them."""
    made: list[str] = []

    def make(package: str, files: dict[str, str], names: dict[str, str] | None = None) -> Path:
        site = tmp_path / f"site-{package}"
        folder = site / package
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        entries = []
        for kind, text in files.items():
            (folder / f"{kind}.py").write_text(text.lstrip())
            about = plugins.KINDS[kind]
            name = (names or NAMES)[kind]
            entries += [f"[{about.group}]", f"{name} = {package}.{kind}:{about.attribute}"]
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(entries) + "\n")
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        made.append(package)
        return site

    yield make
    for name in list(sys.modules):
        if name.split(".")[0] in made:
            del sys.modules[name]


@pytest.fixture
def added(install: Install) -> Path:
    """The package with one of each kind."""
    return install("pruneextra", FILES)


@pytest.fixture(scope="module")
def problem() -> Problem:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    data = torch.randn(30, 4), torch.arange(30) % 3
    return problem_from_module(network, data, data, batch_size=10)


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_built_in_says_what_it_is(kind: str) -> None:
    found = plugins.describe(kind)
    files = {path.stem for path in (ROOT / plugins.KINDS[kind].folder).glob("*.py")}
    assert len(found) == len(files - {"__init__"})
    for each in found:
        assert each.name and each.source and each.help.endswith(".")
        made = plugins.find(kind, each.name)
        assert (made.name, made.source, made.help) == (each.name, each.source, each.help)


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_one_more_takes_one_file(added: Path, kind: str) -> None:
    files = [p for p in (added / "pruneextra").glob("*.py") if p.stem != "__init__"]
    assert len(files) == len(plugins.KINDS) == len({each.stem for each in files})
    (mine,) = (each for each in plugins.describe(kind) if each.package == "pruneextra")
    assert (mine.name, mine.source) == (NAMES[kind], "a test") and mine.help.endswith(".")
    assert plugins.names(kind)[-1] == NAMES[kind]
    assert plugins.find(kind, NAMES[kind]).name == NAMES[kind]


class TestUse:
    """Each is used by what the library does with those of its kind."""

    def test_a_criterion(self, added: Path, problem: Problem) -> None:
        ours, mine = (
            Selection(problem, Method(name)).mask(20) for name in ("magnitude", "largest")
        )
        weights = problem.vector().abs()
        assert weights[~ours].max() <= weights[~mine].min()
        assert Method.parse("largest+staged").criterion == "largest"

    def test_an_allocation(self, added: Path, problem: Problem) -> None:
        mask = Selection(problem, Method.parse("magnitude/backwards")).mask(20)
        parts = problem.layout.unflatten(mask)
        assert int((~parts["2.weight"]).sum()) == 18 and int((~parts["0.weight"]).sum()) == 2

    def test_a_pattern(self, added: Path, problem: Problem) -> None:
        method = Method.parse("magnitude/columns=1+compensated")
        assert (method.pattern, method.survivors) == (
            Pattern("columns", "columns=1", 1),
            "compensated",
        )
        assert MethodConfig(pattern="columns=1").method.name == "magnitude/columns=1"
        selection = Selection(problem, Method(pattern=method.pattern))
        parts = problem.layout.unflatten(selection.mask(selection.removable))
        assert selection.removable == 9 and not bool(parts["0.weight"][:, 0].any())
        with pytest.raises(UsageError, match=r"columns=x; give columns=N"):
            Pattern.parse("columns=x")
        with pytest.raises(UsageError, match=r"such as 2:4 or block.* or columns=N"):
            Pattern.parse("rows=1")

    def test_a_formula(self, added: Path, problem: Problem) -> None:
        curvature = CurvatureConfig(steps=10, samples=0)
        limit = LimitConfig(formula="half", epsilon=0.1, directional_steps=5)
        found = predict_problem(problem, curvature, limit)
        assert (found.limit.formula, found.limit.sparsity) == ("half", 0.5)
        assert {each.width for each in found.curve} == {7.0}
        assert {each.formula for each in found.variants} == {
            *("directional", "isotropic", "paper", "half")
        }
        # Where another is the headline, other packages are not asked.
        ours = predict_problem(problem, curvature, LimitConfig(epsilon=0.1, directional_steps=5))
        assert [each.formula for each in ours.variants] == ["paper", "isotropic", "directional"]

    def test_a_curvature(self, added: Path, problem: Problem) -> None:
        vector = torch.randn(problem.layout.size, generator=torch.Generator().manual_seed(0))
        ours = CurvatureProduct(problem, problem.train, "hessian")(vector)
        torch.testing.assert_close(
            CurvatureProduct(problem, problem.train, "twice")(vector), 2 * ours
        )
        given = CurvatureConfig(curvature="twice", steps=10, samples=0)
        limit = LimitConfig(epsilon=0.1, directional_steps=5)
        found = predict_problem(problem, given, limit)
        assert {each.operator for each in found.variants} == {"squared"}
        assert found.curvature.kind == "twice"
        assert plugins.label("curvature", "twice") == "doubled Hessian"

    def test_a_network(self, added: Path) -> None:
        network = build_network("onelayer", input_shape=(1, 8, 8), classes=10)
        assert [tuple(each.shape) for each in network.parameters()] == [(10, 64), (10,)]

    def test_data(self, added: Path) -> None:
        found = load_data(DataConfig(data="noise:20"), RunConfig())
        assert (len(found.train), found.input_shape, found.classes) == (20, (1, 8, 8), 10)
        with pytest.raises(UsageError, match="did you mean noise:N"):
            load_data(DataConfig(data="noise"), RunConfig())

    def test_a_loss_and_a_metric(self, added: Path) -> None:
        generator = torch.Generator().manual_seed(0)
        data = (torch.randn(40, 4, generator=generator), torch.randn(40, 2, generator=generator))
        network = nn.Linear(4, 2)
        ours, mine = (
            problem_from_module(network, data, data, loss=loss, metric="near")
            for loss in ("mse", "fourfold")
        )
        first, second = (evaluate(each, each.test, curvatures=True) for each in (ours, mine))
        assert np.allclose(4 * first.losses, second.losses)
        assert np.allclose(4 * first.curvatures, second.curvatures)
        with torch.no_grad():
            near = ((network(data[0]) - data[1]).abs() < 1).double().mean()
        assert first.accuracy == second.accuracy == pytest.approx(float(near))
        usual = problem_from_module(network, data, data, loss="fourfold").metric
        assert usual.name == "r2"

    def test_a_figure(self, added: Path, tmp_path: Path) -> None:
        figure = draw("line", None, path=tmp_path / "line.png")
        assert len(figure.axes) == 1 and (tmp_path / "line.png").stat().st_size > 0


def test_each_is_used_from_the_command_line(
    added: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from prunelimit.cli.main import main

    def run(*arguments: object) -> dict[str, object]:
        assert main([str(each) for each in arguments]) == 0
        return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]

    network = tmp_path / "network.safetensors"
    given = ("train", "-m", "lenet-300-100", "-d", "digits", "--epochs", "1", "--seed", "0")
    run(*given, "--train-samples", "200", "-o", network, "--json", "-q")
    small = ("--json", "-q", "--force")
    one = tmp_path / "one.safetensors"
    found = run(
        "train", "-m", "onelayer", "-d", "noise:40", "--epochs", "1", "-o", one, "--json", "-q"
    )
    assert found["model"]["parameters"] == 650  # type: ignore[index]
    assert main(["predict", str(one)]) == 2  # a file does not say whose code is run
    assert "give --model onelayer to run that code" in capsys.readouterr().err
    pruned = tmp_path / "pruned.safetensors"
    prune = ("prune", network, "-o", pruned, *small)
    found = run(*prune, "--amount", "0.5", "--criterion", "largest", "--allocation", "backwards")
    assert (found["method"], found["allocation"]) == ("largest/backwards", "backwards")
    found = run(*prune, "--pattern", "columns=3")
    assert found["method"] == "magnitude/columns=3"
    plot = tmp_path / "plot.png"
    found = run(
        *("predict", network, *small, "--formula", "half", "--curvature", "twice"),
        *("--steps", "8", "--directional-steps", "4", "--samples", "100", "--no-drift"),
        *("--epsilon", "0.1", "--plot", plot, "--figure", "line"),
    )
    assert found["limit"]["formula"] == "half" and plot.stat().st_size > 0  # type: ignore[index]
    assert main(["predict", "--help-all"]) == 0
    text = capsys.readouterr().out
    assert "paper|half]" in text and "hessian|twice]" in text and "limit|layers|path|line]" in text
    assert main(["prune", "--help"]) == 0
    text = "".join(capsys.readouterr().out.split())
    assert "rare-gems|largest|FILE.py:ATTR]" in text and "N:M|block:RxC|columns=N" in text
    assert main(["prune", str(network), "--criterion", "larges"]) == 2
    assert "did you mean largest?" in capsys.readouterr().err


def test_two_of_one_name_are_told_apart_when_they_are_asked_for(install: Install) -> None:
    files = {"criterion": FILES["criterion"]}
    install("pruneone", files)
    install("prunetwo", files)
    assert plugins.names("criterion").count("largest") == 1
    Method("magnitude")
    for ask in (lambda: plugins.find("criterion", "largest"), lambda: Method("largest")):
        with pytest.raises(UsageError, match=r"pruneone .*prunetwo ") as caught:
            ask()
        assert str(caught.value).endswith("remove one of them.")
    text = FILES["criterion"].replace('"largest"', '"magnitude"')
    install("prunethree", {"criterion": text}, {"criterion": "magnitude"})
    with pytest.raises(UsageError, match=r"prunelimit .*prunethree "):
        plugins.find("criterion", "magnitude")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_package\nCRITERION = 1\n", "cannot be imported.*no_such_package"),
        ("raise RuntimeError('at rest')\n", "cannot be imported.*RuntimeError: at rest"),
        ("this is no Python\n", "cannot be imported.*SyntaxError"),
        ("NAME = 'largest'\n", "cannot be imported.*CRITERION"),
        ("CRITERION = 3\n", "is a int, not a prunelimit.pruning.criterion.Criterion"),
        (FILES["criterion"].replace('"largest"', '"smallest"'), "calls itself 'smallest'"),
    ],
)
def test_a_broken_one_is_refused_only_when_it_is_asked_for(
    install: Install, problem: Problem, text: str, said: str
) -> None:
    install("prunebroken", {"criterion": text})
    assert "largest" in plugins.names("criterion")
    Selection(problem, Method("magnitude")).mask(3)
    with pytest.raises(InputError, match=said) as caught:
        Selection(problem, Method("largest"))
    message = str(caught.value)
    assert "the package prunebroken" in message and message.endswith(".")
    assert "\n" not in message and message.count(". ") == 0


def test_an_allocation_that_miscounts_is_told(install: Install, problem: Problem) -> None:
    text = FILES["allocation"].replace("return found[::-1]", "return found[:1]")
    install("prunewrong", {"allocation": text})
    with pytest.raises(InputError, match="allocation backwards removes a wrong number"):
        Selection(problem, Method(allocation="backwards")).mask(20)


def test_listing_loads_neither_torch_nor_the_files(added: Path) -> None:
    heavy = {"torch", "numpy", "matplotlib", "scipy"}
    code = f"""
import sys
sys.path.insert(0, {str(added)!r})
from prunelimit import plugins
from prunelimit.config import MethodConfig
for kind in plugins.KINDS:
    assert {NAMES!r}[kind] in plugins.names(kind)
    assert all(each.help and each.source for each in plugins.describe(kind))
MethodConfig(criterion="largest", allocation="backwards")
MethodConfig(pattern="2:4")
from prunelimit.cli.main import main
for command in ("predict", "prune", "measure", "compare", "spectrum"):
    assert main([command, "--help-all"]) == 0
print(sorted({heavy!r} & set(sys.modules)), "pruneextra" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[] False"


def test_readings_are_not_negative(added: Path) -> None:
    values = np.array([-2.0, 0.5])
    for name in plugins.names("curvature"):
        for read in plugins.find("curvature", name).readings.values():
            assert (read(values) >= 0).all()
