"""The page as a browser lays it out; skipped where there is no Chromium."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_reports_page import contrast, everything

from prunelimit.reports.page import page
from prunelimit.reports.sources import collect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for found in map(shutil.which, NAMES) if found), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome"),
]

WIDTHS = (390, 768, 1280)

LOOK = """
function look(view) {
  const doc = view.document, root = doc.documentElement, found = [];
  const scale = (matrix) => Math.hypot(matrix.a, matrix.b);
  const ground = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const colour = view.getComputedStyle(each).backgroundColor;
      if (colour && colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
    return 'none';
  };
  doc.querySelectorAll('details').forEach((each) => { each.open = true; });
  const outside = [], texts = [];
  for (const each of doc.querySelectorAll('body *')) {
    const box = each.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const scrolls = each.closest('.scroll'), skipped = each.closest('.skip');
    if (!scrolls && !skipped && (box.left < -1 || box.right > root.clientWidth + 1))
      outside.push(each.tagName + '.' + each.className + ' ' + box.right);
    const own = [...each.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || skipped || each.tagName === 'STYLE') continue;
    const style = view.getComputedStyle(each), svg = each.closest('svg');
    const ink = svg ? style.fill : style.color;
    texts.push([ink, ground(svg ? svg.parentElement : each), each.tagName,
                parseFloat(style.fontSize) * (svg ? scale(each.getScreenCTM()) : 1),
                svg ? 'svg' : 'text']);
  }
  const kinds = {};
  for (const [ink, ground, tag, size, kind] of texts) {
    const key = ink + '|' + ground;
    kinds[key] = kinds[key] || [tag, kind, size];
  }
  const svgs = [...doc.querySelectorAll('figure svg')].filter((e) => e.getClientRects().length);
  return {
    width: root.clientWidth, scroll: root.scrollWidth, dark: view.matchMedia(
      '(prefers-color-scheme: dark)').matches, outside, kinds, texts: texts.length,
    figures: svgs.length, sizes: texts.filter((e) => e[2] === 'text').map((e) => e[3]),
    anchors: [...doc.querySelectorAll('nav a')].every((a) => doc.querySelector(
      a.getAttribute('href'))),
  };
}
"""


@pytest.fixture(scope="module")
def text() -> str:
    return page(collect(everything()))


def looked(text: str, scheme: str, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """What a browser says of the page at each width, and what it prints."""
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{html.escape(text)}"></iframe>'
        for width in WIDTHS
    )
    script = f"""<script>{LOOK}
      window.addEventListener('load', () => {{
        const out = document.createElement('pre');
        out.id = 'out';
        out.textContent = JSON.stringify([...document.querySelectorAll('iframe')].map(
          (f) => look(f.contentWindow)));
        document.querySelectorAll('iframe').forEach((f) => f.remove());
        document.body.append(out);
      }});</script>"""
    path = folder / f"{scheme}.html"
    path.write_text(
        f"<!doctype html><meta charset=utf-8><body>{frames}{script}</body>", encoding="utf-8"
    )
    done = subprocess.run(
        [
            *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / scheme}"),
            f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
            *("--virtual-time-budget=20000", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    body = done.stdout.partition('<pre id="out">')[2].partition("</pre>")[0]
    found: list[dict[str, Any]] = json.loads(html.unescape(body))
    return found, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture(scope="module", params=["light", "dark"])
def found(
    request: pytest.FixtureRequest, text: str, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    views, console = looked(text, request.param, tmp_path_factory.mktemp("browser"))
    return request.param, views, console


def colour(text: str) -> str:
    parts = text.removeprefix("rgb(").rstrip(")").split(", ")
    return "#" + "".join(f"{int(each):02x}" for each in parts)


def test_it_fits_every_width_and_says_nothing(found: Any) -> None:
    scheme, views, console = found
    assert console == ""
    for width, view in zip(WIDTHS, views, strict=True):
        assert width - 20 <= view["width"] <= width  # less a scroll bar
    for view in views:
        assert view["dark"] is (scheme == "dark")
        assert view["scroll"] <= view["width"] and not view["outside"]
        assert view["figures"] >= 8 and view["texts"] > 300 and view["anchors"]
        assert min(view["sizes"]) >= 8.5  # pixels


def test_every_text_has_contrast_aa(found: Any) -> None:
    _, views, _ = found
    for view in views:
        assert len(view["kinds"]) >= 5
        for pair, what in view["kinds"].items():
            ink, ground = map(colour, pair.split("|"))
            assert contrast(ink, ground) >= 4.5, (pair, what)


def test_the_test_sees_what_is_wrong(text: str, tmp_path: Path) -> None:
    style = "<style>h1 { width: 900px; color: #999; }</style><script>console.log(1)</script></body>"
    views, console = looked(text.replace("</body>", style), "light", tmp_path)
    assert views[0]["outside"] and views[0]["scroll"] > views[0]["width"]
    assert "rgb(153, 153, 153)|rgb(255, 255, 255)" in views[0]["kinds"]
    assert console
