"""Figures of the scaling laws: forecast error against the share seen, saving against loss, and single curves."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.scaling_law.analysis import DRAWS, FINAL, HEADLINE, LEVEL, NAIVE, reward_range
from experiments.scaling_law.curves import RewardCurve
from experiments.scaling_law.stopping import RULES, YARDSTICK
from jfhpo.dynamics.early_stopping import RemainingGain
from jfhpo.dynamics.scaling_law import DEFAULT, LAWS, LEAST, fit, forecast
from paper_figures.figures import STYLE, WIDTH

COLOURS = {
    "offset_saturation": "#0072B2",
    "hill": "#009E73",
    "sigmoid": "#E69F00",
    "saturation": "#CC79A7",
    "last 5 steps": "#444444",
    "last 10 steps": "#999999",
    YARDSTICK: "#444444",
}
MARKS = {"offset_saturation": "o", "hill": "^", "sigmoid": "s", "saturation": "D"}
LABELS = {
    "offset_saturation": "saturation from R₀ (version 2, offset)",
    "hill": "Hill, n = 2",
    "sigmoid": "sigmoid (version 1)",
    "saturation": "saturation from 0 (version 2)",
}
NAIVE_STYLE = {"last 5 steps": "--", "last 10 steps": ":"}
EXAMPLES = 6


def overview(table: pd.DataFrame, frontier: pd.DataFrame) -> Figure:
    """Left: median forecast error over the share of the run seen. Right: what stopping saves and loses; `table` and
    `frontier` of the same curves."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for law in (*LAWS, *NAIVE):
            _errors(left, table[table["law"] == law], law)
        left.set(xlabel="share of the run seen (%)", ylabel="forecast error of the final\nreward (points, median)")
        left.set_ylim(bottom=0)
        left.set_xticks(sorted(100 * table["seen"].unique()))
        _frontier(right, frontier)
        for axes in (left, right):
            axes.grid(axis="y")
        names = [*LAWS, *NAIVE, YARDSTICK]
        handles = [_handle(name) for name in names]
        figure.legend(
            handles, [LABELS.get(name, name) for name in names], loc="outside lower center", ncols=2, frameon=False,
            handlelength=2.2,
        )  # fmt: skip
    return figure


def _handle(name: str) -> Line2D:
    line = NAIVE_STYLE.get(name, "-.") if name not in LAWS else "-"
    return Line2D([], [], color=COLOURS[name], marker=MARKS.get(name), ms=3.5, lw=1.3, ls=line)


def _errors(axes: Axes, rows: pd.DataFrame, law: str) -> None:
    seen, middle = 100 * rows["seen"], 100 * rows["median"]
    axes.plot(seen, middle, color=COLOURS[law], ls=NAIVE_STYLE.get(law, "-"), marker=MARKS.get(law), ms=3.5, lw=1.3)
    if law in (DEFAULT, "last 5 steps"):
        axes.fill_between(seen, 100 * rows["low"], 100 * rows["high"], color=COLOURS[law], alpha=0.15, lw=0)


def _frontier(axes: Axes, frontier: pd.DataFrame) -> None:
    for rule in (*RULES, YARDSTICK):
        rows = frontier[frontier["rule"] == rule].sort_values("saved")
        style = "-." if rule == YARDSTICK else "-"
        axes.plot(100 * rows["saved"], 100 * rows["lost"], color=COLOURS[rule], lw=1.3, ls=style)
    chosen = frontier[(frontier["rule"] == DEFAULT) & (frontier["setting"] == RemainingGain.threshold)]
    for row in chosen.itertuples():
        spans = [[[100 * (v - low)], [100 * (high - v)]] for v, low, high in _with_ends(row)]
        at = (100 * row.saved, 100 * row.lost)
        axes.errorbar(*at, xerr=spans[0], yerr=spans[1], fmt="o", ms=5, color=COLOURS[DEFAULT], lw=0.9, mec="white")
        axes.annotate("the preset", at, xytext=(6, -9), textcoords="offset points", fontsize=7)
    axes.axhline(1.0, color="#999999", lw=0.6, zorder=0)
    axes.set(xlabel="steps saved (%)", ylabel="accuracy lost by stopping\n(points, mean of all runs)")
    axes.set(xlim=(0, 50), ylim=(0, 7))


def _with_ends(row) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    return (row.saved, row.saved_low, row.saved_high), (row.lost, row.lost_low, row.lost_high)


def examples(curves: Sequence[RewardCurve]) -> Figure | None:
    """Runs at even distances in the order of their final reward, with what was foretold of them at `HEADLINE`; None
    where none is long enough."""
    long = [c for c in curves if LEAST <= round(HEADLINE * c.horizon) <= c.horizon - FINAL]
    if not long:
        return None
    ranked = sorted(long, key=lambda curve: float(curve.rewards[-FINAL:].mean()))
    shown = [ranked[i] for i in np.unique(np.linspace(0, len(ranked) - 1, EXAMPLES).round().astype(int))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        grid = figure.subplots(2, 3, sharey=True).ravel()
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        for axes, curve in zip(grid, shown, strict=False):
            _example(axes, curve)
        for axes in grid[::3]:
            axes.set_ylabel("training reward")
        for axes in grid[-3:]:
            axes.set_xlabel("step")
        handles = [
            Line2D([], [], color="#555555", marker=".", ls="", ms=4),
            Line2D([], [], color="#BBBBBB", marker=".", ls="", ms=4),
            Line2D([], [], color=COLOURS[DEFAULT], lw=1.4),
            Line2D([], [], color=COLOURS[DEFAULT], lw=4, alpha=0.35),
        ]
        labels = ["seen", "not seen", f"foretold ({DEFAULT})", f"{100 * LEVEL:.0f} % interval of the final reward"]
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, handlelength=1.4)
    return figure


def _example(axes: Axes, curve: RewardCurve) -> None:
    n, total = round(HEADLINE * curve.horizon), curve.horizon
    steps = np.arange(1, total + 1)
    fitted = fit(curve.rewards[:n], total, reward_range=reward_range(curve))
    told = forecast(fitted, steps[-FINAL:], LEVEL, DRAWS)
    axes.plot(steps[:n], curve.rewards[:n], ".", color="#555555", ms=3)
    axes.plot(steps[n:], curve.rewards[n:], ".", color="#BBBBBB", ms=3)
    axes.plot(steps, fitted.expected((steps - 1) / total), color=COLOURS[DEFAULT], lw=1.4)
    axes.fill_between(steps[-FINAL:], told.low, told.high, color=COLOURS[DEFAULT], alpha=0.35, lw=0)
    axes.axvline(n + 0.5, color="#999999", lw=0.6, ls=(0, (3, 3)))
    axes.set_title(f"{curve.problem}, {curve.model}", fontsize=7)
    axes.set_ylim(0, 1)
