"""All of an experiment's output from its records: tables, figures, report, and the tables in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from experiments.gather import load
from experiments.sweeps import studies_of
from paper_figures import figures, formats, pages, report


def write_all(out: Path, experiment: str, console: Console | None = None) -> None:
    """Write ``<out>/<experiment>/tables``, ``figures`` and ``report.html``, then print the report's path and the
    tables that matter most. A `UsageError` where the experiment has no results; files are only touched under its own
    folder."""
    records = load(out, studies_of(experiment))
    root = Path(out) / experiment
    shown = pages.page(experiment, records)
    for group in shown.tables:
        formats.write(root / "tables", group)
    pictures = [figures.write(root / "figures", d.name, d.figure) for d in shown.drawings]
    page = root / "report.html"
    page.write_text(report.page(experiment, records, shown, pictures), encoding="utf-8")
    console = console or Console()
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    for name in shown.printed:
        formats.show(console, next(group[0] for group in shown.tables if group[0].name == name))
        console.print()
