"""Figures that compare many methods: anytime curves with bands, the critical-difference diagram, win rates.

Made for a dozen methods: every line has its name at its end, in its colour and with its dashes, so that nothing rests
on telling twelve colours apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy.optimize import isotonic_regression

from experiments.benchmark import analysis
from experiments.gather import Records
from experiments.main.analysis import budget_unit
from experiments.statistics import comparisons
from experiments.statistics.comparisons import ALPHA
from paper_figures.figures import AXIS, STYLE, WIDTH, colours, methods_of

ANYTIME = (
    "Best validation accuracy on the target so far against what was spent: mean over seeds from where all of them have "
    "a score, with its 95 % bootstrap band (none for one seed; of few seeds too narrow). A study that has ended keeps "
    "its best. A method that trains proxies gains no score meanwhile."
)
RANKS = (
    "Mean rank of each method over all blocks (problem, seed), 1 is best. Methods that a bar joins do not differ by "
    f"Nemenyi's test (α = {ALPHA:.2g}); CD: the difference in mean rank that is significant."
)
WINS = (
    "Share of blocks (problem, seed) in which the row's test mean@k is above the column's, in %, a tie counting half."
)
DASHES = ((), (4, 1.2), (1.2, 1.2), (5, 1.2, 1.2, 1.2))
OURS, OTHERS = (1.8, 0.18, 3), (1.0, 0.07, 2)
"""Line width, opacity of the band and layer of our methods, and of the others."""


def dashes(methods: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Line patterns, by turns; methods whose colours look alike are neighbours in no palette here."""
    return {m: DASHES[i % len(DASHES)] for i, m in enumerate(methods)}


def anytime(records: Records, curves: pd.DataFrame, label: str = "best validation (%)") -> Figure:
    """A panel per problem; `curves` of the records as of `analysis.curves`."""
    methods, heads = methods_of(records), analysis.headings(records)
    palette, patterns = colours(methods), dashes(methods)
    problems = records.problems()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6 * len(problems) + 0.2), layout="constrained")
        panels = figure.subplots(len(problems), 1, squeeze=False)[:, 0]
        for axes, problem in zip(panels, problems, strict=True):
            found = analysis.bands(records, problem, curves)
            ends = {}
            for method, curve in found.groupby("method", sort=False):
                width, shade, layer = OURS if method in analysis.OURS else OTHERS
                look = {"color": palette[method], "zorder": layer}
                axes.plot(
                    curve["spent"], curve["value"], drawstyle="steps-post", lw=width, dashes=patterns[method], **look
                )
                axes.fill_between(curve["spent"], curve["low"], curve["high"], step="post", alpha=shade, lw=0, **look)
                ends[method] = float(curve["value"].iloc[-1])
            axes.set_title(heads.get(problem, problem), loc="left", fontweight="bold")
            axes.set_ylabel(label)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{round(100 * y, 1):g}"))
            axes.set_xlabel(AXIS.get(budget_unit(records, problem), "spent"))
            axes.grid(axis="y")
            axes.set_xlim(0, found["spent"].max() if len(found) else 1)
            if found.empty:
                axes.text(0.5, 0.5, "no study has ended yet", transform=axes.transAxes, ha="center")
            end_labels(axes, ends, palette)
    return figure


def end_labels(axes: Axes, ends: dict[str, float], palette: dict[str, str]) -> None:
    """Names beside the right edge, in the order of the curves' ends, each joined to its own by a thin line."""
    names = sorted(ends, key=ends.__getitem__)
    low, high = axes.get_ylim()
    wanted = np.array([(ends[m] - low) / (high - low) for m in names])
    for name, y, at in zip(names, wanted, spread(wanted, 0.083), strict=True):
        axes.plot([1, 1.03, 1.04], [y, at, at], color=palette[name], lw=0.5, transform=axes.transAxes, clip_on=False)
        axes.text(1.05, at, name, color=palette[name], fontsize=7, va="center", transform=axes.transAxes)


def spread(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Rising positions within 0 to 1, at least `gap` apart (or as far as they fit), nearest by least squares to the
    `wanted` ones: an isotonic regression of what is wanted less the gaps."""
    if len(wanted) < 2:
        return np.clip(wanted, 0.0, 1.0)
    steps = min(gap, 1 / (len(wanted) - 1)) * np.arange(len(wanted))
    return np.clip(isotonic_regression(wanted - steps).x, 0.0, 1.0 - steps[-1]) + steps


def critical_difference(scores: pd.DataFrame) -> Figure:
    """Demšar's diagram: mean ranks on an axis, bars over methods that do not differ; `scores` as `comparisons`."""
    import scikit_posthocs

    mean = comparisons.ranks(scores).mean()
    cd = comparisons.critical_difference(len(mean), len(scores))
    palette = colours(list(mean.index))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.3 + 0.17 * len(mean)), layout="constrained")
        axes = figure.subplots()
        scikit_posthocs.critical_difference_diagram(
            mean, comparisons.nemenyi(scores), ax=axes, color_palette=palette, text_h_margin=0.3,
            label_fmt_left="{label} ({rank:.2f}) ", label_fmt_right=" ({rank:.2f}) {label}",
            crossbar_props={"color": "#333333", "linewidth": 2.4}, elbow_props={"linewidth": 0.8},
            marker_props={"s": 12}, label_props={"fontsize": 7},
        )  # fmt: skip
        axes.plot([1, 1 + cd], [1.6, 1.6], color="black", lw=1.2, marker="|", ms=5, clip_on=False)
        axes.text(1 + cd / 2, 1.8, f"CD = {cd:.2f}", ha="center", va="bottom", fontsize=7)
        axes.set_xlim(0.8, len(mean) + 0.2)
        axes.set_xticks(range(1, len(mean) + 1))
        axes.spines["top"].set_visible(True)
        axes.set_title(f"mean rank over {len(scores)} blocks (1 is best)", loc="right", pad=14)
    return figure


def win_rates(frame: pd.DataFrame) -> Figure:
    """A square per ordered pair, `frame` as of `comparisons.win_rates`; purple where the row is ahead, else orange."""
    methods = list(dict.fromkeys(frame["a"]))
    share = frame.pivot(index="a", columns="b", values="rate").loc[methods, methods].to_numpy(float)
    n = len(methods)
    with mpl.rc_context(STYLE):
        size = min(WIDTH, 1.7 + 0.4 * n)
        figure = Figure(figsize=(size, size * 0.85), layout="constrained")
        axes = figure.subplots()
        pale = ListedColormap(mpl.colormaps["PuOr"](np.linspace(0.15, 0.85, 256)))  # dark ends hide the numbers
        image = axes.imshow(100 * share, cmap=pale, vmin=0, vmax=100)
        for (i, j), value in np.ndenumerate(share):
            if i != j:
                dark = abs(value - 0.5) > 0.33
                axes.text(
                    j,
                    i,
                    f"{100 * value:.0f}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if dark else "black",
                )
        axes.set_xticks(range(n), methods, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), methods)
        axes.set_xlabel("… of the column")
        axes.set_ylabel("the row is ahead …")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.colorbar(image, ax=axes, shrink=0.75, label="% of blocks")
    return figure
