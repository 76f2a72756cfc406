"""The replay benchmark: the benchmark's page over recorded curves, what these are, and what methods themselves took."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from experiments.benchmark.analysis import OURS
from experiments.gather import Records
from experiments.replay import analysis
from experiments.replay.in_hand import in_hand
from experiments.replay.in_hand import sooner as speedups
from experiments.replay.in_hand import standing as standings
from jfhpo.core.errors import UsageError
from jfhpo.replay.dataset import load
from paper_figures import comparison_figures
from paper_figures.formats import Column, Table
from paper_figures.pages import Drawing, Page, benchmark
from paper_figures.tables import number, with_interval

IN_HAND = (
    "Test accuracy (mean@k, in %) of what the method would have recommended, from the moment at which it could be had: "
    "the rest of its run on the target is paid on top where the search had not trained it. Before that, the base model."
)
WHAT = "Recorded learning curves stand in for training (problem.trainer=replay)."


def page(records: Records) -> Page:
    """As of `benchmark.page`, with what is different here said first."""
    made = benchmark.page(records)
    held, more, drawings = in_hand(records), [], list(made.drawings)
    if len(held):
        more.append(standing(standings(held)))
        more += [sooner(method, found) for method in OURS if len(found := speedups(held, method))]
        curves = held.rename(columns={"accuracy": "best"})
        drawings.insert(
            0, Drawing("in_hand", comparison_figures.anytime(records, curves, "test, in hand (%)"), IN_HAND)
        )
    tables = (made.tables[0], *((table,) for table in more), *made.tables[1:], (pace(analysis.pace(records)),))
    return replace(made, lead=(said(records), *made.lead), tables=tables, drawings=tuple(drawings))


def said(records: Records) -> str:
    """What was replayed."""
    counts = []
    for task in sorted(records.studies["task"].dropna().unique()):
        try:
            data = load(task)
        except UsageError:  # a data set of one's own, elsewhere
            continue
        seeds = data.runs.groupby("configuration")["seed"].nunique()
        more = f", {(seeds > 1).sum()} of them with {seeds.max()} training seeds" if seeds.max() > 1 else ""
        counts.append(f"{task}: {len(seeds)} configurations{more}")
    of = f" {'; '.join(counts)}." if counts else ""
    return (
        f"{WHAT}{of} Seeds differ by what methods draw, not by how training went: intervals and tests speak of these "
        "recordings, and hardly of other training runs."
    )


def standing(found: pd.DataFrame) -> Table:
    """What each method has in hand at a quarter, a half and all of the budget."""
    parts = found[["problem", "share"]].drop_duplicates().itertuples(index=False)
    cells = {(r.method, r.problem, r.share): r for r in found.itertuples()}
    columns = [(problem, share) for problem, share in parts]
    rows = []
    for method in found["method"].unique():
        own = [cells.get((method, *column)) for column in columns]
        shown = [f"{with_interval(r.mean, r.half)}  ({r.rank:.1f})" if r else "–" for r in own]
        rows.append((method, *shown))
    return Table(
        name="in_hand",
        title="In hand at a quarter, a half and all of the budget",
        columns=(Column("method"), *(Column(f"{problem}: {share:.0%}") for problem, share in columns)),
        rows=tuple(rows),
        caption=f"{IN_HAND} Mean over seeds ± the half of Student's t interval, in ( ) the mean rank, 1 is best.",
        data=found,
    )


def sooner(method: str, found: pd.DataFrame) -> Table:
    """How much sooner one method has in hand what the others end with."""
    cells = {(r.method, r.problem): r for r in found.itertuples()}
    problems = found["problem"].unique()
    rows = []
    for other in found["method"].unique():
        own = [cells.get((other, problem)) for problem in problems]
        rows.append((other, *(f"{_times(r.ratio)}  [{_times(r.low)}, {_times(r.high)}]" if r else "–" for r in own)))
    return Table(
        name=f"{method}_in_hand_sooner",
        title=f"Times as fast as others: {method}, by what is in hand",
        columns=(Column("method"), *(Column(problem) for problem in problems)),
        rows=tuple(rows),
        caption=f"Budget until a method's mean over seeds of what is in hand is for good what it ends with, by that "
        f"until the mean of {method} is for good as high: above 1, {method} is sooner; never: it ends lower. 95 % "
        "intervals of a bootstrap over the seeds of both.",
        data=found,
    )


def _times(ratio: float) -> str:
    return "never" if ratio == 0 else number(ratio, 2)


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
