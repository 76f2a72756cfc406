"""Which hyperparameters matter, on each model: fANOVA importance and one-at-a-time curves of a fitted surrogate."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.gather import Records
from experiments.sensitivity import analysis, response_surface
from experiments.sensitivity.surrogate import Axis
from experiments.statistics.comparisons import ALPHA
from paper_figures.cells import MODEL_COLOURS, bracketed
from paper_figures.figures import STYLE, WIDTH
from paper_figures.formats import NOT_KNOWN, Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.tables import error_rows, number

IMPORTANCE = (
    "Share of the variance of the accuracy at full steps that each hyperparameter explains alone, over its whole "
    "recorded range (fANOVA). Whiskers: 95 % bootstrap over configurations. Grey: the interval of a made-up "
    "hyperparameter of random numbers, over all models; what does not reach above it has shown no effect."
)
ONE_AT_A_TIME = (
    "What the surrogate, not a training run, predicts when one hyperparameter is moved and the others are held at the "
    "recipe (solid; the first configuration of the design) or at the model's best recorded configuration (dashed). "
    "Its held-out R² is in the legend. The curves are as coarse as the few configurations that it was fitted to."
)
STYLES = {analysis.RECIPE: "-", analysis.BEST: (0, (3, 1.5))}


def page(records: Records) -> Page:
    problems, drawings, frames, lead = records.problems(), [], [], []
    for problem in problems:
        frame = analysis.importance(records, problem, analysis.RESAMPLES)
        quality, swings = analysis.quality(records, problem), analysis.swings(records, problem)
        frames.append((problem, frame, quality, swings))
        lead += sentences(problem, frame, quality, swings)
        lead += said_by_the_surface(response_surface.effects(records, problem))
        if frame["share"].notna().any():
            curves = analysis.curves(records, problem)
            axes = analysis.all_axes(records, problem)
            drawings.append(Drawing(f"importance_{problem}", bars(frame), IMPORTANCE))
            drawings.append(Drawing(f"one_at_a_time_{problem}", lines(curves, quality, axes), ONE_AT_A_TIME))
    tables = []
    for problem, frame, quality, swings in frames:
        several = problem if len(problems) > 1 else ""
        tables.append((importance(records.of(problem), frame, quality, several),))
        tables.append((surface(records.of(problem), response_surface.effects(records, problem), several),))
        tables.append((one_at_a_time(swings, quality, several),))
    return Page(
        lead=tuple(lead), tables=tuple(tables), drawings=tuple(drawings), printed=tuple(t[0].name for t in tables[::-1])
    )


# ---- words -------------------------------------------------------------------------------------------------


def sentences(problem: str, frame: pd.DataFrame, quality: pd.DataFrame, swings: pd.DataFrame) -> list[str]:
    """What matters on one problem, with what speaks against believing it."""
    fitted = quality[quality["r2"].notna()]
    if fitted.empty:
        n = int(quality["n"].max()) if len(quality) else 0
        return [f"{n} configurations of {problem} are too few to fit a surrogate to (at least {analysis.LEAST})."]
    said, beyond, tops = [], set(), []
    for model, rows in frame[frame["share"].notna()].groupby("model", sort=False):
        rows = rows.set_index("hyperparameter")
        chance = rows.loc[analysis.CHANCE, "high"]
        rows = rows.drop([analysis.CHANCE, analysis.INTERACTIONS]).sort_values("share", ascending=False)
        first = rows.iloc[0]
        said.append(f"{rows.index[0]} on {model} {bracketed(first['share'], first['low'], first['high'], 0, 100)} %")
        beyond |= set(rows.index[rows["low"] > chance])
        curves = swings[(swings["model"] == model) & (swings["hyperparameter"] == rows.index[0])]
        places = [f"{_short(at)}" for at in dict.fromkeys(curves["at"])]
        tops.append(f"{rows.index[0]} on {model} {' or '.join(places)}")
    others = [h for h in dict.fromkeys(frame["hyperparameter"]) if h not in {analysis.CHANCE, analysis.INTERACTIONS}]
    silent = [h for h in others if h not in beyond]
    found = [f"The most important hyperparameter of {problem} explains alone, of the variance: {'; '.join(said)}."]
    found.append(f"The surrogate has the accuracy highest at: {'; '.join(tops)}.")
    if silent:
        found.append(
            f"On no model does the interval of {_listed(silent)} lie above what a made-up hyperparameter of random "
            "numbers gets: their order means nothing here."
        )
    r2 = ", ".join(f"{r.model} {r.r2:.2f}" for r in fitted.itertuples())
    found.append(
        f"From {int(fitted['n'].max())} configurations with one training run each: few, as the intervals show. Shares "
        "are of the whole recorded range, so a hyperparameter that ruins a run at its end leaves little to the others, "
        f"which may still matter where that one is right. The surrogate's held-out R²: {r2}."
    )
    return found


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


# ---- tables ------------------------------------------------------------------------------------------------


def _models(quality: pd.DataFrame) -> list[str]:
    return list(quality["model"])


def importance(records: Records, frame: pd.DataFrame, quality: pd.DataFrame, problem: str) -> Table:
    """A row per hyperparameter, a column per model."""
    cells = {(r.hyperparameter, r.model): bracketed(r.share, r.low, r.high, 1, 100) for r in frame.itertuples()}
    names = list(dict.fromkeys(frame["hyperparameter"]))
    rows = [(name, *(cells[name, model] for model in _models(quality))) for name in names]
    rows.append(("held-out R²", *(number(r2, 2) for r2 in quality["r2"])))
    rows.append(("configurations", *(str(n) for n in quality["n"])))
    left_out, failed = int(quality["left_out"].sum()), int(quality["failed"].sum())
    return Table(
        name=f"importance_{problem}".rstrip("_"),
        title=f"{problem}: ".lstrip(": ") + "Share of the variance that a hyperparameter explains alone, in % (fANOVA)",
        columns=(Column("hyperparameter"), *(Column(model) for model in _models(quality))),
        rows=tuple(rows),
        caption="Of the accuracy at full steps, learning rates as they are on every model, over the recorded range of "
        f"each hyperparameter. [ ]: 95 % bootstrap percentiles over configurations, {analysis.RESAMPLES} resamples; "
        f"from {analysis.LEAST} configurations on. {analysis.CHANCE}: a made-up seventh, the yardstick for nothing. "
        "Held-out R²: of the random forest, each configuration predicted by trees that were not fitted to it. "
        f"Failed runs, counted as accuracy 0: {failed}. Runs not at full steps, left out: {left_out}.",
        data=frame,
        errors=error_rows(records),
    )


def surface(records: Records, effects: pd.DataFrame, problem: str) -> Table:
    """A row per hyperparameter, a column per model; bold where the effect is significant."""
    models, names = list(dict.fromkeys(effects["model"])), list(dict.fromkeys(effects["hyperparameter"]))
    known = effects.set_index(["hyperparameter", "model"])

    def cell(name: str, model: str) -> str:
        if (name, model) not in known.index or math.isnan(known.loc[(name, model), "share"]):
            return NOT_KNOWN
        row = known.loc[(name, model)]
        p = "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
        return f"{100 * row['share']:.1f} ({p})"

    rows = [(name, *(cell(name, model) for model in models)) for name in names]
    for head, column in (("R² of the surface", "r2"), ("adjusted R²", "adjusted_r2")):
        rows.append((head, *(number(effects[effects["model"] == m][column].iloc[0], 2) for m in models)))
    sure = effects[effects["p_holm"] < ALPHA]
    return Table(
        name=f"response_surface_{problem}".rstrip("_"),
        title=f"{problem}: ".lstrip(": ") + "By how much R² falls without a hyperparameter, in points (p)",
        columns=(Column("hyperparameter"), *(Column(model) for model in models)),
        rows=tuple(rows),
        caption="Of a second-order response surface of the accuracy at full steps: every hyperparameter, the squares "
        "of those with a range, and each one's product with the learning rate. p: partial F-test of all of its terms, "
        f"Holm-corrected over the hyperparameters of a model; bold below {ALPHA:.2g}. It holds as far as the surface "
        f"fits (R²); {NOT_KNOWN}: fewer than {response_surface.RUNS_PER_TERM:g} runs per term.",
        data=effects,
        errors=error_rows(records),
        bold=frozenset((names.index(r.hyperparameter), 1 + models.index(r.model)) for r in sure.itertuples()),
    )


def said_by_the_surface(effects: pd.DataFrame) -> list[str]:
    """Which hyperparameters a smooth fit shows to matter."""
    known = effects[effects["p_holm"].notna()]
    said = []
    for model, rows in known.groupby("model", sort=False):
        sure = rows[rows["p_holm"] < ALPHA].sort_values("share", ascending=False)["hyperparameter"]
        said.append(f"on {model} {', '.join(sure) or 'none'} (R² {rows['r2'].iloc[0]:.2f})")
    return [f"A second-order response surface shows these to matter: {'; '.join(said)}."] if said else []


def one_at_a_time(swings: pd.DataFrame, quality: pd.DataFrame, problem: str) -> Table:
    """How far the surrogate's accuracy moves along each hyperparameter."""
    known = swings.set_index(["hyperparameter", "model", "base"])
    names = list(dict.fromkeys(swings["hyperparameter"]))

    def cell(name: str, model: str) -> str:
        if (name, model, analysis.RECIPE) not in known.index:
            return NOT_KNOWN
        both = [known.loc[(name, model, base)] for base in (analysis.RECIPE, analysis.BEST)]
        return " / ".join(f"{100 * row['swing']:.1f} at {_short(row['at'])}" for row in both)

    return Table(
        name=f"one_at_a_time_{problem}".rstrip("_"),
        title=f"{problem}: ".lstrip(": ") + "One at a time: how far the surrogate's accuracy moves, in points",
        columns=(Column("hyperparameter"), *(Column(model) for model in _models(quality))),
        rows=tuple((name, *(cell(name, model) for model in _models(quality))) for name in names),
        caption="Highest less lowest predicted accuracy as one hyperparameter crosses its recorded range, and the "
        "value of the highest; the others held at the recipe (the first configuration of the design) / at the model's "
        "best recorded configuration. Predictions of the surrogate whose R² is above, not training runs.",
        data=swings,
    )


def _short(value) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


# ---- figures -----------------------------------------------------------------------------------------------


def _colours(names: list[str]) -> dict[str, str]:
    return {name: MODEL_COLOURS[i % len(MODEL_COLOURS)] for i, name in enumerate(names)}


def bars(frame: pd.DataFrame) -> Figure:
    """Importance by hyperparameter and model."""
    names = [h for h in dict.fromkeys(frame["hyperparameter"]) if h != analysis.CHANCE]
    palette = _colours(list(dict.fromkeys(frame["model"])))
    height = 0.8 / len(palette)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.33 * len(names)), layout="constrained")
        axes = figure.subplots()
        chance = frame[frame["hyperparameter"] == analysis.CHANCE]
        axes.axvspan(0, 100 * chance["high"].max(), color="#DDDDDD", lw=0, zorder=0, label="a random number")
        for i, (model, colour) in enumerate(palette.items()):
            rows = frame[frame["model"] == model].set_index("hyperparameter").loc[names]
            share, low, high = (100 * rows[c].to_numpy(float) for c in ("share", "low", "high"))
            whiskers = np.clip([share - low, high - share], 0, None)
            places = np.arange(len(names)) + (i - (len(palette) - 1) / 2) * height
            axes.barh(places, share, height=0.92 * height, color=colour, label=model, zorder=2)
            axes.errorbar(share, places, xerr=whiskers, fmt="none", ecolor="#222222", lw=0.8, capsize=1.5, zorder=3)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the variance explained alone (%)")
        handles, labels = axes.get_legend_handles_labels()
        order = [*range(1, len(labels)), 0]
        figure.legend(
            [handles[k] for k in order], [labels[k] for k in order], loc="outside upper center", ncols=len(labels),
            frameon=False,
        )  # fmt: skip
    return figure


def lines(curves: pd.DataFrame, quality: pd.DataFrame, axes_of: list[Axis]) -> Figure:
    """A panel per hyperparameter; a colour per model; solid from the recipe, dashed from the best found."""
    palette = _colours(_models(quality))
    columns = 3
    with mpl.rc_context(STYLE):
        depth = math.ceil(len(axes_of) / columns)
        figure = Figure(figsize=(WIDTH, 0.8 + 1.6 * depth), layout="constrained")
        grid = figure.subplots(depth, columns, sharey=True, squeeze=False)
        for panel, axis in zip(grid.flat, axes_of, strict=False):
            here = curves[curves["hyperparameter"] == axis.name]
            for (model, base), curve in here.groupby(["model", "base"], sort=False):
                x = [axis.coordinate(v) for v in curve["value"]] if axis.levels else curve["value"].astype(float)
                panel.plot(x, curve["accuracy"], color=palette[model], ls=STYLES[base], lw=1.2,
                           marker="o" if axis.levels else None, ms=2.5)  # fmt: skip
            _scale(panel, axis)
        for panel in list(grid.flat)[len(axes_of) :]:
            panel.set_visible(False)
        for panel in grid[:, 0]:
            panel.set_ylabel("predicted accuracy (%)")
        grid[0][0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 1):g}"))
        fitted = quality[quality["r2"].notna()]
        handles = [Line2D([], [], color=palette[m], lw=1.8) for m in fitted["model"]]
        words = [f"{r.model} (R² {r.r2:.2f})" for r in fitted.itertuples()]
        handles += [Line2D([], [], color="#444444", lw=1.2, ls=style) for style in STYLES.values()]
        words += [f"from the {base}" for base in STYLES]
        figure.legend(handles, words, loc="outside lower center", ncols=5, frameon=False, handlelength=1.6,
                      columnspacing=1.2)  # fmt: skip
    return figure


def _scale(panel: Axes, axis: Axis) -> None:
    panel.set_title(axis.name)
    panel.grid(True)
    if axis.levels:
        panel.set_xticks(range(len(axis.levels)), [str(level) for level in axis.levels])
        panel.set_xlim(-0.3, len(axis.levels) - 0.7)
    elif axis.log:
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(NullFormatter())
        if axis.high / axis.low > 100:
            panel.xaxis.set_major_locator(LogLocator(numticks=5))
        else:  # too few powers of ten to label
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
