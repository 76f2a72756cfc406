"""The forest plot of the ablations: paired differences with their intervals, a dot per seed."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.ablations.analysis import ABLATIONS, FULL, MAIN_ROWS, REFERENCE
from experiments.gather import Records
from experiments.main.analysis import scores
from paper_figures import published
from paper_figures.figures import COLOURS, STYLE, WIDTH

INTERVAL = "95 % bias-corrected and accelerated (BCa) bootstrap over seeds, 10,000 resamples, a seeded generator"
CAPTION = (
    "Paired differences in test mean@k: a dot per seed, the mean as a large dot, and the interval of the mean "
    f"({INTERVAL}) where there are two seeds or more. Left of zero the reference is ahead. The panels do not share "
    "their scale. Diamonds: the paper's difference on GSM8K with Qwen-2.5 7B, of which no interval is known."
)


def forest(
    records: Records, problem: str, against_full: pd.DataFrame, against_reference: pd.DataFrame
) -> Figure | None:
    """Three panels: the methods against random search and against `FULL`, the ablations against `FULL`. None where
    no two studies of a seed can be compared."""
    table = scores(records, problem)
    panels = []
    for title, frame, reference, methods in (
        (f"methods against {REFERENCE}", against_reference, REFERENCE, MAIN_ROWS),
        (f"methods against {FULL}", against_full, FULL, MAIN_ROWS),
        (f"{FULL} with one mechanism changed, against {FULL}", against_full, FULL, ABLATIONS),
    ):
        rows = frame[(frame["problem"] == problem) & frame["method"].isin(methods) & (frame["pairs"] > 0)]
        if len(rows):
            panels.append((title, rows, reference))
    if not panels:
        return None
    with mpl.rc_context(STYLE):
        sizes = [0.28 * len(rows) + 0.35 for _, rows, _ in panels]
        figure = Figure(figsize=(WIDTH, sum(sizes) + 0.25 * len(panels) + 0.5), layout="constrained")
        grid = figure.subplots(len(panels), 1, height_ratios=sizes, squeeze=False)[:, 0]
        for axes, (title, rows, reference) in zip(grid, panels, strict=True):
            _panel(axes, rows, table, reference)
            axes.set_title(title, loc="left", fontweight="bold")
        grid[-1].set_xlabel("difference in test mean@k (points)")
        handles = [
            Line2D([], [], marker="o", ms=2.5, color="#444444", alpha=0.6, ls=""),
            Line2D([], [], marker="o", ms=5, color="#444444", lw=1.4),
            Line2D([], [], marker="D", ms=4.5, mfc="white", mec="black", ls=""),
        ]
        words = ["a seed", "mean with 95 % interval", "the paper (7B, GSM8K)"]
        drawn = {m for _, rows, _ in panels for m in rows["method"]}
        shown = 3 if drawn & set(published.ABLATED) else 2
        figure.legend(handles[:shown], words[:shown], loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, table: pd.DataFrame, reference: str) -> None:
    for y, row in enumerate(rows.itertuples()):
        colour = COLOURS.get(row.method, "#444444")
        values = 100 * (table[row.method] - table[reference]).dropna().to_numpy()
        below = y + np.linspace(0.12, 0.34, len(values))  # seeds from the top down, below their mean
        axes.plot(values, below, "o", color=colour, ms=2.5, alpha=0.6, mew=0)
        if not math.isnan(row.low):
            axes.plot([100 * row.low, 100 * row.high], [y, y], color=colour, lw=1.4, solid_capstyle="butt")
        axes.plot(100 * row.difference, y, "o", color=colour, ms=5)
        paper = published.ablation_loss(row.method)
        if paper is not None and reference == FULL:
            axes.plot(paper, y - 0.28, "D", mfc="white", mec="black", ms=4.5, mew=0.8, zorder=4)
    axes.axvline(0, color="#777777", lw=0.8, zorder=0)
    axes.set_yticks(range(len(rows)), [f"{r.method} (n={r.pairs})" for r in rows.itertuples()])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
