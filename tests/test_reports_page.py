"""The page: whole, alone, readable by everyone, and every number in it is in the files."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made import (
    EXPORTED,
    INSPECTED,
    MODEL,
    PRUNED,
    REGIME,
    TRAINED,
    TRAINING,
    UNRELIABLE,
    both,
    compared,
    history,
    measured,
    predicted,
    sensitivity,
    spectrum,
    verdict,
)
from markupsafe import Markup

from prunelimit.errors import InputError, UsageError
from prunelimit.reports.page import LARGEST, page
from prunelimit.reports.sources import SEVERAL, SINGLE, SUMMARY, collect
from prunelimit.results.history import HistoryResult
from prunelimit.results.schema import SCHEMAS
from prunelimit.results.serialization import to_json

VOID = {"meta", "link", "input", "wbr"}
HISTORY = (
    {"epoch": 1.0, "loss": 0.5, "accuracy": 0.8},
    {"epoch": 2.0, "loss": 0.1, "accuracy": 0.9},
)


def everything(**changes: Any) -> list[tuple[str, Any]]:
    """One of each, as files."""
    return [
        ("train.json", dataclasses.replace(TRAINED, history=HISTORY)),
        ("spectrum.json", spectrum()),
        ("predict.json", changes.get("predict", both())),
        ("prune.json", PRUNED),
        ("one-shot.json", measured()),
        ("refit.json", measured(TRAINING)),
        ("check.json", changes.get("check", verdict())),
        ("compare.json", compared()),
        ("layers.json", sensitivity(14)),
        ("history.json", of_this_network()),
        ("regime.json", REGIME),
        ("inspect.json", INSPECTED),
        ("export.json", EXPORTED),
    ]


def of_this_network() -> HistoryResult:
    """Checkpoints of which the last is the one that everything else is about."""
    found = history()
    last = dataclasses.replace(found.points[-1], sha256=MODEL.sha256)
    return dataclasses.replace(found, points=(*found.points[:-1], last))


class Page(HTMLParser):
    """What a page holds; tags have to be closed in order, ids to be unique."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[tuple[str, dict[str, str]]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.facts: list[tuple[dict[str, str], str]] = []
        self.said: list[tuple[dict[str, str], str]] = []
        self.loose: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert len(given) == len(attrs), tag
        self.tags.append((tag, given))
        if tag in VOID:
            return
        self.open.append((tag, given))
        if tag == "data":
            self.facts.append((given, ""))
        elif "data-field" in given:
            self.said.append((given, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        if "style" in tags:
            return
        if "svg" not in tags:
            self.words.append(data)
        inside = [given for _, given in self.open]
        if "data" in tags:
            self.facts[-1] = (self.facts[-1][0], self.facts[-1][1] + data)
        elif any("data-field" in given for given in inside):
            self.said[-1] = (self.said[-1][0], self.said[-1][1] + data)
        elif not ({"svg", "code", "pre", "title"} & set(tags)) and not any(
            "data-name" in given or "data-note" in given for given in inside
        ):
            self.loose.append(data)

    @property
    def shown(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def all(self, name: str) -> list[dict[str, str]]:
        return [given for tag, given in self.tags if tag == name]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, where these do not matter."""
    monkeypatch.setattr("prunelimit.reports.page._pictures", lambda block, prefix: Markup(""))


@pytest.fixture(scope="module")
def whole() -> Page:
    return Page(page(collect(everything())))


def documents(read: Page) -> dict[str, Any]:
    """The files that can be saved from a page."""
    found = {}
    for given in read.all("a"):
        if "download" in given:
            head, _, body = given["href"].partition(",")
            assert head == "data:application/json;base64"
            found[given["download"]] = json.loads(base64.b64decode(body))
    return found


def at(document: Any, field: str) -> Any:
    for step in field.split("."):
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


@pytest.mark.slow
def test_ids_are_unique_and_links_lead_somewhere(whole: Page) -> None:
    ids = [given["id"] for _, given in whole.tags if "id" in given]
    assert len(ids) == len(set(ids)) > 20
    referred = [given["href"][1:] for _, given in whole.tags if given.get("href", "")[:1] == "#"]
    referred += re.findall(r"url\(#([^)]+)\)", whole.text)
    for _, given in whole.tags:
        referred += given.get("aria-labelledby", "").split()
    assert len(referred) > 30 and set(referred) <= set(ids)


def test_nothing_comes_from_elsewhere_and_nothing_runs(whole: Page) -> None:
    for tag, given in whole.tags:
        for name in ("src", "href", "action", "srcset", "data"):
            assert given.get(name, "#")[:1] == "#" or given[name].startswith("data:"), (tag, name)
        assert not [name for name in given if name.startswith("on")]
    assert not whole.all("script") and not whole.all("iframe") and not whole.all("img")
    style = whole.text.partition("<style>")[2].partition("</style>")[0]
    assert "@import" not in style and "url(" not in style
    assert not re.search(r"https?://", whole.text)
    assert len(whole.text.encode()) < LARGEST == 1_000_000


def test_it_is_read_without_eyes(whole: Page) -> None:
    assert whole.all("html")[0]["lang"] == "en"
    assert len(whole.all("main")) == len(whole.all("h1")) == len(whole.all("header")) == 1
    for given in (*whole.all("nav"), *whole.all("section")):
        assert "aria-label" in given or "aria-labelledby" in given
    levels = [int(tag[1]) for tag, _ in whole.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    headers = whole.all("th")
    assert headers and all(given["scope"] in ("col", "row") for given in headers)
    assert len(whole.all("caption")) == len(whole.all("table")) > 10
    svgs = whole.all("svg")
    assert len(svgs) == 2 * len(whole.all("figure")) == 2 * len(whole.all("figcaption")) >= 16
    for given in svgs:
        title, description = given["aria-labelledby"].split()
        assert given["role"] == "img"
        assert re.search(rf'<title id="{title}">[^<]+</title>', whole.text)
        assert re.search(rf'<desc id="{description}">[^<]+</desc>', whole.text)
    for given in whole.all("div"):
        if given.get("class") == "scroll":
            assert given["tabindex"] == "0" and given["role"] == "region"
    assert ("a", {"class": "skip", "href": "#main"}) in whole.tags


def test_print_and_keyboard_reach_everything(whole: Page) -> None:
    """What is folded is printed, what scrolls is not cut off there; focus is seen, and nothing that
    takes part in it is taken out."""
    style = whole.text.partition("<style>")[2].partition("</style>")[0]
    printed = style[style.rindex("@media print") :]
    assert whole.all("details") and len(whole.all("details")) == len(whole.all("summary"))
    assert "details::details-content { content-visibility: visible;" in printed
    assert ".scroll { overflow: visible; }" in printed
    hidden = re.findall(r"([^{};]+)\{ display: none; \}", printed)
    assert [each.strip() for each in hidden] == ["nav, .skip, .choice", ".narrow"]
    assert ".wide { display: block; }" in printed
    outline = re.search(r":focus-visible \{ outline: (\d)px solid", style)
    assert outline is not None and int(outline[1]) >= 2
    assert "outline: none" not in style and "outline: 0" not in style
    assert not [given for _, given in whole.tags if given.get("tabindex", "0") != "0"]
    labelled = whole.text.count("<label>")
    assert labelled == len(whole.all("input")) == 1
    for given in whole.all("a"):
        assert given.get("href")


def test_text_in_figures_is_text(whole: Page) -> None:
    figures = re.findall(r"<svg.*?</svg>", whole.text, re.DOTALL)
    assert all(figure.count("<text") > 4 for figure in figures)
    assert any("predicted plain" in figure for figure in figures)
    assert not [each for each in figures if "<image" in each or "<style" in each]


def test_the_numbers_and_the_verdict_come_first(whole: Page) -> None:
    first = whole.shown.partition("Show the file and field")[0]
    assert "Plain 87.1% (86.2% to 88.3%)" in first
    assert "Limit 93.6% (93.0% to 94.1%)" in first
    assert "Passed. Predicted limit 93.6% (93.0% to 94.1%), measured (feasibility) 93.5%" in first
    assert "+0.15 pp" in first and "2 pp is accepted" in first
    for heading in (
        "Accuracy and loss against sparsity", "Methods against the limit", "Width and crossing",
        "Spectrum of the Hessian", "Sparsity by layer", "Can the limit be trusted?",
        "Each layer alone", "Pruned networks", "Training", "Over the checkpoints",
        "The regime of pruning", "What the file holds", "Files for others", "How it was computed",
        "Files",
    ):  # fmt: skip
        assert f"{heading}</h2>" in whole.text
    assert "prunelimit predict CKPT" in whole.shown and "ab" * 32 in whole.shown


UNITS = {
    "": 1, "%": 100, "s": 1, "min": 1 / 60, "h": 1 / 3600, "MiB": 1 / 2**20, "bytes": 1,
}  # fmt: skip


def close(text: str, value: float) -> bool:
    """Whether a number in words is the value, in some unit, to its last digit."""
    found = re.fullmatch(r"([+-]?[\d,.]+(?:e[+-]\d+)?) ?(%|pp|s|min|h|MiB|bytes|)", text)
    assert found is not None, text
    said = float(found[1].replace(",", ""))
    digits = found[1].replace(",", "").partition("e")
    step = 10.0 ** (int(digits[2] or 0) - len(digits[0].partition(".")[2]))
    if "." not in digits[0] and not digits[2]:
        step = max(step, abs(said) * 5e-3)  # three significant digits, without a point
    scales = (1, 100, -100) if found[2] == "pp" else (UNITS[found[2]],)
    return any(abs(said - scale * value) <= 0.5001 * step for scale in scales)


def test_every_number_is_in_the_file_and_field_that_it_names(whole: Page) -> None:
    files = documents(whole)
    assert set(files) == {name for name, _ in everything()}
    assert len(whole.facts) > 200
    for given, text in whole.facts:
        value = at(files[given["data-file"]], given["data-field"])
        assert float(given["value"]) == value
        assert close(text, value), (text, value)
    assert len(whole.said) > 20
    for given, text in whole.said:
        assert at(files[given["data-file"]], given["data-field"]).replace("`", "") == text
    loose = " ".join(whole.loose)
    assert not re.search(r"\d", loose.replace("SHA-256", "")), re.findall(r".{30}\d.{20}", loose)


def test_the_files_held_are_those_given(whole: Page) -> None:
    for name, result in everything():
        assert documents(whole)[name] == to_json(result)


@pytest.mark.usefixtures("bare")
def test_reasons_are_not_hidden() -> None:
    given = [("predict.json", both(reliability=UNRELIABLE)), ("check.json", verdict(False))]
    read = Page(page(collect(given)))
    failed = verdict(False).agreement
    assert failed is not None
    for reason in (*UNRELIABLE.reasons, *failed.reasons):
        assert reason in read.shown
    assert "Failed." in read.shown and "Before you act on the limit" in read.shown
    first = read.shown.partition("Show the file and field")[0]
    assert f"Not reliable: {UNRELIABLE.reasons[0]}" in first


def test_every_result_has_a_place() -> None:
    assert set(SCHEMAS) == {*SINGLE, *SEVERAL, SUMMARY}
    kinds = {type(result) for _, result in everything()}
    assert kinds == {kind for name, kind in SCHEMAS.items() if name != SUMMARY}


@pytest.mark.parametrize("name", [name for name, _ in everything()])
def test_each_kind_alone_is_a_page(name: str) -> None:
    read = Page(page(collect([(n, result) for n, result in everything() if n == name])))
    assert "None" not in read.shown and "nan" not in read.shown
    assert documents(read).keys() == {name}


@pytest.mark.usefixtures("bare")
def test_what_is_unknown_is_said_so() -> None:
    nan = float("nan")
    dense = dataclasses.replace(both().dense, accuracy=nan)
    limit = dataclasses.replace(both().limit, interval=(nan, 0.95), sparsity=0.94)
    read = Page(page(collect([("p.json", dataclasses.replace(both(), dense=dense, limit=limit))])))
    assert "94.0% (unknown to 95.0%)" in read.shown and "nan" not in read.shown


@pytest.mark.usefixtures("bare")
def test_layers_alone_and_checkpoints_say_what_is_known() -> None:
    given = [("layers.json", sensitivity(3)), ("history.json", of_this_network())]
    shown = Page(page(collect(given))).shown
    alone = shown[shown.index("Layers alone, layers.json") :]
    assert alone.index("block2.weight") < alone.index("block1.weight") < alone.index("block0.")
    assert "dead.weight: nothing is known of it, as it is zero already." in shown
    assert "epoch=1.ckpt: The spectrum is not resolved." in shown
    first = shown.partition("Show the file and field")[0]
    assert "Limit, last checkpoint 90.0% (88.0% to 91.0%)" in first


@pytest.mark.usefixtures("bare")
def test_a_history_belongs_to_each_of_its_checkpoints() -> None:
    model = dataclasses.replace(MODEL, sha256="".zfill(63) + "3")
    given = [("h.json", history()), ("p.json", predicted(model=model))]
    assert len(collect(given).sources) == 2
    with pytest.raises(
        InputError, match=r"h\.json is about the checkpoint 000000000000 and p\.json"
    ):
        collect([("h.json", history()), ("p.json", predicted())])


@pytest.mark.usefixtures("bare")
def test_another_metric_is_not_called_accuracy() -> None:
    """R2 is no share of samples, so that nothing of it is in percent or called accuracy."""
    data = dataclasses.replace(measured().data, metric="r2", loss="mse", classes=0)
    given = [
        (name, dataclasses.replace(result, data=data) if hasattr(result, "data") else result)
        for name, result in everything()
    ]
    shown = Page(page(collect(given))).shown
    assert "a test r2 of 0.9500 and a mean training loss of 0.01;" in shown
    assert "accuracy" not in re.sub(
        r"min-accuracy|The accuracy at|Neither number promises an accuracy", "", shown
    )
    assert " nats" not in shown


EMPTY: list[tuple[str, Any]] = [
    ("m.json", dataclasses.replace(measured(), curve=(), thresholds=())),
    ("c.json", dataclasses.replace(compared(), methods=(), interrupted=True)),
    ("p.json", both(layers=(), reliability=dataclasses.replace(UNRELIABLE, path=()))),
    ("t.json", TRAINED),
]


def test_what_is_empty_makes_a_page_too() -> None:
    read = Page(page(collect(EMPTY)))
    assert "The comparison was interrupted" in read.shown
    assert not [table for table in re.findall(r"<tbody>(.*?)</tbody>", read.text, re.S)
                if not table.strip()]  # fmt: skip


HOSTILE = (
    "</script><script>alert(1)</script>$\\frac{$ & ]]>",
    '_<img src=x onerror=alert(1)>" onmouseover="alert(1) \x00\x1b[31m\u202e\ud800',
    "x" * 5_000,
)


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE)
def test_what_files_say_stays_text(text: str, whole: Page) -> None:
    model = dataclasses.replace(MODEL, spec=text)
    layers = tuple(dataclasses.replace(each, name=text) for each in both().layers)
    reasons = dataclasses.replace(UNRELIABLE, reasons=(text,))
    checked = verdict(False)
    assert checked.agreement is not None
    agreement = dataclasses.replace(checked.agreement, reasons=(text,), rule=text)
    given = [
        (f"{text}.json", both(model=model, layers=layers, reliability=reasons)),
        ("m.json", dataclasses.replace(measured(), model=model, method=text)),
        ("c.json", dataclasses.replace(checked, model=model, agreement=agreement)),
    ]
    written = page(collect(given))
    written.encode("utf-8")
    read = Page(written)
    assert {tag for tag, _ in read.tags} <= {tag for tag, _ in whole.tags}
    assert not [name for _, given in read.tags for name in given if name.startswith("on")]
    assert "\x00" not in written and "\x1b" not in written


def other(**changes: Any) -> Any:
    return dataclasses.replace(measured(), model=dataclasses.replace(MODEL, **changes))


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([], UsageError, "nothing to show"),
        ([("a.json", predicted()), ("b.json", predicted())], UsageError, "a.json and b.json both"),
        ([("a.json", predicted()), ("b.json", other(sha256="cd" * 32))], InputError,
         "a.json is about the checkpoint abababababab and b.json about cdcdcdcdcdcd"),
        ([("a.json", predicted()), ("b.json", other(sha256=None, parameters=3))], InputError,
         "a network of 10,000 parameters and b.json about one of 3"),
        ([("a.json", predicted()),
          ("b.json", dataclasses.replace(measured(), data=dataclasses.replace(
              measured().data, spec="mnist")))],
         InputError, "about the data own & data and b.json about mnist"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused(
    given: list[tuple[str, Any]], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        collect(given)


@pytest.mark.usefixtures("bare")
def test_what_only_may_not_belong_together_is_said() -> None:
    epsilon = dataclasses.replace(measured().epsilon, value=0.5)
    given = [
        ("a.json", predicted()),
        ("b.json", dataclasses.replace(other(sha256=None, prunable=8_000), epsilon=epsilon)),
    ]
    shown = Page(page(collect(given))).shown
    assert "No checkpoint is named in b.json" in shown
    assert "a.json and b.json have different loss tolerances" in shown
    assert "do not agree on which weights are prunable" in shown


def test_a_file_that_would_make_the_page_too_large_is_named_instead() -> None:
    rows = tuple(float(n) + 0.123456789012 for n in range(60_000))
    large = dataclasses.replace(
        spectrum(1), ritz_values=(rows[:9], rows), quadrature_weights=(rows[:9], rows)
    )
    found = collect([("predict.json", predicted()), ("large.json", spectrum(1))])
    sources = tuple(
        dataclasses.replace(each, result=large) if each.name == "large.json" else each
        for each in found.sources
    )
    from prunelimit.reports.page import _files

    held = {each["name"]: each["link"] for each in _files(sources, LARGEST)}
    assert held["large.json"] is None and held["predict.json"] is not None


# -- colours


def variables(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The colours of the light page, of the dark one and on paper."""
    for name, block in zip(("light", "dark", "print"), re.findall(r":root \{(.*?)\}", text, re.S),
                           strict=True):  # fmt: skip
        yield name, dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_text_has_contrast_aa_and_lines_three(whole: Page) -> None:
    pages = dict(variables(whole.text))
    assert set(pages) == {"light", "dark", "print"}
    for name, colours in pages.items():
        for ink in ("ink", "soft", "link", "good", "bad", "warn"):
            for ground in ("paper", "raised"):
                assert contrast(colours[f"--{ink}"], colours[f"--{ground}"]) >= 4.5, (name, ink)
        ground = colours["--figure-ffffff"]
        for figure, colour in colours.items():
            if figure.startswith("--figure-") and figure not in (
                "--figure-ffffff", "--figure-dddddd"
            ):  # fmt: skip
                least = 4.5 if figure in ("--figure-000000", "--figure-6f6f6f") else 3
                assert contrast(colour, ground) >= least, (name, figure)
    used = set(re.findall(r"var\((--[\w-]+)\)", whole.text))
    assert used <= set(pages["light"]) and set(pages["dark"]) == set(pages["light"])


def test_no_figure_has_a_colour_that_the_page_does_not_know(whole: Page) -> None:
    figures = "".join(re.findall(r"<svg.*?</svg>", whole.text, re.DOTALL))
    assert not re.findall(r"(?:fill|stroke): (#\w+)", figures)


def test_the_template_is_a_file_of_the_package() -> None:
    import prunelimit.reports

    folder = Path(prunelimit.reports.__file__).parent / "templates"
    names = {each.name for each in folder.iterdir()}
    assert names == {"report.html.jinja", "report.css", "report.md.jinja"}


def test_a_measured_number_says_its_rule_and_is_called_no_prediction(bare: None) -> None:
    read = Page(page(collect([("m.json", measured())]))).shown
    assert "The largest sparsity with accuracy within 0.5 pp of dense." in read
    assert "Neither number" not in read
    assert "Neither number" in Page(page(collect([("p.json", both())]))).shown


def test_files_of_one_environment_share_a_column(bare: None) -> None:
    def columns(*given: tuple[str, Any]) -> list[str]:
        text = page(collect(given)).partition("<summary data-name>Environment")[2]
        return re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', text.partition("</thead>")[0])

    one, other = ("p.json", both()), ("m.json", measured())
    assert columns(one, other) == ["package", "version"]
    later = dataclasses.replace(other[1].provenance, versions={"python": "3.13.0"})
    newer = ("m.json", dataclasses.replace(other[1], provenance=later))
    assert columns(one, newer) == ["package", "p.json", "m.json"]
