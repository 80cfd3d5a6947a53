"""One self-contained HTML page: numbers, plots, evidence, how to obtain them again."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup, escape

from ..results.types import CheckResult, MeasureResult, PredictResult, PruneResult
from ..storage.files import writing
from .command import command_line
from .words import basis, count, interval, matrix, metric, modelled, percent, rule, score, unit

__all__ = ["write_page"]

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>prunelimit: {{ p.model.spec }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem 1.2rem .2rem 0; text-align: left; }
.n { text-align: right; font-variant-numeric: tabular-nums; } th { border-bottom: 1px solid #bbb; }
img { max-width: 100%; } .big { font-size: 1.25rem; }
.no { color: #a32020; } .yes { color: #08604a; }
code, pre { background: #f3f3f3; padding: 0 .2rem; overflow-wrap: anywhere; }
pre { padding: .6rem; white-space: pre-wrap; }
</style></head><body>
<h1>How sparse can {{ p.model.spec }} on {{ p.data.spec }} be made in one shot?</h1>
<p class="big">Predicted: <b>{{ interval(p.limit.sparsity, p.limit.interval) }}</b> of its
{{ "{:,}".format(p.model.prunable) }} prunable weights,
{{ percent(p.limit.sparsity_of_all) }} of all {{ "{:,}".format(p.model.parameters) }}
parameters{% if p.one_shot %}, if the surviving weights may move; with nothing moved, until the loss
has risen by epsilon, <b>{{ interval(p.one_shot.sparsity, p.one_shot.interval) }}</b>{% endif
%}.</p>
{% if p.one_shot %}<p>The second number is plain one-shot pruning,
{{ basis(p.one_shot) }}{% if modelled(p.one_shot) %}; {{ modelled(p.one_shot) }}{% endif %}.
Neither number promises an accuracy.</p>{% endif %}
{% if c %}<p class="big {{ 'yes' if c.passed else 'no' }}">Measured ({{ c.rule }}):
{{ interval(c.measured, c.measured_interval) }}; the prediction is off by
{{ "%+.2f"|format(c.difference_pp) }} percentage points (tolerance
{{ "%g"|format(c.tolerance_pp) }}): {{ "holds" if c.passed else "fails" }}.</p>
{% if c.reasons %}<ul>{% for reason in c.reasons %}<li>{{ reason|marked }}</li>{% endfor %}
</ul>{% endif %}
{% endif %}
<p>In brackets: the {{ "%g"|format(100 * p.limit.confidence) }}% interval. The dense network has
a test {{ metric(p.data) }} of {{ score(p.dense.accuracy, p.data) }} and a mean training loss of
{{ "%.4g"|format(p.dense.loss) }}{{ unit(p.data) }}; epsilon, the loss tolerance, is
{{ "%.4g"|format(p.epsilon.value) }}{{ unit(p.data) }} ({{ p.epsilon.rule }}).</p>
<h2>Is the estimate reliable? {{ "Yes." if p.reliability.ok else "No." }}</h2>
<ul>{% for reason in p.reliability.reasons %}<li>{{ reason|marked }}</li>{% else %}
<li>No reason against it was found.</li>{% endfor %}</ul>
{% if p.reliability.path %}<p>The evidence: how far the loss rises along the pruning path,
and what the second-order model says of it.</p>
<table><tr><th class="n">sparsity</th><th class="n">actual</th><th class="n">quadratic part</th>
<th class="n">linear part</th></tr>
{% for x in p.reliability.path %}<tr><td class="n">{{ percent(x.sparsity) }}</td>
<td class="n">{{ "%.2e"|format(x.loss_rise) }}</td>
<td class="n">{{ "%.2e"|format(x.quadratic_rise) }}</td>
<td class="n">{{ "%.2e"|format(x.linear_rise) }}</td></tr>
{% endfor %}</table>{% endif %}
{% for title, picture in pictures %}<h2>{{ title }}</h2>
<img alt="{{ title }}" src="data:image/png;base64,{{ picture }}">
{% endfor %}
<h2>The limit by formula and operator</h2>
<table><tr><th>formula</th><th>operator</th><th class="n">of prunable weights</th></tr>
{% for v in p.variants %}<tr><td>{{ v.formula }}</td><td>{{ v.operator }}</td>
<td class="n">{{ interval(v.sparsity, v.interval) }}</td></tr>
{% endfor %}</table>
{% if measured %}<h2>Measured thresholds</h2>
<table><tr><th>method</th><th>largest sparsity with</th><th class="n">of prunable weights</th></tr>
{% for m in measured %}{% for t in m.thresholds %}<tr><td>{{ m.method }}</td>
<td>{{ rule(t, m.data) }}</td>
<td class="n">{{ interval(t.sparsity, t.interval) }}</td></tr>
{% endfor %}{% endfor %}</table>{% endif %}
{% if cut %}<h2>Pruned checkpoint</h2>
<p>{{ percent(cut.sparsity) }} of the prunable weights are zero; test {{ metric(cut.data) }}
{{ score(cut.accuracy_before, cut.data) }} before and
{{ score(cut.accuracy_after, cut.data) }} after, with nothing
trained in between.{% if cut.artifact %} The file has
{{ "{:,}".format(cut.artifact.bytes) }} bytes; dense, it would have
{{ "{:,}".format(cut.artifact.bytes_dense) }}.{% endif %} Unstructured zeros do not make a CPU or
GPU faster.</p>{% endif %}
<h2>Layers at the limit</h2>
<table><tr><th>weight</th><th>shape</th><th class="n">kept</th><th class="n">sparsity</th></tr>
{% for l in p.layers %}<tr><td>{{ l.name }}</td><td>{{ l.shape|join(" x ") }}</td>
<td class="n">{{ "{:,}".format(l.kept) }}</td><td class="n">{{ percent(l.sparsity) }}</td></tr>
{% endfor %}</table>
<h2>To obtain this again</h2>
{% if p.model.sha256 %}<p>With CKPT the checkpoint whose SHA-256 is
<code>{{ p.model.sha256 }}</code>:</p>
<pre>{{ command_line(p.provenance, "CKPT") }}
{% for m in measured %}{{ command_line(m.provenance, "CKPT") }}
{% endfor %}</pre>{% endif %}
<p>prunelimit {{ p.provenance.tool_version }}, seed {{ p.provenance.seed }}, device
{{ p.provenance.device }}, {{ p.provenance.created }};
{% for name, version in p.provenance.versions.items() %}{{ name }} {{ version }}{{ ", " if not
loop.last }}{% endfor %}. {{ count(p.curvature.products, "product") }} of the
{{ matrix(p.curvature.kind) }} on {{ "{:,}".format(p.curvature.samples) }} samples;
{{ "%.3g"|format(p.provenance.wall_seconds) }} seconds to predict.</p>
</body></html>
"""
WORDS = {
    "metric": metric,
    "score": score,
    "unit": unit,
    "basis": basis,
    "command_line": command_line,
    "count": count,
    "interval": interval,
    "matrix": matrix,
    "modelled": modelled,
    "percent": percent,
    "rule": rule,
}


def _marked(sentence: str) -> Markup:
    """A sentence with the fields that it has in backticks set as code."""
    return Markup(re.sub(r"`(\w+)`", r"<code>\1</code>", str(escape(sentence))))


def write_page(
    path: Path,
    predicted: PredictResult,
    measured: Sequence[MeasureResult],
    *,
    pruned: PruneResult | None = None,
    check: CheckResult | None = None,
    plots: Mapping[str, Path],
    force: bool = False,
) -> None:
    """Write the page; ``plots`` maps titles to PNG files, which it then holds itself.

    Raises:
        OutputError: ``path`` exists and ``force`` is not given, or cannot be written.
    """
    pictures = [
        (title, base64.b64encode(plot.read_bytes()).decode()) for title, plot in plots.items()
    ]
    environment = Environment(autoescape=True)
    environment.filters["marked"] = _marked
    page = environment.from_string(TEMPLATE, globals=WORDS)
    with writing(path, force=force) as temporary:
        text = page.render(p=predicted, measured=measured, cut=pruned, c=check, pictures=pictures)
        temporary.write_text(text, encoding="utf-8")
