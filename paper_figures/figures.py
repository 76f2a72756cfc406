"""The figures: validation over cost (anytime), and learning rate against score (why a method won).

Every figure gives a method the same colour (the palette of Okabe and Ito, for ``jfhpo_paper`` and the variants of
``jfhpo`` that of Tol: colour-blind readers can tell them apart) and is written as PNG and PDF without a date in it: the
same records give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.gather import FINISHED, Records, method_rank
from experiments.main import analysis
from jfhpo.core.problem import LR
from jfhpo.core.trial import Status

COLOURS = {
    "recipe": "#555555",
    "random_search": "#E69F00",
    "jfhpo": "#0072B2",
    "hyperband": "#D55E00",
    "bohb": "#009E73",
    "tpe": "#CC79A7",
    "nomad": "#56B4E9",
    "jfhpo_paper": "#882255",
    # The other searches and the variants of jfhpo share colours: they never stand in one figure.
    "asha": "#44AA99",
    "gp_ei": "#AA4499",
    "smac": "#332288",
    "no_proxy": "#44AA99",
    "no_checkpoint_reuse": "#999933",
    "no_early_stopping": "#AA4499",
    "scaling_law_rule": "#117733",
    "no_lr_mapping": "#332288",
    "smaller_proxy": "#D55E00",
}
SPARE_COLOURS = ("#8C6D1F", "#7F3C8D", "#A5AA99", "#000000", "#4B4B8F")
STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "hatch.linewidth": 0.6,
    "grid.color": "#DDDDDD",
    "pdf.fonttype": 42,
    "figure.dpi": 200,
}
AXIS = {
    "seconds": "trainer seconds charged to the study",
    "tokens": "completion tokens sampled by the study",
    "flops": "FLOPs spent by the study",
}
"""What a budget's unit is called on an axis."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Models by size: the first is the proxy, then the target, then any other."""
PALE, FULL, HATCH = 0.3, 0.9, "//////"
WIDTH = 5.5
"""Inches: the text width of a one-column paper."""


def colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour per method; methods that have none of their own take the spare ones by name."""
    strangers = sorted(m for m in methods if m not in COLOURS)
    spare = {m: SPARE_COLOURS[i % len(SPARE_COLOURS)] for i, m in enumerate(strangers)}
    return {m: COLOURS.get(m) or spare[m] for m in methods}


def methods_of(records: Records) -> list[str]:
    """The experiment's methods in the order of the tables."""
    return sorted(records.studies["method"].unique(), key=method_rank)


def anytime(records: Records, problem: str) -> Figure:
    """Best validation accuracy on the target so far over what was spent: a thin line per seed, the mean over the
    finished seeds, a dot where each ends; below it, which model each study was training."""
    with mpl.rc_context(STYLE):
        palette, part = colours(methods_of(records)), records.of(problem)
        methods = methods_of(part)
        studies = part.studies[part.studies["method"].isin(set(part.steps["method"]))]
        rows = list(zip(studies["method"], studies["seed"], strict=True))
        strip = 0.11 * max(len(rows), 2)
        figure = Figure(figsize=(WIDTH, 2.7 + strip + 0.55), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.7, strip))
        curves = analysis.anytime(records, problem)
        for method in methods:
            _curve(top, part, curves[curves["method"] == method], palette[method])
        _budget_line(top, part)
        top.set_ylabel("best validation accuracy\non the target so far (%)")
        top.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 1):g}"))
        top.grid(axis="y")
        _strip(bottom, analysis.model_spans(records, problem), rows, part, palette)
        bottom.set_xlabel(AXIS.get(analysis.budget_unit(records, problem), "spent"))
        bottom.set_xlim(left=0)
        figure.legend(**_strip_legend(), loc="outside lower center", ncols=3, frameon=False, handlelength=1.4)
        if curves.empty:
            top.text(0.5, 0.5, "nothing was validated on the target yet", transform=top.transAxes, ha="center")
        lines = [Line2D([], [], color=palette[m], lw=1.8) for m in methods]
        columns = math.ceil(len(methods) / math.ceil(len(methods) / 5))
        figure.legend(lines, methods, loc="outside upper center", ncols=columns, frameon=False)
    return figure


def _curve(axes: Axes, part: Records, curves: pd.DataFrame, colour: str) -> None:
    if curves.empty:
        return
    studies = part.studies[(part.studies["method"] == curves["method"].iloc[0]) & (part.studies["state"] == FINISHED)]
    done = curves[curves["seed"].isin(studies["seed"])]
    for _, seed in curves.groupby("seed"):
        axes.step(seed["spent"], seed["best"], where="post", color=colour, lw=0.7, alpha=0.55)
        axes.plot(seed["spent"].iloc[-1], seed["best"].iloc[-1], "o", color=colour, ms=2, alpha=0.7)
    mean = analysis.mean_curve(done) if len(done) and done["seed"].nunique() == len(studies) else None
    if mean is not None:
        axes.step(mean["spent"], mean["best"], where="post", color=colour, lw=1.8)
        axes.plot(mean["spent"].iloc[-1], mean["best"].iloc[-1], "o", color=colour, ms=3.5, clip_on=False)


def _budget_line(axes: Axes, part: Records) -> None:
    budgets = part.studies["budget"].dropna().unique()
    if len(budgets) == 1:
        axes.axvline(float(budgets[0]), color="#999999", lw=0.8, ls=(0, (4, 3)))
        axes.annotate(
            "budget", (float(budgets[0]), 0.0), xycoords=("data", "axes fraction"), xytext=(-3, 3), rotation=90,
            textcoords="offset points", ha="right", va="bottom", color="#777777", fontsize=7,
        )  # fmt: skip


def _strip(axes: Axes, spans: pd.DataFrame, rows: list, part: Records, palette: dict[str, str]) -> None:
    """A bar per study: pale while it trains anything but the target, full while it trains the target, hatched in
    the final training of what it recommends."""
    targets = part.studies.set_index(["method", "seed"])["target"]
    for span in spans.itertuples():
        y, on_target = rows.index((span.method, span.seed)), span.model == targets[span.method, span.seed]
        axes.barh(
            y, span.end - span.begin, left=span.begin, height=0.72, facecolor=palette[span.method], edgecolor="white",
            alpha=FULL if on_target else PALE, lw=0, hatch=HATCH if span.phase == "final" else None,
        )  # fmt: skip
    middle = {m: float(np.mean([i for i, row in enumerate(rows) if row[0] == m])) for m, _ in rows}
    axes.set_yticks(list(middle.values()), list(middle))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _strip_legend() -> dict[str, list]:
    grey = "#444444"
    patches = [Patch(color=grey, alpha=PALE, lw=0), Patch(color=grey, alpha=FULL, lw=0)]
    patches.append(Patch(facecolor=grey, alpha=FULL, edgecolor="white", hatch=HATCH, lw=0))
    return {
        "handles": patches,
        "labels": ["trains a proxy (scores not comparable)", "trains the target", "final training"],
    }


def why(records: Records, problem: str) -> Figure | None:
    """Each method's search trials by learning rate and score, and the configuration it recommended (a star at the
    validation of its final training). None where no trial of the problem has a learning rate and a place to go."""
    points = analysis.search_points(records, problem)
    part = records.of(problem)
    if points.empty:
        return None
    recommending = part.studies[part.studies["validation"].notna()]
    methods = [m for m in methods_of(part) if m in {*points["method"], *recommending["method"]}]
    palette, models = colours(methods_of(records)), _models(part, points)
    with mpl.rc_context(STYLE):
        columns = min(len(methods), 3)
        lines = math.ceil(len(methods) / columns)
        figure = Figure(figsize=(WIDTH, 0.75 + 2.0 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, method in zip(grid.flat, methods, strict=False):
            _scatter(
                axes, points[points["method"] == method], models, palette[method], int(part.studies["max_steps"].max())
            )
            _recommended(axes, recommending[recommending["method"] == method])
            axes.set_title(method, color=palette[method], fontweight="bold")
        for axes in list(grid.flat)[len(methods) :]:
            axes.set_visible(False)
        first = grid[0][0]
        first.set_xscale("log")
        first.xaxis.set_major_locator(LogLocator(numticks=6))
        first.xaxis.set_minor_formatter(NullFormatter())
        first.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 1):g}"))
        for axes in grid[-1]:
            axes.set_xlabel("learning rate on that model")
        for axes in grid[:, 0]:
            axes.set_ylabel("validation accuracy (%)")
        figure.legend(*_legend(points, models, part.studies), loc="outside lower center", ncols=3, frameon=False,
                      handler_map={tuple: HandlerTuple(ndivide=None)})  # fmt: skip
    return figure


def _models(part: Records, points: pd.DataFrame) -> dict[str, str]:
    """A marker per model: the proxy's, the target's, then the others by name."""
    known = [*part.studies["proxy"].dropna().unique(), *part.studies["target"].dropna().unique()]
    names = list(dict.fromkeys([*known, *sorted(points["model"].unique())]))
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}


def _scatter(axes: Axes, points: pd.DataFrame, models: dict[str, str], colour: str, max_steps: int) -> None:
    axes.grid(True)
    scored = points.dropna(subset=["score"])
    scored = scored.assign(hollow=scored["status"] == Status.EARLY_STOPPED)
    for _, same in scored.groupby(["seed", "model", "lr"]):
        if len(same) > 1:
            axes.plot(same["lr"], same["score"], color=colour, lw=0.5, alpha=0.5, zorder=1)
    for (model, hollow), some in scored.groupby(["model", "hollow"]):
        axes.scatter(
            some["lr"], some["score"], s=6 + 26 * some["steps_done"].astype(float) / max_steps, marker=models[model],
            lw=0.8, edgecolors=colour, facecolors="none" if hollow else colour, alpha=0.8, zorder=2,
        )  # fmt: skip
    failed = points[points["status"] == Status.FAILED]
    if len(failed):
        axes.plot(failed["lr"], np.zeros(len(failed)), "x", color=colour, ms=5, mew=1.2, clip_on=False, zorder=3)


def _recommended(axes: Axes, studies: pd.DataFrame) -> None:
    for study in studies.itertuples():
        lr = (study.recommended or {}).get(LR)
        if lr is not None:
            axes.plot(lr, study.validation, "*", mfc="white", mec="black", ms=8, mew=0.8, zorder=4)


def _legend(points: pd.DataFrame, models: dict[str, str], studies: pd.DataFrame) -> tuple[list, list[str]]:
    """Handles and labels for what the points of all panels have in common."""
    roles = dict.fromkeys(studies["proxy"], " (proxy)") | dict.fromkeys(studies["target"], " (target)")
    grey = {"color": "#444444", "ls": ""}
    used = [m for m in models if m in set(points["model"])]
    handles: list = [Line2D([], [], marker=models[m], ms=4.5, **grey) for m in used]
    labels = [f"model {m}{roles.get(m, '')}" for m in used]
    statuses = set(points["status"])
    if points["steps_done"].nunique() > 1:
        handles.append(tuple(Line2D([], [], marker="o", ms=s, **grey) for s in (2.5, 4, 5.5)))
        labels.append("fewer to more steps")
    if Status.EARLY_STOPPED in statuses:
        handles.append(Line2D([], [], marker="o", ms=4.5, mfc="none", **grey))
        labels.append("early stopped")
    if Status.FAILED in statuses:
        handles.append(Line2D([], [], marker="x", ms=5, mew=1.2, **grey))
        labels.append("failed: no score")
    handles.append(Line2D([], [], marker="*", ms=8, mfc="white", mec="black", ls=""))
    labels.append("recommended, trained in full")
    return handles, labels


def write(folder: Path, name: str, figure: Figure) -> Path:
    """``<name>.png`` and ``<name>.pdf``; returns the PNG's path."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    figure.savefig(folder / f"{name}.png", dpi=200)
    return folder / f"{name}.png"
