"""report.html: one file that holds everything (figures inline, no scripts, nothing fetched from anywhere).

Its first sentence says in words what the records show, and what they do not.
"""

from __future__ import annotations

import base64
import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.gather import Records
from experiments.main import analysis
from jfhpo.core.trial import Status
from paper_figures.formats import percent, to_html
from paper_figures.pages import Page

CSS = """
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; color: #1b1b1b;
       background: #fff; max-width: 1080px; margin: 2rem auto 4rem; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.lead { font-size: 1.1rem; border-left: 4px solid #0072B2; padding: .5rem 0 .5rem 1rem; margin: 1rem 0; }
.lead p { margin: .3rem 0; }
.warn { background: #fff4e5; border-left: 4px solid #D55E00; padding: .5rem 1rem; margin: 1rem 0; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; }
th, td { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
th:first-child, td:first-child, .left, .words th, .words td, tr.error td { text-align: left; }
thead th { border-bottom: 2px solid #333; vertical-align: bottom; }
td { white-space: nowrap; }
.words td { white-space: normal; }
.words td:first-child, .pair { white-space: nowrap; }
.quoted { color: #666; background: #f6f6f6; }
tr.error td { color: #a30000; background: #fdecec; white-space: normal; }
.caption, figcaption { color: #555; font-size: .82rem; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
code, pre { font: .82rem/1.4 ui-monospace, Menlo, Consolas, monospace; }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; }
details { margin: .3rem 0; }
summary { cursor: pointer; }
"""


def _words(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words; the cells are HTML already."""
    head = "".join(f"<th>{html.escape(h)}</th>" for h in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table class="words"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _value(value: Any) -> str:
    """A setting as a person writes it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(v) for v in value)
    return str(value)


def _studies(records: Records, problem: str) -> str:
    """For each study what it recommends, what became of its trials and why, and its result."""
    part, rows, details = records.of(problem), [], []
    searches = dict(list(part.trials[part.trials["phase"] == "search"].groupby(["method", "seed"])))
    for study in part.studies.itertuples():
        search = searches.get((study.method, study.seed), part.trials[:0])
        ended = Counter(search["status"])
        counts = [f"{n} {s.value.replace('_', ' ')}" for s in Status if (n := ended[s])]
        reasons = [f"{n} {reason.replace('_', ' ', 1)}" for reason, n in analysis.stop_reasons(search).items()]
        tested = study.greedy is not None and study.greedy == study.greedy
        result = f"{percent(study.mean_at_k)} / {percent(study.greedy)}" if tested else study.state
        pairs = [html.escape(f"{k}={_value(v)}") for k, v in (study.recommended or {}).items()]
        config = " ".join(f'<span class="pair">{pair}</span>' for pair in pairs)
        rows.append(
            [html.escape(study.method), str(study.seed), f"<code>{config}</code>" if config else "–"]
            + [html.escape("; ".join(cell) or "–") for cell in (counts, reasons)]
            + [f'<span class="pair">{html.escape(result)}</span>']
        )
        if study.recommendation:
            text = html.escape(json.dumps(study.recommendation, indent=2, default=str))
            name = html.escape(f"{study.method} seed={study.seed}: what the method says about its recommendation")
            details.append(f"<details><summary>{name}</summary><pre>{text}</pre></details>")
    header = (
        "method",
        "seed",
        "recommended configuration",
        "search trials",
        "why they ended early",
        "test mean@k / greedy",
    )
    return _words(header, rows) + "".join(details)


def _settings(records: Records, problem: str) -> str:
    """What the problem's studies have in common, and where they differ every value there is."""
    studies = records.of(problem).studies
    names = {
        "task": "task", "target": "target model", "proxy": "proxy model", "max_steps": "steps of a full run",
        "rungs": "step rungs", "budget": "budget", "unit": "budget unit", "seed": "seeds", "workers": "workers",
        "scale": "scale", "trainer": "trainer", "machine": "machine", "code_version": "code version",
    }  # fmt: skip
    rows = []
    for column, words in names.items():
        values = list(dict.fromkeys(_value(v) for v in studies[column] if v is not None and v == v))
        if column in ("max_steps", "workers", "budget"):
            values = [f"{float(v):g}" for v in values]
        rows.append([html.escape(words), html.escape("; ".join(values) or "not recorded")])
    return _words(("setting", "value"), rows)


def _rerun(experiment: str, records: Records) -> str:
    """Commands that make, finish and present the experiment."""
    first = records.studies.iloc[0]
    scale = first["command"].split()[1]
    lines = [
        "# run what is missing of every method and seed, then write this report",
        f"./run_all.sh {scale} experiment={experiment}",
        "# one study; the same words continue one that was stopped",
        first["command"],
        "# write the tables, figures and this report again from the records",
        f"python -m paper_figures experiment={experiment}",
    ]
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def page(experiment: str, records: Records, shown: Page, pictures: Sequence[Path]) -> str:
    """The report: `shown` and, for each of its drawings in their order, the PNG file."""
    problems = records.problems()
    parts = [f"<h1>Experiment {html.escape(experiment)}: {html.escape(', '.join(problems))}</h1>"]
    parts.append(f'<div class="lead">{"".join(f"<p>{html.escape(text)}</p>" for text in shown.lead)}</div>')
    warnings = [w for p in problems for w in analysis.caveats(records, p)]
    without = len(analysis.gaps(records))
    if without:
        warnings.append(
            f"Runs without a result: {without} of {len(records.studies)}. The tables name the command of each."
        )
    parts += [f'<div class="warn">{html.escape(w)}</div>' for w in warnings]
    parts += [f"<h2>{html.escape(t.title)}</h2>{to_html(t)}" for group in shown.tables for t in group]
    if pictures:
        parts.append("<h2>Figures</h2>")
        parts += [_figure(path, d.caption) for path, d in zip(pictures, shown.drawings, strict=True)]
    for problem in problems:
        name = html.escape(problem)
        parts.append(
            f"<h2>{name}: studies</h2>{_studies(records, problem)}<h3>Settings</h3>{_settings(records, problem)}"
        )
    parts.append(f"<h2>Run it again</h2>{_rerun(experiment, records)}")
    title = html.escape(f"{experiment}: {', '.join(problems)}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>\n'
        f"<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )
