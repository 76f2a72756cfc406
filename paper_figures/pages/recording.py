"""The recording itself: what was trained and how it ended. The experiments that read it say what it means."""

from __future__ import annotations

from experiments.gather import Records
from experiments.recording import analysis
from paper_figures.formats import Column, Table
from paper_figures.pages import Page
from paper_figures.tables import error_rows, number


def page(records: Records) -> Page:
    frame = analysis.overview(records)
    heads = ("runs", "completed", "failed", "mean %", "sd %", "best %", "s per run")
    table = Table(
        name="overview",
        title="Recorded runs",
        columns=(Column("model"), *(Column(head) for head in heads)),
        rows=tuple(
            (
                r.model,
                *(str(n) for n in (r.runs, r.completed, r.failed)),
                *(number(v) for v in (100 * r.mean, 100 * r.sd, 100 * r.best, r.seconds)),
            )
            for r in frame.itertuples()
        ),
        caption="A scrambled Sobol design, every configuration trained in full on every size. Validation accuracy, "
        "sampled at temperature 1, at the end of each run; trainer seconds.",
        data=frame,
        errors=error_rows(records),
    )
    runs = int(frame["runs"].sum()) if len(frame) else 0
    lead = f"{runs} full runs are recorded: {', '.join(f'{r.runs} on {r.model}' for r in frame.itertuples())}."
    return Page(lead=(lead,), tables=((table,),), printed=("overview",))
