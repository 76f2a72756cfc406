"""Where the optimum is known: does every method do better than drawing at random?"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from experiments.analytic import analysis
from experiments.analytic.analysis import REFERENCE
from experiments.gather import Records
from experiments.statistics.comparisons import ALPHA
from paper_figures.figures import STYLE, WIDTH, colours
from paper_figures.formats import NOT_KNOWN, Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.tables import error_rows, number, share_in, with_errors

WHAT = (
    "Learning curves by formula, whose optimum is known; every seed is another landscape with another best learning "
    "rate and KL coefficient, and the proxy's best learning rate is off to one side or the other of what widths say."
)
CAPTION = (
    f"{WHAT} A dot is a landscape: by how many points the recommended configuration, trained in full, is below the "
    "optimum. Line: mean; diamond: median. The axis is logarithmic."
)
LEAST = 0.05
"""Points of regret below which dots are drawn at the edge."""


def page(records: Records) -> Page:
    found = analysis.against_reference(records)
    return Page(
        lead=lead(found),
        tables=((table(records, found),),),
        drawings=(Drawing("regret", regret_figure(analysis.regrets(records)), CAPTION),),
        printed=("analytic",),
    )


def lead(found: pd.DataFrame) -> tuple[str, ...]:
    """Who beats random search, and who does not."""
    others = [m for m in found["method"] if m != REFERENCE]
    if "p" not in found or not others:
        return (f"There is no landscape yet on which {REFERENCE} and another method have a result.",)
    ahead = analysis.better(found)
    behind = [m for m in others if m not in ahead]
    n = int(found["pairs"].min())
    said = f"On {n} landscapes with a known optimum " if n > 1 else "On one landscape "
    if not behind:
        said += f"every method recommends better configurations than {REFERENCE} (α = {ALPHA:.2g}, Holm-corrected)."
    elif ahead:
        said += f"these beat {REFERENCE}: {', '.join(ahead)}. Not shown to: {', '.join(behind)}."
    else:
        said += f"no method is shown to beat {REFERENCE}."
    return (said, "It is a check that methods are built right: formulas are smoother than training, and rank nothing.")


def table(records: Records, found: pd.DataFrame) -> Table:
    rows = []
    for r in found.to_dict("records"):
        paired = "gain" in r and r["gain"] == r["gain"]
        rows.append(
            (
                r["method"],
                f"{100 * r['regret']:.2f} ± {100 * r['half']:.2f}" if r["n"] > 1 else number(100 * r["regret"], 2),
                number(100 * r["median"], 2),
                f"{100 * r['gain']:+.2f} [{100 * r['low']:+.2f}, {100 * r['high']:+.2f}]" if paired else NOT_KNOWN,
                share_in(r["ahead"], r["ahead_low"], r["ahead_high"]) if paired else NOT_KNOWN,
                _p(r["p_holm"]) if paired else NOT_KNOWN,
                str(r["cut"]),
            )
        )
    heads = ("method", "regret", "median", f"gain on {REFERENCE}", "ahead %", "p", "cut")
    return Table(
        name="analytic",
        title="Points below the known optimum",
        columns=tuple(Column(h, wide=h in ("median", "cut")) for h in heads),
        rows=tuple(rows),
        caption=f"{WHAT} Regret: mean over landscapes ± the half of Student's t interval. Gain: mean paired difference "
        "in regret [95 % BCa bootstrap]. Ahead: share of landscapes [95 % Wilson]. p: two-sided paired permutation "
        "test, Holm-corrected. Cut: final runs that the budget ended before full steps.",
        data=with_errors(found.assign(problem=records.problems()[0]), records),
        errors=error_rows(records),
    )


def _p(value: float) -> str:
    return NOT_KNOWN if value != value else "< 0.001" if value < 0.001 else f"{value:.3f}"


def regret_figure(table: pd.DataFrame) -> Figure:
    """A row of dots per method, the best mean on top."""
    methods = list(table.mean().sort_values(kind="stable").index)
    palette, rng = colours(methods), np.random.default_rng(0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 + 0.27 * len(methods)), layout="constrained")
        axes = figure.subplots()
        for y, method in enumerate(methods):
            values = np.maximum(100 * table[method].dropna().to_numpy(), LEAST)
            spread = y + rng.uniform(-0.22, 0.22, len(values))  # so that dots do not hide each other
            axes.plot(values, spread, "o", ms=2.4, alpha=0.45, mew=0, color=palette[method])
            axes.plot([values.mean()] * 2, [y - 0.33, y + 0.33], color=palette[method], lw=1.8)
            axes.plot(np.median(values), y, "D", ms=4, mfc="white", mec=palette[method])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlabel("points of accuracy below the optimum")
        axes.set_yticks(range(len(methods)), methods)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
    return figure
