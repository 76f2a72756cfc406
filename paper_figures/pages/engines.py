"""The same study on the miniature trainer, TRL and verl: learning curves, seconds per step, and whether they agree."""

from __future__ import annotations

import math

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from experiments.engines import analysis
from experiments.engines.sweep import RANKED
from experiments.gather import Records
from experiments.proxy_correlation.ranks import LEAST
from jfhpo.core.problem import LR
from paper_figures.cells import bracketed
from paper_figures.figures import STYLE, WIDTH
from paper_figures.formats import NOT_KNOWN, Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.tables import error_rows, number

SMOOTH = 3
"""Steps whose mean reward is drawn."""
CURVES = (
    f"Each configuration of {RANKED} on each engine, coloured by its learning rate: lines are the reward of the "
    f"training prompts (mean of {SMOOTH} steps), dots the accuracy on validation prompts. The base model, the task, "
    "the configurations and the size of a batch are the same; prompts come in each engine's own order."
)
COSTS = (
    "Seconds charged to a trial: CPU seconds of the trainer's process or processes, the median step [quartiles] and "
    "what belongs to no step (start-up, saving; median). A miniature model on a CPU says nothing of what an engine "
    "costs on a GPU, where fixed costs per step vanish beside the model's."
)
PAIRS = (
    "Spearman: of the validation accuracies after the last step over the configurations that ran on both [95 % "
    f"bootstrap over configurations, from {LEAST} on]. Difference: mean absolute, in points. One training run each: "
    "part of a difference is chance, as it would be between two seeds of one engine."
)
STUDIES = "Test accuracy of the configuration that each method recommends, trained once more where it was not yet."


def page(records: Records) -> Page:
    pairs, costs = analysis.agreement(records), analysis.costs(records)
    drawings = (Drawing("curves", curves(records), CURVES),) if len(analysis.curves(records)) else ()
    return Page(
        lead=tuple(sentences(pairs, costs)),
        tables=((cost_table(records, costs),), (pair_table(pairs),), (study_table(records),), (config_table(records),)),
        drawings=drawings,
        printed=("configurations", "studies", "agreement", "costs"),
    )


def sentences(pairs: pd.DataFrame, costs: pd.DataFrame) -> list[str]:
    """What can be said, and of how much it is said."""
    said = []
    for row in pairs.itertuples():
        if math.isnan(row.spearman):
            said.append(f"{row.one} and {row.other}: too few configurations ran on both to rank them ({row.n}).")
            continue
        same = "the same configuration is best on both" if row.best_shared else "another configuration is best on each"
        said.append(
            f"{row.one} and {row.other} rank {row.n} configurations with a Spearman correlation of "
            f"{bracketed(row.spearman, row.low, row.high)}; {same}."
        )
    known = costs.dropna(subset=["step"])
    if len(known):
        steps = ", ".join(f"{row.step:.2f} on {row.engine}" for row in known.itertuples())
        said.append(f"Seconds per step of the same study: {steps}.")
    return said or ["No configuration has been trained on two engines yet."]


def cost_table(records: Records, costs: pd.DataFrame) -> Table:
    columns = (
        Column("engine"), Column("trials"), Column("failed"), Column("seconds per step"), Column("beside steps"),
    )  # fmt: skip
    rows = [
        (r.engine, str(r.trials), str(r.failed), bracketed(r.step, r.step_low, r.step_high), number(r.beside, 1))
        for r in costs.itertuples()
    ]
    return Table("costs", "What a step costs", columns, tuple(rows), COSTS, costs, error_rows(records))


def pair_table(pairs: pd.DataFrame) -> Table:
    columns = (
        Column("engines"), Column("configurations"), Column("Spearman"), Column("same best", words=True),
        Column("difference"),
    )  # fmt: skip
    rows = [
        (
            f"{r.one}, {r.other}", str(r.n), bracketed(r.spearman, r.low, r.high), "yes" if r.best_shared else "no",
            number(100 * r.difference),
        )
        for r in pairs.itertuples()
    ]  # fmt: skip
    return Table("agreement", "Do engines rank configurations alike?", columns, tuple(rows), PAIRS, pairs)


def study_table(records: Records) -> Table:
    frame = analysis.studies(records)
    columns = (
        Column("engine"), Column("method", words=True), Column("trials"), Column("seconds"), Column("validation %"),
        Column("test greedy %"), Column("test mean@k %"), Column("learning rate", wide=True),
    )  # fmt: skip
    rows = [
        (
            r.engine, r.method, str(r.trials), number(r.seconds, 0), number(100 * r.validation), number(100 * r.greedy),
            number(100 * r.mean_at_k), f"{(r.recommended or {}).get('lr', math.nan):.2g}",
        )
        for r in frame.itertuples()
    ]  # fmt: skip
    return Table("studies", "What the same study recommends on each engine", columns, tuple(rows), STUDIES, frame)


def config_table(records: Records) -> Table:
    """A row per ranked configuration, named by its learning rate; a column per engine, then the rest of it."""
    found = analysis.ranked(records)
    wide = found.pivot(index="key", columns="engine", values="accuracy")
    names = [engine for engine in analysis.engines(records) if engine in wide]
    configs = found.drop_duplicates("key").set_index("key")["config"]
    keys = wide.mean(axis=1).sort_values(ascending=False, kind="stable").index
    others = sorted({name for config in configs for name in config} - {LR})
    columns = (Column(LR), *(Column(f"{engine} %") for engine in names), *(Column(name, wide=True) for name in others))
    rows = []
    for key in keys:
        config = configs[key]
        accuracies = [number(100 * wide.loc[key, engine]) for engine in names]
        rows.append((_said(config.get(LR)), *accuracies, *(_said(config.get(name)) for name in others)))
    data = wide.loc[keys, names].reset_index()
    caption = f"Validation accuracy after the last step of each configuration of {RANKED}; a failed run counts as 0."
    return Table("configurations", "The ranked configurations", columns, tuple(rows), caption, data)


def _said(value) -> str:
    return NOT_KNOWN if value is None else f"{value:.2g}" if isinstance(value, float) else str(value)


def curves(records: Records) -> Figure:
    """A panel per engine."""
    found = analysis.curves(records)
    names = [engine for engine in analysis.engines(records) if engine in set(found["engine"])]
    norm, ramp = LogNorm(found["lr"].min(), found["lr"].max()), mpl.colormaps["viridis"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        grid = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
        for axes, engine in zip(grid, names, strict=True):
            _panel(axes, found[found["engine"] == engine], norm, ramp)
            axes.set_title(engine, fontweight="bold")
            axes.set_xlabel("step")
        grid[0].set_ylabel("reward or accuracy (%)")
        grid[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 1):g}"))
        bar = figure.colorbar(ScalarMappable(norm, ramp), ax=list(grid), pad=0.01, aspect=30)
        bar.set_label("learning rate")
    return figure


def _panel(axes: Axes, found: pd.DataFrame, norm: LogNorm, ramp) -> None:
    axes.grid(axis="y")
    axes.set_ylim(bottom=0)
    for _, one in found.sort_values("step").groupby("key"):
        colour = ramp(norm(one["lr"].iloc[0]))
        axes.plot(one["step"], one["reward"].rolling(SMOOTH, min_periods=1).mean(), color=colour, lw=1)
        seen = one.dropna(subset=["validation"])
        axes.plot(seen["step"], seen["validation"].astype(float), "o", color=colour, ms=2.5)
