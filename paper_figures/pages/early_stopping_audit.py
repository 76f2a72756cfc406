"""Whether early stopping would have been right: every rule replayed over recorded full runs, and where it stops."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.early_stopping_audit import analysis
from experiments.early_stopping_audit.analysis import ALL_MODELS, TARGET_SAVED, Run
from experiments.gather import Records
from jfhpo.dynamics.early_stopping import PRESETS
from paper_figures import published
from paper_figures.figures import STYLE, WIDTH
from paper_figures.formats import NOT_KNOWN, Column, Table, percent
from paper_figures.pages import Drawing, Page
from paper_figures.tables import error_rows, number, row_name

DRAWN = ("paper", "robust")
"""Presets of the figure, top to bottom."""
SMOOTH = 5
"""Steps of the centred mean that the figure draws."""
KEPT, STOPPED, TOP, KILLED = "#BBBBBB", "#E69F00", "#0072B2", "#D55E00"

WATCHES = {
    "paper": "the paper's three rules",
    "robust": "the default of this repository",
    "scaling_law": "expected remaining gain (experiment scaling_law)",
    "kl_growth": "paper: KL grows 15 % a step, 5 in a row",
    "reward_drop": "paper: reward falls 10 % a step, 5 in a row",
    "zero_reward": "paper: no reward, 5 in a row",
    "reward_below_start": "robust: reward < 0.9 of its start, 5 in a row",
    "kl_runaway": "robust: KL > 0.2 and its recent mean + 15 %, 5 in a row",
    "remaining_gain": "scaling_law: < .01 points for the cost of a full run, twice in a row",
    "below_rivals": "robust: best reward < the rivals' lower quartile",
}


HOW = (
    "Runs are replayed in the order of asking and judged after every step but the last; rivals are the runs before on "
    "the same model, as far as the rule itself would have let them go (another order would give other rivals, and "
    "other savings). Steps saved: of all steps of these runs [95 %, "
    "bootstrap over runs]. Top 3: runs with one of the three best final validation scores of their study and model, "
    "ties included; the same configuration with its learning rate as it is and mapped by width is two. At most: upper "
    "end of the 95 % Wilson interval of the share of these that is stopped. Final: mean validation accuracy at full "
    "steps of the runs that the rule would have stopped, and of the rest. The settings of robust were chosen with "
    "recordings of this task and scale in view, so this is no test on unseen curves."
)


def page(records: Records) -> Page:
    frame = analysis.audit(records)
    drawings = []
    for problem in records.problems():
        runs = [r for r in analysis.full_runs(records) if r.problem == problem]
        if runs:
            drawings.append(Drawing(f"stopping_points_{problem}", stopping_points(runs), CAPTION))
    is_preset = frame["preset"].astype(bool)
    presets = table(records, frame[is_preset], "presets", "Presets replayed over full runs", HOW)
    alone = "Each rule as if it were the only one; to be read as the table of presets."
    rules = table(records, frame[~is_preset], "rules", "Single rules replayed over full runs", alone)
    return Page(
        lead=tuple(lead(frame[frame["problem"] == p], p) for p in records.problems()),
        tables=((presets, published_effect()), (rules,)),
        drawings=tuple(drawings),
        printed=("presets",),
    )


def lead(frame: pd.DataFrame, problem: str) -> str:
    """Whether `robust` does what it must, in a few sentences, and what speaks against believing it."""
    if frame.empty:
        return f"No full run of {problem} is recorded yet: there is nothing to replay."
    per_model = frame[frame["model"] != ALL_MODELS]
    robust, paper = (per_model[per_model["name"] == name] for name in ("robust", "paper"))
    met = analysis.meets_target(robust)
    target = f"at least {100 * TARGET_SAVED:.0f} % of the steps on every model and none of the top three stopped"
    total = frame[frame["name"] == "robust"].iloc[-1]
    return " ".join(
        [
            f"robust {'meets' if met else 'MISSES'} its target on {problem} ({target}): it saves {_saved(robust)}, and",
            f"stops {_kills(robust)} runs that ended in the top three of their study and model.",
            f"paper saves {_saved(paper)}, and stops {_kills(paper)} of them.",
            f"{int(total['top'])} such runs are few: with {int(total['kills'])} stopped, the share that robust stops",
            f"in the long run may still be up to {percent(total['kills_high'])} (95 % Wilson interval).",
        ]
    )


def _saved(rows: pd.DataFrame) -> str:
    return ", ".join(f"{percent(r.saved)} on {r.model}" for r in rows.itertuples())


def _kills(rows: pd.DataFrame) -> str:
    return f"{int(rows['kills'].sum())} of the {int(rows['top'].sum())}"


def table(records: Records, frame: pd.DataFrame, name: str, title: str, caption: str) -> Table:
    """One row per preset or rule and model."""
    named = row_name(records)
    columns = (
        Column("rule"), Column("model", words=True), Column("runs"), Column("stopped"), Column("steps saved %"),
        Column("95 %", wide=True), Column("top 3 stopped"), Column("at most %", wide=True),
        Column("final % stopped"), Column("final % kept"), Column("what it watches", wide=True, words=True),
    )  # fmt: skip
    rows = tuple(
        (
            named(r.problem, r.name),
            r.model,
            f"{r.runs}",
            f"{r.stopped}",
            number(100 * r.saved),
            NOT_KNOWN if np.isnan(r.saved_low) else f"[{100 * r.saved_low:.0f}, {100 * r.saved_high:.0f}]",
            f"{r.kills} of {r.top}",
            number(100 * r.kills_high),
            number(100 * r.stopped_score),
            number(100 * r.kept_score),
            WATCHES.get(r.name, NOT_KNOWN),
        )
        for r in frame.itertuples(index=False)
    )
    return Table(
        name=name,
        title=title,
        columns=columns,
        rows=rows,
        caption=caption,
        data=frame.reset_index(drop=True),
        errors=error_rows(records),
    )


def published_effect() -> Table:
    """What the paper says of early stopping: accuracy with and without it, nothing about steps or wrong stops."""
    frame = published.quotable("ablation")
    frame = frame[frame["variant"].isin(["full", "without early stopping"])].reset_index(drop=True)
    return Table(
        name="published_early_stopping",
        title="Published: JF-HPO with and without early stopping (arXiv 2606.03073)",
        columns=(
            Column("model"), Column("task", words=True), Column("variant", words=True), Column("test %", quoted=True),
        ),
        rows=tuple((r.model, r.task, r.variant, f"{r.accuracy:.2f}") for r in frame.itertuples()),
        caption="The paper's own numbers, read in summaries of it, not in the paper itself. It reports what early "
        "stopping does to the final accuracy; trials stopped, steps saved and wrong stops were not recovered.",
        data=frame,
    )  # fmt: skip


CAPTION = (
    f"Training reward of every recorded full run (centred mean of {SMOOTH} steps), a column per model and a row per "
    "preset. Orange: stopped by the preset, drawn up to the stopping point (dot), what it would have gone on to do "
    "dotted. Blue: the top three of each study and model by final validation score. A red cross is a stop that was "
    "wrong: the run ended in the top three."
)


def stopping_points(runs: Sequence[Run]) -> Figure:
    """Reward curves by what each preset in `DRAWN` does to them; `runs` of one problem."""
    models = list(dict.fromkeys(r.model for r in runs))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 1.9 * len(DRAWN)), layout="constrained")
        grid = figure.subplots(len(DRAWN), len(models), sharex=True, sharey=True, squeeze=False)
        for line, preset in zip(grid, DRAWN, strict=True):
            replayed = analysis.replay(PRESETS[preset], runs)
            for axes, model in zip(line, models, strict=True):
                part = [r for r in replayed if r.model == model]
                for run in sorted(part, key=_layer):
                    _draw(axes, run)
                stopped, wrong = sum(r.stop is not None for r in part), sum(r.stop is not None and r.top for r in part)
                axes.set_title(f"{preset}, {model}\nstops {stopped} of {len(part)} ({wrong} in top 3)", fontsize=7)
                axes.grid(axis="y")
            line[0].set_ylabel("training reward")
        for axes in grid[-1]:
            axes.set_xlabel("step")
        figure.legend(**_legend(), loc="outside lower center", ncols=4, frameon=False, handlelength=1.6)
    return figure


def _layer(run: Run) -> int:
    """Kept runs below stopped ones below the top three."""
    return 2 * run.top + (run.stop is not None)


def _draw(axes: Axes, run: Run) -> None:
    steps = np.array([r.step for r in run.result.curve])
    reward = smooth([r.reward_mean for r in run.result.curve])
    if run.stop is None:
        axes.plot(steps, reward, color=TOP if run.top else KEPT, lw=1.1 if run.top else 0.5)
        return
    end, colour = run.stop.step, KILLED if run.top else STOPPED
    axes.plot(steps[:end], reward[:end], color=colour, lw=0.7)
    axes.plot(steps[end - 1 :], reward[end - 1 :], color=colour, lw=0.9 if run.top else 0.5, ls=(0, (1, 2)))
    axes.plot(
        steps[end - 1], reward[end - 1], "X" if run.top else "o", color=colour, ms=5 if run.top else 2.2,
        mec="white" if run.top else colour, mew=0.5, zorder=5 if run.top else 3,
    )  # fmt: skip


def smooth(values: Sequence[float], width: int = SMOOTH) -> np.ndarray:
    """Centred mean over `width` values, over fewer at the ends. Same length."""
    half = width // 2
    return np.array([np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def _legend() -> dict[str, list]:
    handles = [
        Line2D([], [], color=KEPT, lw=1),
        Line2D([], [], color=STOPPED, lw=1, marker="o", ms=3),
        Line2D([], [], color=TOP, lw=1.4),
        Line2D([], [], color=KILLED, lw=1, marker="X", ms=5, mec="white", mew=0.5),
    ]
    return {"handles": handles, "labels": ["kept", "stopped", "top three, kept", "top three, stopped"]}
