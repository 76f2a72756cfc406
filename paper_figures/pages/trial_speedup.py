"""The paper's efficiency table, and where a speedup per trial comes from."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.gather import Records
from experiments.main.analysis import REFERENCE
from experiments.trial_speedup import analysis
from experiments.trial_speedup.analysis import FACTORS
from paper_figures import published, tables
from paper_figures.cells import bracketed
from paper_figures.figures import STYLE
from paper_figures.formats import NOT_KNOWN, Column, Table, percent
from paper_figures.pages import Drawing, Page
from paper_figures.tables import error_rows, number, row_name, seeds, with_errors

FACTOR_NAMES = {
    "fewer_steps": "fewer steps asked for",
    "stopping": "early stopping",
    "failed": "failed trials",
    "reuse": "checkpoint reuse",
    "tokens_per_step": "tokens per step",
    "tokens_per_second": "tokens per second",
}
DRAWN = ("tokens_per_second", "fewer_steps", "stopping", "reuse", "tokens_per_step", "failed")
"""Factors from the top of the figure down: the proxy's first."""
FASTER, SLOWER, WHOLE = "#0072B2", "#D55E00", "#777777"
UNEQUAL = "A trial is not always worth the same: a short one on the proxy tells less than a full one on the target."
MEANING = (
    "Seconds per trial = steps asked for × share left by early stopping × share not lost to the budget's end or a "
    "failure × share not taken from a checkpoint × tokens per step ÷ tokens per second; a factor is the ratio of such "
    f"a term for {REFERENCE} and for the method, means over seeds, and their product is the speedup. Tokens per second "
    "is what the proxy buys (start-up and validation included). Tokens per step depends on the configurations tried: "
    "their rollouts and the length of their completions."
)


def page(records: Records) -> Page:
    breakdown, factors = analysis.breakdown(records), analysis.factors(records)
    drawings = []
    for problem in records.problems():
        known = factors[(factors["problem"] == problem) & (factors["method"] != REFERENCE) & factors["speedup"].notna()]
        if len(known):
            drawings.append(Drawing(f"factors_{problem}", waterfall(known), CAPTION))
    return Page(
        lead=tuple(text for p in records.problems() for text in lead(records.of(p), p)),
        tables=(
            (tables.efficiency(records), tables.published_efficiency()),
            (factors_table(records, factors),),
            (breakdown_table(records, breakdown),),
        ),
        drawings=tuple(drawings),
        printed=("breakdown", "factors", "efficiency"),
    )


# ---- sentences -----------------------------------------------------------------------------------------------


def lead(records: Records, problem: str) -> list[str]:
    """The measured speedups against the paper's, and their largest factors; `records` of one problem."""
    measured = analysis.speedups(records)
    if measured.empty:
        return [f"No speedup on {problem} yet: it takes a finished search of {REFERENCE} and of another method."]
    breakdown, factors = (f(records).set_index("method") for f in (analysis.breakdown, analysis.factors))
    reference = breakdown.loc[REFERENCE]
    said = [
        f"A search trial of {REFERENCE} on {problem} takes {reference['seconds']:.2f} s "
        f"(n={seeds(int(reference['n']), int(reference['expected']))} seeds). {UNEQUAL}"
    ]
    for row in measured.itertuples():
        mine = breakdown.loc[row.method]
        paper = " and ".join(f"{r.speedup:.1f} on {r.model}" for r in published.efficiency(row.method).itertuples())
        quoted = f" (the paper's JF-HPO: {paper})" if paper else ""
        text = f"{row.method}: {_times(row.speedup, row.speedup_low, row.speedup_high)} the trials in the same time"
        text += f"{quoted}, n={seeds(row.n, row.expected)}"
        if not math.isnan(mine["proxy_speedup"]) and mine["proxy_share"] < 1:
            ratio = _times(*(mine[f"proxy_speedup{end}"] for end in ("", "_low", "_high")))
            text += f"; counted per proxy trial ({percent(mine['proxy_share'])} of its trials) {ratio}"
        said.append(f"{text}. {_why(factors.loc[row.method])}")
    bohb = [f"{r.speedup:.1f}" for r in published.efficiency("bohb").itertuples()]
    if "bohb" not in set(measured["method"]):
        said.append(f"The paper's BOHB has {' and '.join(bohb)} times; it is not among the rows here.")
    return said


def _times(value: float, low: float, high: float) -> str:
    interval = "no interval" if math.isnan(low) else f"95 % [{low:.1f}, {high:.1f}]"
    return f"{value:.1f} times ({interval})"


def _why(row: pd.Series) -> str:
    """The factors that change the price of a trial by a tenth or more, the strongest first."""
    strong = sorted(FACTORS, key=lambda f: -abs(math.log(row[f])))
    named = [f"{FACTOR_NAMES[f]} {row[f]:.2f}" for f in strong if abs(math.log(row[f])) >= math.log(1.1)]
    return f"Its factors: {', '.join(named)}." if named else "No factor of it differs from one by a tenth."


# ---- tables --------------------------------------------------------------------------------------------------


def factors_table(records: Records, frame: pd.DataFrame) -> Table:
    """The speedup as a product."""
    name = row_name(records)
    rows = tuple(
        (
            name(r["problem"], r["method"]), seeds(r["n"], r["expected"]), number(r["seconds"], 2),
            number(r["speedup"], 2), *(number(r[f], 2) for f in DRAWN),
        )
        for _, r in frame.iterrows()
    )  # fmt: skip
    return Table(
        name="factors",
        title="Speedup per trial as a product of factors",
        columns=(
            Column("method"), Column("seeds", wide=True), Column("s per trial"), Column("speedup"),
            *(Column(FACTOR_NAMES[f], wide=f in ("tokens_per_step", "failed")) for f in DRAWN),
        ),
        rows=rows,
        caption=f"{MEANING} Above one: that much faster than {REFERENCE}; below one: slower.",
        data=with_errors(frame, records),
        errors=error_rows(records),
    )  # fmt: skip


def breakdown_table(records: Records, frame: pd.DataFrame) -> Table:
    """What stands behind the factors, in seconds, steps and tokens."""
    name = row_name(records)
    columns = (
        Column("method"), Column("seeds", wide=True), Column("proxy trials %"), Column("s per proxy trial"),
        Column("s per target trial"), Column("steps asked"), Column("steps run"), Column("stopped %"),
        Column("resumed %"), Column("s saved by reuse", wide=True), Column("tokens/s proxy", wide=True),
        Column("tokens/s target", wide=True), Column("speedup per proxy trial", wide=True),
    )  # fmt: skip
    rows = tuple(
        (
            name(r.problem, r.method),
            seeds(r.n, r.expected),
            number(100 * r.proxy_share),
            number(r.proxy_seconds, 2),
            number(r.target_seconds, 2),
            number(r.asked),
            number(r.run),
            number(100 * r.stopped_share),
            number(100 * r.resumed_share),
            _saved(r),
            number(r.proxy_rate, 0),
            number(r.target_rate, 0),
            bracketed(r.proxy_speedup, r.proxy_speedup_low, r.proxy_speedup_high, 1),
        )
        for r in frame.itertuples()
    )
    return Table(
        name="breakdown",
        title="What a search trial is made of",
        columns=columns,
        rows=rows,
        caption="Search trials only, means over seeds of each study's mean. Steps asked and run: per trial. Stopped: "
        "steps not run because a rule stopped the trial, of those asked for. Resumed: steps taken from a checkpoint, "
        "of those reached. Saved by reuse: per trial, what it would have cost from the base model less what it cost. "
        f"Speedup per proxy trial: seconds per trial of {REFERENCE} by those of the method's trials on the proxy; so "
        "counts the paper, whose trials are all on the proxy [95 % bootstrap over seeds, where there are two or more].",
        data=with_errors(frame, records),
        errors=error_rows(records),
    )


def _saved(row) -> str:
    if math.isnan(row.reuse_seconds):
        return NOT_KNOWN
    share = "" if math.isnan(row.reuse_share) else f" ({percent(row.reuse_share)})"
    return f"{row.reuse_seconds:.2f}{share}"


# ---- figure --------------------------------------------------------------------------------------------------

CAPTION = (
    f"From {REFERENCE}'s seconds per trial (grey, top) to the method's (grey, bottom), one factor at a time, on a "
    f"logarithmic scale: a bar's length does not depend on the order. {MEANING}"
)
COLUMNS = 3


def waterfall(frame: pd.DataFrame) -> Figure:
    """A panel per method, `frame` as of `analysis.factors` for one problem: a floating bar per factor."""
    columns = min(COLUMNS, len(frame))
    lines = math.ceil(len(frame) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.3 + 1.6 * columns, 0.6 + 1.75 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        low, high = _range(frame)
        for axes, (_, row) in zip(grid.flat, frame.iterrows(), strict=False):
            _bars(axes, row, low)
            axes.set_title(f"{row['method']}: {row['speedup']:.1f}×", fontweight="bold", fontsize=7)
        for axes in list(grid.flat)[len(frame) :]:
            axes.set_visible(False)
        first = grid[0][0]
        first.set_xscale("log")
        first.set_xlim(low, high)
        first.xaxis.set_major_locator(FixedLocator([m * 10.0**e for e in range(-3, 6) for m in (1, 3)]))
        first.xaxis.set_minor_locator(NullLocator())
        first.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        names = [REFERENCE, *(FACTOR_NAMES[f] for f in DRAWN), "the method"]
        first.set_yticks(range(len(names)), names)
        first.set_ylim(len(names) - 0.4, -0.6)
        for i in range(columns):
            last = max(line for line in range(lines) if line * columns + i < len(frame))
            grid[last][i].set_xlabel("seconds per search trial")
            grid[last][i].tick_params(labelbottom=True)
        patches = [Patch(color=FASTER, lw=0), Patch(color=SLOWER, lw=0)]
        words = ["makes a trial cheaper", "makes it dearer"]
        figure.legend(patches, words, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _range(frame: pd.DataFrame) -> tuple[float, float]:
    """Least and greatest level that any panel reaches, with room for the labels."""
    levels = np.concatenate([_levels(row) for _, row in frame.iterrows()])
    return float(levels.min()) / 2, float(levels.max()) * 2.6


def _levels(row: pd.Series) -> np.ndarray:
    """Seconds per trial before the first factor of `DRAWN` and after each."""
    return row["reference_seconds"] / np.cumprod([1.0, *(row[f] for f in DRAWN)])


def _bars(axes: Axes, row: pd.Series, low: float) -> None:
    levels = _levels(row)
    axes.grid(axis="x")
    for y, end in ((0, levels[0]), (len(DRAWN) + 1, levels[-1])):
        axes.barh(y, end - low, left=low, height=0.66, color=WHOLE, lw=0)
        _label(axes, y, end, f"{number(end, 2)} s")
    for i, factor in enumerate(DRAWN, start=1):
        before, after = levels[i - 1], levels[i]
        cheaper = after <= before
        colour = FASTER if cheaper else SLOWER
        axes.barh(i, abs(before - after), left=min(before, after), height=0.66, color=colour, lw=0)
        axes.plot([before, before], [i - 1 + 0.33, i - 0.33], color="#999999", lw=0.5)
        _label(axes, i, max(before, after), f"÷{row[factor]:.2f}" if cheaper else f"×{1 / row[factor]:.2f}")
    axes.plot([levels[-1]] * 2, [len(DRAWN) + 0.33, len(DRAWN) + 0.67], color="#999999", lw=0.5)
    axes.tick_params(axis="y", length=0)


def _label(axes: Axes, y: float, x: float, text: str) -> None:
    axes.annotate(text, (x, y), xytext=(2, 0), textcoords="offset points", va="center", fontsize=5.5, color="#333333")
