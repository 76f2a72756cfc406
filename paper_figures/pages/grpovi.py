"""GRPO against GRPOVI on graded rewards, and the time that finding the adjusted rewards takes, beside the paper's."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments.gather import Records
from experiments.grpovi import analysis
from experiments.grpovi.analysis import ACCURACY, REFERENCE, REWARD, SMOOTH
from paper_figures import published
from paper_figures.figures import STYLE, WIDTH
from paper_figures.formats import NOT_KNOWN, Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.pages.ablations import points
from paper_figures.tables import error_rows, number, row_name, seeds, with_errors

MEASURED = Path(__file__).parents[2] / "benchmarks" / "measured" / "grpovi_search.csv"
MEASURE_IT = "python benchmarks/grpovi_search.py"
COLOURS = {REFERENCE: "#555555", "grpovi": "#0072B2", "grpovi_by_position": "#E69F00"}
SLOW, QUICK = "enumeration", "one pass"
"""What the paper times, by its names in both files."""
MARKS = {SLOW: "o", "enumeration, numpy": "s", QUICK: "^", "closed form": "D"}

WHAT = (
    f"{REFERENCE}: advantages from the rewards. grpovi: from the adjusted rewards, equal rewards kept equal. "
    "grpovi_by_position: equal rewards in the order of sampling, as the paper's algorithm leaves them. Rewards are "
    "graded (share of the working steps and the answer that is right), accuracy is exact. m = 0, M = 1."
)
COMPARED = (
    f"{WHAT} Means over seeds. Final reward: of the last {SMOOTH} steps, of training prompts, before any adjustment; "
    "mean reward: of all steps. Test accuracy: sampled, after the last step. Gain: paired by seed, in points [95 % BCa "
    "bootstrap over seeds]; with few seeds these intervals are too narrow. One configuration, chosen for "
    f"{REFERENCE}: nothing is said of others."
)
SOONER = (
    f"Steps until the mean reward of {SMOOTH} steps is as high as the highest that {REFERENCE} had by its end, seed by "
    f"seed: medians. Times sooner: median over seeds of {REFERENCE}'s steps by the method's, above 1 the method is "
    "sooner [95 % bootstrap over seeds]; a seed that never gets there is only known to be below its bound, and where "
    "that decides the median it is shown as <."
)
CURVES = (
    f"Mean over seeds against steps with 95 % bootstrap bands: the graded reward of training prompts (mean of {SMOOTH} "
    f"steps), the exact accuracy on validation prompts, and its difference to {REFERENCE}, seed by seed: below zero "
    f"{REFERENCE} is ahead. A line is drawn where every seed has a value. {WHAT}"
)
TIMES = (
    "CPU seconds to find the adjusted rewards of one group of n, medians; of the machine and the clock of the "
    "published times nothing is known. enumeration: Algorithm 1, all pairs of blocks, as a Python loop; numpy: the "
    "same a row at a time; one pass: Algorithm 2 as a Python loop; closed form: what the trainers use, in torch, and "
    "of 256 groups at once the time of one."
)


def page(records: Records) -> Page:
    compared, sooner, times = analysis.comparison(records), analysis.steps_to_final(records), search_times()
    drawings = []
    if len(analysis.curves(records)):
        drawings.append(Drawing("curves", curves(records), CURVES))
    drawings.append(Drawing("search_time", search_time(times), TIMES))
    return Page(
        lead=(*(text for p in records.problems() for text in lead(compared, sooner, p)), said_of_times(times), PAPER),
        tables=(
            (comparison(records, compared),),
            (steps(records, sooner),),
            (measured_times(times), published_times()),
        ),
        drawings=tuple(drawings),
        printed=("search_time", "steps_to_final", "comparison"),
    )


# ---- sentences -----------------------------------------------------------------------------------------------

PAPER = (
    "The paper reports GRPOVI's test reward above GRPO's at every one of 8 checkpoints, by about 2 to 10 %, with "
    "Pythia-1B, UltraFeedback and two reward models (read in a summary of it): rewards that hardly ever tie, where "
    "these tie often."
)


def lead(compared: pd.DataFrame, sooner: pd.DataFrame, problem: str) -> list[str]:
    """What the other methods gain on one problem, whatever the sign."""
    rows = compared[(compared["problem"] == problem) & (compared["method"] != REFERENCE)]
    said = []
    for row in rows.itertuples():
        if row.pairs == 0:
            said.append(f"{row.method} and {REFERENCE} on {problem}: no seed with a result of both yet.")
            continue
        parts = [
            f"{words} {points(gain, low, high)} ({analysis.conclusion(gain, low, high)})"
            for words, gain, low, high in (
                ("final reward", row.final_reward_gain, row.final_reward_low, row.final_reward_high),
                ("mean reward", row.mean_reward_gain, row.mean_reward_low, row.mean_reward_high),
                ("test accuracy", row.accuracy_gain, row.accuracy_low, row.accuracy_high),
            )
        ]
        text = f"{row.method} against {REFERENCE} on {problem}, points, {row.pairs} seeds: {'; '.join(parts)}."
        found = sooner[(sooner["problem"] == problem) & (sooner["method"] == row.method)]
        for one in found.itertuples():
            text += (
                f" It reaches the highest reward of {REFERENCE} on {one.reached} of {one.pairs} seeds within the same "
                f"steps, {_times(one)} as soon."
            )
        said.append(text)
    return said or [f"Nothing of {problem} is finished yet."]


def _times(row) -> str:
    """``0.87 [0.70, 1.02]`` times, with < where censored seeds decide."""
    span = NOT_KNOWN if math.isnan(row.low) else f"{row.low:.2f}, {row.high:.2f}"
    return f"{'< ' if row.at_most else ''}{row.ratio:.2f} [{span}] times"


def said_of_times(times: pd.DataFrame) -> str:
    """How much one pass saves at the largest n, theirs and ours."""
    paper = _speedup(published.quotable("grpovi_search"))
    if times.empty:
        return f"The search times are not measured here: {MEASURE_IT}."
    n, ratio = _speedup(times)
    return (
        f"At n = {n:,} one pass is {ratio:,.0f} times as fast as enumeration here; in the paper {paper[1]:,.0f} times "
        f"at n = {paper[0]:,}."
    )


def _speedup(times: pd.DataFrame) -> tuple[int, float]:
    """The largest n, and seconds of enumeration by those of one pass there."""
    wide = times.pivot(index="n", columns="algorithm", values="seconds")
    n = int(wide.index.max())
    return n, float(wide.loc[n, SLOW] / wide.loc[n, QUICK])


# ---- tables --------------------------------------------------------------------------------------------------


def comparison(records: Records, frame: pd.DataFrame) -> Table:
    """One row per method."""
    name = row_name(records)
    rows = tuple(
        (
            name(r.problem, r.method),
            seeds(r.n, r.expected),
            number(100 * r.final_reward),
            points(r.final_reward_gain, r.final_reward_low, r.final_reward_high),
            number(100 * r.mean_reward),
            points(r.mean_reward_gain, r.mean_reward_low, r.mean_reward_high),
            number(100 * r.accuracy),
            points(r.accuracy_gain, r.accuracy_low, r.accuracy_high),
        )
        for r in frame.itertuples()
    )
    columns = (
        Column("method"), Column("seeds"), Column("final reward %"), Column("gain in it"),
        Column("mean reward %", wide=True), Column("gain in it", wide=True), Column("test accuracy %"),
        Column("gain in it"),
    )  # fmt: skip
    return Table(
        name="comparison",
        title=f"GRPOVI against {REFERENCE.upper()} on graded rewards",
        columns=columns,
        rows=rows,
        caption=COMPARED,
        data=with_errors(frame, records),
        errors=error_rows(records),
    )


def steps(records: Records, frame: pd.DataFrame) -> Table:
    """Who reaches GRPO's reward, and when."""
    name = row_name(records)
    rows = tuple(
        (
            name(r.problem, r.method), f"{r.reached} of {r.pairs}", number(r.reference_steps, 0),
            "not reached" if math.isinf(r.steps) else number(r.steps, 0), _times(r).removesuffix(" times"),
        )
        for r in frame.itertuples()
    )  # fmt: skip
    return Table(
        name="steps_to_final",
        title=f"Steps to the highest reward of {REFERENCE.upper()}",
        columns=(
            Column("method"), Column("seeds that reach it"), Column(f"steps of {REFERENCE}"), Column("its own steps"),
            Column("times sooner"),
        ),
        rows=rows,
        caption=SOONER,
        data=frame,
    )  # fmt: skip


def search_times() -> pd.DataFrame:
    """The measured times: algorithm, n, seconds, repeats, machine; empty where nothing was measured."""
    if not MEASURED.exists():
        return pd.DataFrame(columns=["algorithm", "n", "seconds", "repeats", "machine"])
    return pd.read_csv(MEASURED)


def measured_times(times: pd.DataFrame) -> Table:
    """A row per algorithm, a column per n, the paper's own below each."""
    paper = published.quotable("grpovi_search")
    sizes = sorted({*times["n"], *paper["n"]})
    rows = [_time_row(name, times, sizes) for name in dict.fromkeys(times["algorithm"])]
    both = [frame.pivot(index="n", columns="algorithm", values="seconds") for frame in (times, paper)]
    for words, wide in zip(("enumeration by one pass", "the paper's"), both, strict=True):
        if {SLOW, QUICK} <= set(wide):
            rows.append((words, *(number(wide[SLOW].div(wide[QUICK]).get(n, math.nan), 1) for n in sizes)))
    machines = "; ".join(times["machine"].unique()) or "not measured"
    return Table(
        name="search_time",
        title="Search time of the adjusted rewards, measured",
        columns=(Column("algorithm"), *(Column(f"n = {n:,}") for n in sizes)),
        rows=tuple(rows),
        caption=f"{TIMES} Measured on: {machines}.",
        data=times,
        errors=(("search times", f"not measured: {MEASURE_IT}"),) if times.empty else (),
    )


def published_times() -> Table:
    """The paper's table."""
    frame = published.quotable("grpovi_search")
    sizes = sorted(frame["n"].unique())
    return Table(
        name="published_search_time",
        title="Published: search time (arXiv 2505.23247)",
        columns=(Column("algorithm"), *(Column(f"n = {n:,}", quoted=True) for n in sizes)),
        rows=tuple(_time_row(name, frame, sizes) for name in dict.fromkeys(frame["algorithm"])),
        caption="Seconds, read in summaries of the paper, not in the paper itself.",
        data=frame,
    )


def _time_row(name: str, times: pd.DataFrame, sizes: list[int]) -> tuple[str, ...]:
    known = times[times["algorithm"] == name].set_index("n")["seconds"]
    return (name, *(seconds(known.get(n, math.nan)) for n in sizes))


def seconds(value: float) -> str:
    """Two digits of a time from microseconds to hours: ``31 µs``, ``0.33 ms``, ``4.7 s``, ``1,659 s``."""
    if math.isnan(value):
        return NOT_KNOWN
    unit, scale = ("s", 1.0) if value >= 1 else ("ms", 1e3) if value >= 1e-4 else ("µs", 1e6)
    shown = value * scale
    return f"{shown:,.0f} {unit}" if shown >= 10 else f"{shown:.2g} {unit}"


# ---- figures -------------------------------------------------------------------------------------------------


def curves(records: Records) -> Figure:
    """A row per problem: reward, accuracy and its difference to GRPO's against steps."""
    problems = records.problems()
    methods = list(dict.fromkeys(records.studies["method"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 2.1 * len(problems)), layout="constrained")
        grid = figure.subplots(len(problems), 3, sharex=True, squeeze=False)
        for line, problem in zip(grid, problems, strict=True):
            for axes, column in zip(line, (REWARD, ACCURACY), strict=False):
                _bands(axes, analysis.bands(records, problem, column))
            line[2].axhline(0, color=COLOURS[REFERENCE], lw=1.4)
            _bands(line[2], analysis.difference_bands(records, problem, ACCURACY))
            line[0].set_title(problem, loc="left", fontweight="bold")
            line[0].set_ylabel(f"training reward (%),\nmean of {SMOOTH} steps")
            line[1].set_ylabel("validation accuracy (%)")
            line[2].set_ylabel(f"accuracy less {REFERENCE}'s (points)")
        for axes in grid[-1]:
            axes.set_xlabel("training steps")
            axes.set_xlim(left=0)
        handles = [Line2D([], [], color=_colour(m), lw=1.8) for m in methods]
        figure.legend(handles, methods, loc="outside upper center", ncols=len(methods), frameon=False)
    return figure


def _colour(method: str) -> str:
    return COLOURS.get(method, "#009E73")


def _bands(axes: Axes, bands: pd.DataFrame) -> None:
    for method, curve in bands.groupby("method", sort=False):
        colour = _colour(method)
        axes.fill_between(curve["spent"], curve["low"], curve["high"], color=colour, alpha=0.16, lw=0)
        axes.plot(curve["spent"], curve["value"], color=colour, lw=1.4)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 1):g}"))
    axes.grid(axis="y")


def search_time(times: pd.DataFrame) -> Figure:
    """Seconds against n, ours in colour and the paper's in grey."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        for frame, colour, style in ((published.quotable("grpovi_search"), "#999999", "--"), (times, "#0072B2", "-")):
            for name, line in frame.groupby("algorithm", sort=False):
                mark = MARKS.get(name, "v")
                axes.plot(line["n"], line["seconds"], style, color=colour, marker=mark, ms=4, lw=1.1, mfc="white")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(True)
        axes.set_xlabel("rewards in the group, n")
        axes.set_ylabel("seconds per group")
        names = dict.fromkeys([*times["algorithm"], SLOW, QUICK])
        handles = [Line2D([], [], color="#444444", marker=MARKS.get(n, "v"), ms=4, lw=0, mfc="white") for n in names]
        handles += [Line2D([], [], color=c, ls=s, lw=1.4) for c, s in (("#0072B2", "-"), ("#999999", "--"))]
        figure.legend(handles, [*names, "here", "the paper"], loc="outside right center", frameon=False)
    return figure
