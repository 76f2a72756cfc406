"""Workers: how much sooner one budget is spent, and what knowing less costs."""

from __future__ import annotations

import math

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.gather import Records
from experiments.workers import analysis
from paper_figures.cells import bracketed
from paper_figures.comparison_figures import dashes, end_labels
from paper_figures.figures import STYLE, WIDTH, colours
from paper_figures.formats import Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.tables import budget, number, with_interval

MEANING = (
    "Wall: seconds on the simulated clock, on which any number of workers runs side by side exactly, from a study's "
    "beginning to its end, final run included; the method's own seconds are not in it. Speedup: by one worker's [95 % "
    "bootstrap over seeds]. Busy: trainer seconds by workers times wall; the final run keeps one worker busy, and the "
    "search waits for nobody but a rung's last trials where a method is synchronous. Test mean@k: mean over seeds ± "
    "the half of Student's t interval."
)


def page(records: Records) -> Page:
    found = analysis.scaling(records)
    drawings = [Drawing(f"workers_{p}", figure(part), MEANING) for p, part in found.groupby("problem", sort=False)]
    return Page(lead=lead(found), tables=((table(records, found),),), drawings=tuple(drawings), printed=("workers",))


def lead(found: pd.DataFrame) -> tuple[str, ...]:
    """Who gains most time with the most workers, and who loses accuracy beyond the intervals."""
    said = []
    for problem, part in found.groupby("problem", sort=False):
        most = part["workers"].max()
        last = part[part["workers"] == most].sort_values("speedup", ascending=False)
        if most == 1 or last["speedup"].isna().all():
            continue
        best, least = last.iloc[0], last.iloc[-1]
        said.append(
            f"{problem}, {most} workers: {best['method']} ends {best['speedup']:.1f} times sooner than with one, "
            f"{least['method']} {least['speedup']:.1f} times."
        )
        for method, own in part.groupby("method", sort=False):
            one, many = own.iloc[0], own.iloc[-1]
            if one["accuracy"] - many["accuracy"] > math.hypot(one["accuracy_half"], many["accuracy_half"]):
                lost = 100 * (one["accuracy"] - many["accuracy"])
                said.append(f"{method} loses {lost:.1f} points of test accuracy by it.")
    return tuple(said)


def table(records: Records, found: pd.DataFrame) -> Table:
    several = found["problem"].nunique() > 1
    rows = []
    for row in found.to_dict("records"):
        name = f"{row['problem']}: {row['method']}" if several else row["method"]
        speedup = bracketed(row["speedup"], row["speedup_low"], row["speedup_high"], 1)
        cells = (number(row["wall"]), speedup if row["workers"] > 1 else "1.0", number(100 * row["busy"], 0))
        shown = (
            with_interval(row["accuracy"], row["accuracy_half"]) if row["seeds"] > 1 else number(100 * row["accuracy"])
        )
        rows.append((name, str(row["workers"]), str(row["seeds"]), *cells, shown))
    return Table(
        name="workers",
        title="One budget with more workers",
        columns=(
            Column("method"), Column("workers"), Column("seeds"), Column("wall s"), Column("speedup"),
            Column("busy %"), Column("test mean@k %"),
        ),
        rows=tuple(rows),
        caption=f"{budget(records)} {MEANING}",
        data=found,
    )  # fmt: skip


def figure(found: pd.DataFrame) -> Figure:
    """Speedup and accuracy over the number of workers, a line per method."""
    methods = list(found["method"].unique())
    palette, patterns, counts = colours(methods), dashes(methods), sorted(found["workers"].unique())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        sooner, better = figure.subplots(1, 2)
        sooner.plot(counts, counts, color="#BBBBBB", lw=0.8, zorder=1)
        sooner.annotate("ideal", (counts[-1], counts[-1]), color="#888888", fontsize=7, ha="right", va="bottom")
        for method, own in found.groupby("method", sort=False):
            look = {"color": palette[method], "dashes": patterns[method], "lw": 1.8 if method == "jfhpo" else 1.0}
            sooner.plot(own["workers"], own["speedup"], **look)
            mean, half = 100 * own["accuracy"], 100 * own["accuracy_half"]
            better.plot(own["workers"], mean, **look)
            better.fill_between(
                own["workers"],
                (mean - half).clip(0, 100),
                (mean + half).clip(0, 100),
                color=palette[method],
                alpha=0.08,
                lw=0,
            )
        sooner.set_yscale("log", base=2)
        sooner.set_ylabel("times sooner than one worker")
        better.set_ylabel("test mean@k (%)")
        for axes in (sooner, better):
            axes.set_xscale("log", base=2)
            axes.set_xlabel("workers")
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(FixedLocator(counts))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        sooner.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        last = found[found["workers"] == counts[-1]].set_index("method")["accuracy"]
        end_labels(better, (100 * last).to_dict(), palette)
    return figure
