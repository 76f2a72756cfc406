"""The replay benchmark: the benchmark's page over recorded curves, what these are, and what methods themselves took."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from experiments.gather import Records
from experiments.replay import analysis
from jfhpo.core.errors import UsageError
from jfhpo.replay.dataset import load
from paper_figures.formats import Column, Table
from paper_figures.pages import Page, benchmark
from paper_figures.tables import number

WHAT = "Recorded learning curves stand in for training (problem.trainer=replay)."


def page(records: Records) -> Page:
    """As of `benchmark.page`, with what is different here said first."""
    made = benchmark.page(records)
    took = pace(analysis.pace(records))
    return replace(made, lead=(said(records), *made.lead), tables=(*made.tables, (took,)))


def said(records: Records) -> str:
    """What was replayed."""
    counts = []
    for task in sorted(records.studies["task"].dropna().unique()):
        try:
            data = load(task)
        except UsageError:  # a data set of one's own, elsewhere
            continue
        seeds = data.runs["seed"].nunique()
        counts.append(f"{task}: {data.runs['configuration'].nunique()} configurations, {seeds} training seed(s)")
    of = f" {'; '.join(counts)}." if counts else ""
    return (
        f"{WHAT}{of} Seeds differ by what methods draw, not by how training went: intervals and tests speak of these "
        "recordings, and not of other training runs."
    )


def pace(found: pd.DataFrame) -> Table:
    """What the methods themselves cost."""
    rows = [
        (r.method, str(r.studies), f"{r.trials:,}", number(1000 * r.seconds, 2), number(r.all_seconds, 0))
        for r in found.itertuples()
    ]
    return Table(
        name="pace",
        title="What the methods themselves took",
        columns=(
            Column("method"),
            Column("studies"),
            Column("search trials"),
            Column("ms of CPU per trial"),
            Column("s of CPU in all"),
        ),
        rows=tuple(rows),
        caption="Seconds of this machine in ask, tell and recommend. They are measured and not charged to the budget, "
        "whose seconds are those of the recording.",
        data=found,
    )
