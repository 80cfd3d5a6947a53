"""One self-contained HTML page: numbers, plots, evidence, how to obtain them again."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment

from ..files import writing
from ..results import CheckResult, MeasureResult, PredictResult, PruneResult
from .words import interval, percent, rule

__all__ = ["write_page"]

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>prunelimit: {{ p.model.spec }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .9rem .2rem 0; text-align: left; }
td + td, th + th { font-variant-numeric: tabular-nums; } th { border-bottom: 1px solid #bbb; }
img { max-width: 100%; } .big { font-size: 1.25rem; } .no { color: #b33; } .yes { color: #08604a; }
code { background: #f3f3f3; padding: 0 .2rem; }
</style></head><body>
<h1>How sparse can {{ p.model.spec }} on {{ p.data.spec }} be made in one shot?</h1>
<p class="big">Predicted: <b>{{ interval(p.limit.sparsity, p.limit.interval) }}</b> of its
{{ "{:,}".format(p.model.prunable) }} prunable weights
({{ percent(p.limit.sparsity_of_all) }} of all parameters).</p>
{% if c %}<p class="{{ 'yes' if c.passed else 'no' }}">Measured ({{ c.rule }}):
{{ interval(c.measured, c.measured_interval) }}; the prediction is off by
{{ "%+.2f"|format(c.difference_pp) }} percentage points (tolerance
{{ "%g"|format(c.tolerance_pp) }}): {{ "holds" if c.passed else "fails" }}.</p>{% endif %}
<h2>Is the estimate reliable? {{ "Yes." if p.reliability.ok else "No." }}</h2>
<ul>{% for reason in p.reliability.reasons %}<li>{{ reason }}</li>{% else %}
<li>No reason against it was found.</li>{% endfor %}</ul>
<table><tr><th>sparsity</th><th>loss rise</th><th>quadratic part</th><th>linear part</th></tr>
{% for x in p.reliability.path %}<tr><td>{{ percent(x.sparsity) }}</td>
<td>{{ "%.3g"|format(x.loss_rise) }}</td><td>{{ "%.3g"|format(x.quadratic_rise) }}</td>
<td>{{ "%.3g"|format(x.linear_rise) }}</td></tr>{% endfor %}</table>
{% for title, picture in pictures %}<h2>{{ title }}</h2>
<img alt="{{ title }}" src="data:image/png;base64,{{ picture }}">{% endfor %}
<h2>The limit by formula and operator</h2>
<table><tr><th>formula</th><th>operator</th><th>limit</th></tr>
{% for v in p.variants %}<tr><td>{{ v.formula }}</td><td>{{ v.operator }}</td>
<td>{{ interval(v.sparsity, v.interval) }}</td></tr>{% endfor %}</table>
<h2>Measured thresholds</h2>
<table><tr><th>method</th><th>largest sparsity with</th><th>of prunable weights</th></tr>
{% for m in measured %}{% for t in m.thresholds %}<tr><td>{{ m.method }}</td><td>{{ rule(t) }}</td>
<td>{{ interval(t.sparsity, t.interval) }}</td></tr>{% endfor %}{% endfor %}</table>
{% if cut %}<h2>Pruned checkpoint</h2>
<p>{{ percent(cut.sparsity) }} of the prunable weights are zero; test accuracy
{{ percent(cut.accuracy_before) }} before and {{ percent(cut.accuracy_after) }} after, with nothing
trained in between. The file has {{ "{:,}".format(cut.artifact.bytes) }} bytes; dense, it would
have {{ "{:,}".format(cut.artifact.bytes_dense) }}. Unstructured zeros do not make a CPU or GPU
faster.</p>{% endif %}
<h2>Layers at the limit</h2>
<table><tr><th>weight</th><th>shape</th><th>kept</th><th>sparsity</th></tr>
{% for l in p.layers %}<tr><td>{{ l.name }}</td><td>{{ l.shape|join(" x ") }}</td>
<td>{{ "{:,}".format(l.kept) }}</td><td>{{ percent(l.sparsity) }}</td></tr>{% endfor %}</table>
<h2>To obtain this again</h2>
<p>prunelimit {{ p.provenance.tool_version }}, seed {{ p.provenance.seed }}, device
{{ p.provenance.device }}, {{ p.provenance.created }};
{% for name, version in p.provenance.versions.items() %}{{ name }} {{ version }}{{ ", " if not
loop.last }}{% endfor %}. Loss tolerance {{ "%.5g"|format(p.epsilon.value) }}
({{ p.epsilon.rule }}); {{ p.curvature.products }} products of the {{ p.curvature.kind }} on
{{ "{:,}".format(p.curvature.samples) }} samples. Checkpoint SHA-256 <code>{{ p.model.sha256 }}
</code>.</p>
</body></html>
"""


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
    words = {"interval": interval, "percent": percent, "rule": rule}
    page = Environment(autoescape=True).from_string(TEMPLATE, globals=words)
    with writing(path, force=force) as temporary:
        text = page.render(p=predicted, measured=measured, cut=pruned, c=check, pictures=pictures)
        temporary.write_text(text, encoding="utf-8")
