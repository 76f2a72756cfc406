"""All of an experiment's output from its records: tables, figures, report, and the tables in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from experiments.gather import load
from paper_figures import figures, formats, report, tables


def write_all(out: Path, experiment: str, console: Console | None = None) -> None:
    """Write ``<out>/<experiment>/tables``, ``figures`` and ``report.html``, then print the report's path, the
    efficiency table and the accuracy table. A `UsageError` where the experiment has no results; files are only
    touched under its own folder."""
    records = load(out, experiment)
    root = Path(out) / experiment
    accuracy, efficiency = tables.accuracy(records), tables.efficiency(records)
    below = {"accuracy": tables.published_accuracy(), "efficiency": tables.published_efficiency()}
    for table in (accuracy, efficiency):
        formats.write(root / "tables", [table, below[table.name]])
    drawn = {}
    for problem in records.problems():
        for kind, draw in (("anytime", figures.anytime), ("why", figures.why)):
            figure = draw(records, problem)
            if figure is not None:
                drawn[problem, kind] = figures.write(root / "figures", f"{kind}_{problem}", figure)
    shown = [accuracy, below["accuracy"], efficiency, below["efficiency"]]
    page = root / "report.html"
    page.write_text(report.page(records, shown, drawn), encoding="utf-8")
    console = console or Console()
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    for table in (efficiency, accuracy):
        formats.show(console, table)
        console.print()
