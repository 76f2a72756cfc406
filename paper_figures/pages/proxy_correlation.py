"""Whether a proxy ranks configurations as the target does, beside the paper's 0.90 and 0.80 from five of them."""

from __future__ import annotations

import math

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments.gather import Records
from experiments.proxy_correlation import analysis, ranks
from experiments.recording.design import AS_IT_IS, BY_WIDTH, accuracies, models
from paper_figures import published
from paper_figures.cells import TRANSFER, bracketed, span
from paper_figures.figures import STYLE, WIDTH
from paper_figures.formats import Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.tables import NOT_OURS, error_rows, number

COLOURS = {AS_IT_IS: "#D55E00", BY_WIDTH: "#0072B2"}
STEPS_ALONE = "#444444"
"""The target's own shorter runs."""
HOW = (
    "Validation accuracy; one training run per configuration and model, so noise of training lowers every number. "
    "A run that failed counts as accuracy 0, the lowest rank (failed: pairs with one); a configuration without both "
    "runs is left out and counted (left out). [ ]: 95 % bootstrap percentiles over configurations, from "
    f"{ranks.LEAST} on."
)
SCATTER = (
    "Each point is a configuration: its accuracy on the proxy at full steps against that on the target, coloured by "
    "the learning rate that the target was trained with. Circle: the proxy's best; star: the target's. Crosses: a run "
    "of the pair failed and counts as 0. Points at the right and bottom suit the proxy and break the target."
)
OVER_STEPS = (
    "Agreement with the target's full run against the steps of the cheap run. Above, Spearman; below, what is lost on "
    "the target by taking the cheap run's best configuration instead of the target's, in accuracy points. Bands: 95 % "
    "bootstrap over configurations. In the last column the cheap run is the target's own at fewer steps. Dashed: the "
    "paper's Spearman, from five configurations of another problem."
)


def paper() -> dict[str, float]:
    """The paper's transfer figures: ``spearman``, ``kendall``, and ``n`` configurations."""
    values = published.quotable("transfer").set_index("quantity")["value"].to_dict()
    return {
        "spearman": values["spearman"],
        "kendall": values["kendall"],
        "n": int(values["configurations ranked on proxy and target"]),
    }


def page(records: Records) -> Page:
    quoted, drawings, frames = paper(), [], []
    for problem in records.problems():
        frame = analysis.correlations(records, problem, int(quoted["n"]), quoted["spearman"])
        frames.append(frame)
        if frame["spearman"].notna().any():
            drawings.append(Drawing(f"scatter_{problem}", scatter(records, problem), SCATTER))
            drawings.append(Drawing(f"over_steps_{problem}", over_steps(frame, quoted["spearman"]), OVER_STEPS))
    frame = pd.concat(frames, ignore_index=True)
    return Page(
        lead=tuple(text for f, p in zip(frames, records.problems(), strict=True) for text in lead(records, p, f)),
        tables=((correlation(records, frame), published_transfer()), (by_step(records, frame),)),
        drawings=tuple(drawings),
        printed=("correlation",),
    )


def at_full_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """The proxies' rows at their last step."""
    proxies = frame[~frame["on_target"].astype(bool)]
    return proxies[proxies["step"] == proxies.groupby("problem")["step"].transform("max")]


def _target(records: Records, problem: str) -> str:
    return "/".join(records.of(problem).studies["target"].dropna().unique())


# ---- words -------------------------------------------------------------------------------------------------


def lead(records: Records, problem: str, frame: pd.DataFrame) -> list[str]:
    """The result on one problem, with what speaks against believing it."""
    full, target, quoted = at_full_steps(frame), _target(records, problem), paper()
    if full.empty or full["n"].max() == 0:
        return [f"No configuration of {problem} has been trained on a proxy and on the target yet."]
    said, n = [], int(full["n"].max())
    for model, rows in full.groupby("model", sort=False):
        numbers = [
            f"{bracketed(r.spearman, r.spearman_low, r.spearman_high)} with {TRANSFER[r.transfer]}"
            for r in rows.itertuples()
        ]
        gain = analysis.gain_of_mapping(records, problem, model)
        gained = f" (mapping adds {bracketed(gain['gain'], gain['low'], gain['high'])})" if gain else ""
        said.append(f"{model} {' and '.join(numbers)}{gained}")
    sentences = [
        f"Rank correlation with the target {target} over {n} configurations of {problem} trained in full (Spearman): "
        f"{'; '.join(said)}."
    ]
    if n < ranks.LEAST:
        return [*sentences, f"{n} configurations are too few for an interval, and for any conclusion."]
    losses = [
        f"{r.model} with {TRANSFER[r.transfer]} {bracketed(r.lost, r.lost_low, r.lost_high, 1, 100)}"
        for r in full.itertuples()
    ]
    sentences.append(f"Points lost on {target} by taking the proxy's best configuration: {'; '.join(losses)}.")
    reached = [
        f"{r.model} with {TRANSFER[r.transfer]} {100 * r.share_as_high:.0f} % ({span(r.few_low, r.few_high)})"
        for r in full.itertuples()
    ]
    sentences.append(
        f"The paper's {quoted['spearman']:.2f} is from {quoted['n']:.0f} configurations. Of random draws of "
        f"{quoted['n']:.0f} of ours so many reach it (95 % of the draws lie in): {'; '.join(reached)}."
    )
    twice = n - analysis.distinct(records, problem)
    repeated = f"; {twice} of the {n} repeats another: each design begins with the recipe" if twice > 0 else ""
    sentences.append(
        "One task, one training run per configuration, and a design over the whole range of learning rates, wider "
        f"than anyone would search who knows the good ones{repeated}."
    )
    return sentences


# ---- tables ------------------------------------------------------------------------------------------------


def _name(records: Records, row) -> str:
    problem = f"{row.problem}: " if len(records.problems()) > 1 else ""
    return (
        f"{problem}{row.model} at fewer steps" if row.on_target else f"{problem}{row.model}, {TRANSFER[row.transfer]}"
    )


def correlation(records: Records, frame: pd.DataFrame) -> Table:
    """The proxies at full steps."""
    full, quoted = at_full_steps(frame), paper()
    columns = (
        Column("proxy"), Column("n"), Column("left out", wide=True), Column("failed", wide=True),
        Column("Spearman"), Column("Kendall"), Column(f"Spearman of {quoted['n']:.0f}", wide=True),
        Column(f"{quoted['n']:.0f} reach {quoted['spearman']:.2f} %", wide=True), Column("its best on target %"),
        Column("points lost"), Column("cost %"),
    )  # fmt: skip
    rows = tuple(
        (
            _name(records, r), str(r.n), str(r.left_out), str(r.failed),
            bracketed(r.spearman, r.spearman_low, r.spearman_high), bracketed(r.kendall, r.kendall_low, r.kendall_high),
            span(r.few_low, r.few_high), number(100 * r.share_as_high, 0), number(100 * r.picked),
            bracketed(r.lost, r.lost_low, r.lost_high, 1, 100), number(100 * r.cost),
        )
        for r in full.itertuples()
    )  # fmt: skip
    return Table(
        name="correlation",
        title="Rank correlation between proxy and target at full steps",
        columns=columns,
        rows=rows,
        caption=f"{HOW} lr × width: the proxy was trained with the target's learning rate mapped to its width. "
        f"Spearman of {quoted['n']:.0f}: where 95 % of random draws of {quoted['n']:.0f} configurations, as many as "
        "the paper ranked, put it, and how many reach the paper's value. Points lost: the target's best accuracy less "
        "that of the proxy's best configuration (the mean over them where several share it). Cost: trainer seconds of "
        "a proxy run by those of a target run.",
        data=full,
        errors=error_rows(records),
    )


def by_step(records: Records, frame: pd.DataFrame) -> Table:
    """Every kind of cheap run at every recorded step."""
    columns = (
        Column("cheap run"), Column("steps"), Column("n"), Column("left out", wide=True), Column("failed", wide=True),
        Column("Spearman"), Column("Kendall"), Column("its best on target %"), Column("points lost"), Column("cost %"),
    )  # fmt: skip
    rows = tuple(
        (
            _name(records, r), str(r.step), str(r.n),
            str(r.left_out), str(r.failed), bracketed(r.spearman, r.spearman_low, r.spearman_high),
            bracketed(r.kendall, r.kendall_low, r.kendall_high), number(100 * r.picked),
            bracketed(r.lost, r.lost_low, r.lost_high, 1, 100), number(100 * r.cost),
        )
        for r in frame.itertuples()
    )  # fmt: skip
    return Table(
        name="correlation_by_step",
        title="Rank correlation with the target's full run, by steps of the cheap run",
        columns=columns,
        rows=rows,
        caption=f"{HOW} Cost: trainer seconds of the cheap run up to that step by those of the target's full run.",
        data=frame,
    )


def published_transfer() -> Table:
    """The paper's transfer figures."""
    frame = published.quotable("transfer")
    quoted = paper()
    return Table(
        name="published_transfer",
        title="Published: rank correlation between proxy and target (arXiv 2606.03073)",
        columns=(Column("configurations"), Column("Spearman", quoted=True), Column("Kendall", quoted=True)),
        rows=((f"{quoted['n']:.0f}", f"{quoted['spearman']:.2f}", f"{quoted['kendall']:.2f}"),),
        caption="The paper's own numbers, read in summaries of it, not in the paper itself; it gives no interval. "
        f"These are {NOT_OURS}.",
        data=frame,
    )


# ---- figures -----------------------------------------------------------------------------------------------


def _percent(axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{round(100 * v, 1):g}"))


def scatter(records: Records, problem: str) -> Figure:
    """A panel per proxy (columns) and learning rate transfer (rows)."""
    table = accuracies(records, problem)
    names = models(table)
    proxies, target = names[:-1], names[-1]
    kinds = [t for t in (AS_IT_IS, BY_WIDTH) if (proxies[0], t) in analysis.comparisons(table)]
    full = max(column for column in table.columns if isinstance(column, int))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 2.1 * len(kinds)), layout="constrained")
        grid = figure.subplots(len(kinds), len(proxies), sharex=True, sharey=True, squeeze=False)
        every = [[analysis.pairs(table, m, t, full) for m in proxies] for t in kinds]
        rates = pd.concat([frame["lr"] for line in every for frame in line])
        norm = LogNorm(rates.min(), rates.max()) if rates.notna().any() and rates.max() > rates.min() else None
        shown = None
        for line, panels, kind in zip(every, grid, kinds, strict=True):
            for frame, axes, model in zip(line, panels, proxies, strict=True):
                shown = _points(axes, frame, norm)
                axes.set_title(f"{model}, {TRANSFER[kind]}")
        for axes in grid[-1]:
            axes.set_xlabel("accuracy on the proxy (%)")
        for axes in grid[:, 0]:
            axes.set_ylabel(f"accuracy on the target {target} (%)")
        if norm is not None:
            figure.colorbar(shown, ax=grid, label="learning rate on the target", shrink=0.8, pad=0.02)
        handles = [
            Line2D([], [], marker="o", ms=8, mfc="none", mec="black", ls=""),
            Line2D([], [], marker="*", ms=8, mfc="white", mec="black", ls=""),
        ]
        figure.legend(
            handles, ["the proxy's best", "the target's best"], loc="outside lower center", ncols=2, frameon=False
        )
    return figure


def _points(axes: Axes, frame: pd.DataFrame, norm: LogNorm | None):
    axes.grid(True)
    shown = None
    for failed, marker in ((False, "o"), (True, "X")):
        some = frame[frame["failed"] == failed]
        if len(some) or not failed:
            drawn = axes.scatter(
                some["x"], some["y"], c=some["lr"] if norm else "#0072B2", norm=norm, cmap="cividis", s=20,
                marker=marker, lw=0.3, edgecolors="white", zorder=2, clip_on=False,
            )  # fmt: skip
            shown = shown or drawn
    if len(frame):
        first, best = (frame[frame[name] == frame[name].max()] for name in ("x", "y"))  # several where they tie
        axes.plot(best["x"], best["y"], "*", ls="", mfc="white", mec="black", ms=8, mew=0.8, zorder=3)
        axes.plot(first["x"], first["y"], "o", ls="", mfc="none", mec="black", ms=9, mew=0.9, zorder=4)
    _percent(axes.xaxis)
    _percent(axes.yaxis)
    return shown


def over_steps(frame: pd.DataFrame, reached: float) -> Figure:
    """Spearman and accuracy lost against the steps of the cheap run, a column of panels per model."""
    names, targets = list(dict.fromkeys(frame["model"])), set(frame.loc[frame["on_target"].astype(bool), "model"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
        for column, model in enumerate(names):
            above, below = grid[:, column]
            for kind, rows in frame[frame["model"] == model].groupby("transfer", sort=False):
                colour = STEPS_ALONE if model in targets else COLOURS[kind]
                for axes, name in ((above, "spearman"), (below, "lost")):
                    axes.plot(rows["step"], rows[name], "o-", color=colour, ms=2.5, lw=1.3)
                    axes.fill_between(rows["step"], rows[f"{name}_low"], rows[f"{name}_high"], color=colour, alpha=0.16,
                                      lw=0)  # fmt: skip
            above.axhline(reached, color="#777777", lw=0.8, ls=(0, (4, 3)), zorder=1)
            above.set_title(f"{model} at fewer steps" if model in targets else f"proxy {model}")
            below.set_xlabel("steps")
            for axes in (above, below):
                axes.grid(True)
        lowest = frame[["spearman", "spearman_low"]].min().min()
        grid[0][0].set_ylim(min(0.0, lowest - 0.05) if not math.isnan(lowest) else 0.0, 1.02)
        grid[0][0].set_ylabel("Spearman with the\ntarget's full run")
        grid[1][0].set_ylabel("points lost by taking\nits best configuration")
        grid[1][0].set_ylim(bottom=-0.02)
        _percent(grid[1][0].yaxis)
        kinds = [k for k in COLOURS if k in set(frame.loc[~frame["on_target"].astype(bool), "transfer"])]
        lines = [Line2D([], [], color=COLOURS[k], lw=1.8) for k in kinds]
        lines += [Line2D([], [], color=STEPS_ALONE, lw=1.8), Line2D([], [], color="#777777", lw=0.8, ls=(0, (4, 3)))]
        words = [*(TRANSFER[k] for k in kinds), "the target itself", "the paper's Spearman"]
        figure.legend(lines, words, loc="outside lower center", ncols=4, frameon=False)
    return figure
