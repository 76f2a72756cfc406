"""Which kernel foretells full runs on the target best: held-out log-likelihood, errors and calibration."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from experiments.fidelity_kernel import analysis
from experiments.fidelity_kernel.analysis import CASES, REFERENCE
from experiments.fidelity_kernel.splits import NEW, SEEN
from experiments.gather import Records
from jfhpo.method.kernels import KERNELS
from paper_figures.cells import bracketed
from paper_figures.figures import STYLE, WIDTH
from paper_figures.formats import Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.tables import error_rows, number

COLOURS = dict(zip(KERNELS, ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), strict=True))
MARKS = dict(zip(KERNELS, ("o", "s", "^", "D"), strict=True))
WORDS = {SEEN: "configurations seen on the proxy", NEW: "new configurations"}
DIFFERENCES = (
    f"Log-likelihood per held-out full run on the target, less {REFERENCE}'s on the same runs: right of the line a "
    "kernel foretells them better. Thin: 95 % bootstrap over splits and configurations; thick: over splits alone, "
    "which all draw on the same configurations. The panels differ in scale."
)
CALIBRATION = (
    "Share of held-out full runs inside the central predictive interval of each level, noise included. On the "
    "diagonal a kernel knows what it does not know; below it, it is too sure of itself."
)
TOO_SURE = 0.85
"""A kernel whose 90 % intervals hold fewer than this in both cases is said to be too sure of itself."""
LEVELS = np.arange(0.05, 1.0, 0.05)


def page(records: Records) -> Page:
    problems, lead, drawings, frames = records.problems(), [], [], []
    for problem in problems:
        predicted = analysis.predictions(records, problem, analysis.SPLITS)
        frame = analysis.comparison(records, problem, predicted)
        frames.append(frame)
        target = "/".join(records.of(problem).studies["target"].dropna().unique())
        lead += sentences(problem, target, frame)
        if len(predicted):
            drawings.append(Drawing(f"difference_{problem}", differences(frame), DIFFERENCES))
            drawings.append(Drawing(f"calibration_{problem}", calibration(predicted), CALIBRATION))
    return Page(
        lead=tuple(lead),
        tables=((kernels(records, pd.concat(frames, ignore_index=True)),),),
        drawings=tuple(drawings),
        printed=("kernels",),
    )


# ---- words -------------------------------------------------------------------------------------------------


def sentences(problem: str, target: str, frame: pd.DataFrame) -> list[str]:
    """Which kernel wins, whether the intervals can tell, and what speaks against believing it."""
    n, splits = int(frame["configurations"].max()), int(frame["splits"].max())
    if not splits:
        return [
            f"{n} configurations of {problem} are too few to learn from some and ask about the others (at least "
            f"{analysis.LEAST}): no kernel is preferred."
        ]
    found = [_winners(problem, target, frame, n, splits)]
    found += [_told_apart(frame[frame["case"] == case], case) for case in CASES]
    found.append(_verdict(frame))
    found.append(_reliability(frame))
    found.append(
        f"One task, one training run per configuration, and the same {n} configurations in every split. What a split "
        "has seen is drawn at random, where a search would choose it."
    )
    return found


def _winners(problem: str, target: str, frame: pd.DataFrame, n: int, splits: int) -> str:
    said = []
    for case in CASES:
        rows = frame[frame["case"] == case].sort_values("log_likelihood", ascending=False)
        best, usual = rows.iloc[0], rows[rows["kernel"] == REFERENCE].iloc[0]
        errors = f"RMSE {100 * best['rmse']:.1f} points"
        if best["kernel"] != REFERENCE:
            errors += f", {REFERENCE}'s {100 * usual['rmse']:.1f}"
        likelihood = _interval(best, "log_likelihood", "low", "high")
        said.append(f"for {WORDS[case]} that of {best['kernel']}, {likelihood} ({errors})")
    return (
        f"Held-out full runs on {target}, {n} configurations of {problem}, {splits} random splits: the highest "
        f"log-likelihood, in nats per run, is {' and '.join(said)}."
    )


def _told_apart(rows: pd.DataFrame, case: str) -> str:
    others = rows[rows["kernel"] != REFERENCE]
    said = "; ".join(f"{r['kernel']} {_interval(r, 'difference')}" for _, r in others.iterrows())
    told = [
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {word}"
        for names, word in zip(beyond(rows), ("better", "worse"), strict=True)
        if names
    ]
    verdict = f"beyond its interval {' and '.join(told)}" if told else f"no interval tells a kernel from {REFERENCE}"
    return f"Less {REFERENCE}'s, for {WORDS[case]}: {said}; {verdict}."


def beyond(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Of one case, the kernels whose interval of the difference lies above 0, and those whose lies below."""
    return list(rows.loc[rows["difference_low"] > 0, "kernel"]), list(rows.loc[rows["difference_high"] < 0, "kernel"])


def _verdict(frame: pd.DataFrame) -> str:
    seen, new = (set(beyond(frame[frame["case"] == case])[0]) for case in CASES)
    if both := [kernel for kernel in KERNELS if kernel in seen & new]:
        return f"Better than {REFERENCE}, which jfhpo uses, beyond the interval in both cases: {_listed(both)}."
    return (
        f"jfhpo uses {REFERENCE}. No kernel is better beyond the interval in both cases, so it stays; that it is the "
        "best is not shown."
    )


def _reliability(frame: pd.DataFrame) -> str:
    """Calibration of the kernel that is used, and whether its mean log-likelihood is that of a usual run."""
    rows = frame[frame["kernel"] == REFERENCE].set_index("case").loc[list(CASES)]
    shares = " and ".join(f"{100 * row['within_90']:.0f} % for {WORDS[case]}" for case, row in rows.iterrows())
    medians = " and ".join(f"{median:.2f}" for median in rows["median"])
    sure = ": it is too sure of itself" if rows["within_90"].max() < TOO_SURE else ""
    pulled = (rows["median"] > rows["high"]).all()
    misses = ", above the intervals of the means, which a few confident misses pull down" if pulled else ""
    return f"The 90 % intervals of {REFERENCE} hold {shares}{sure}. Its median log-likelihoods are {medians}{misses}."


def _interval(row: pd.Series, name: str, low: str = "", high: str = "") -> str:
    return bracketed(row[name], row[low or f"{name}_low"], row[high or f"{name}_high"])


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# ---- table -------------------------------------------------------------------------------------------------


def kernels(records: Records, frame: pd.DataFrame) -> Table:
    """A row per case and kernel."""
    several = len(records.problems()) > 1
    columns = (
        Column("kernel"), Column("held out", words=True), Column("runs", wide=True), Column("log-likelihood"),
        Column(f"less {REFERENCE}'s"), Column("over splits alone", wide=True), Column("median", wide=True),
        Column("RMSE points"), Column("Spearman"), Column("in 50 %"), Column("in 90 %"), Column("fit ×"),
    )  # fmt: skip
    ordered = frame.sort_values("case", key=lambda case: case.map(CASES.index), kind="stable")
    ordered = ordered.sort_values("problem", kind="stable")
    rows = tuple(
        (
            f"{r['problem']}: {r['kernel']}" if several else r["kernel"], r["case"], str(r["observations"]),
            _interval(r, "log_likelihood", "low", "high"), _interval(r, "difference"),
            bracketed(r["difference"], r["difference_splits_low"], r["difference_splits_high"]),
            number(r["median"], 2), number(100 * r["rmse"]), number(r["spearman"], 2),
            number(100 * r["within_50"], 0), number(100 * r["within_90"], 0), number(r["fit_ratio"], 2),
        )
        for _, r in ordered.iterrows()
    )  # fmt: skip
    left_out = int(frame.groupby("problem")["left_out"].first().sum())
    return Table(
        name="kernels",
        title="Kernels of the surrogate by held-out full runs on the target",
        columns=columns,
        rows=rows,
        caption="Each random split trains on two thirds of the configurations: their validations on the proxy "
        "(learning rate mapped by width) up to a random rung, and of every third also those on the target. Held out: "
        "full runs on the target of training configurations not seen there in full (seen on the proxy), and of all "
        "others (new). Log-likelihood: nats per run, noise included, mean over runs. [ ]: 95 % bootstrap percentiles "
        "over splits and configurations; the splits share their configurations, so intervals over splits alone are too "
        "narrow. Spearman: of predicted with true accuracy, mean over splits. In 50 %, in 90 %: % of runs inside those "
        f"predictive intervals. Fit ×: CPU time of a fit by that of {REFERENCE}, median over splits. Configurations "
        f"left out, because they repeat another or have no full run on the target: {left_out}.",
        data=ordered,
        errors=error_rows(records),
    )


# ---- figures -----------------------------------------------------------------------------------------------


def differences(frame: pd.DataFrame) -> Figure:
    """Difference of the log-likelihood to `REFERENCE`, a panel per case, each on its own scale."""
    others = [kernel for kernel in KERNELS if kernel != REFERENCE]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.7), layout="constrained")
        for axes, case in zip(figure.subplots(1, len(CASES), sharey=True), CASES, strict=True):
            rows = frame[frame["case"] == case].set_index("kernel")
            for place, kernel in enumerate(others):
                row, colour = rows.loc[kernel], COLOURS[kernel]
                axes.hlines(place, row["difference_low"], row["difference_high"], color=colour, lw=1)
                axes.hlines(place, row["difference_splits_low"], row["difference_splits_high"], color=colour, lw=3.5)
                axes.plot(row["difference"], place, MARKS[kernel], color=colour, mec="white", mew=0.8, ms=6)
            axes.axvline(0, color="#444444", lw=0.8, zorder=1)
            axes.set_title(case)
            axes.grid(axis="x")
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_yticks(range(len(others)), others)
            axes.set_ylim(len(others) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
        figure.supxlabel(f"log-likelihood per run, less {REFERENCE}'s (nats)", fontsize=STYLE["axes.labelsize"])
    return figure


def calibration(predicted: pd.DataFrame) -> Figure:
    """Share of held-out runs inside each predictive interval, a panel per case."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        panels = figure.subplots(1, len(CASES), sharey=True)
        for axes, case in zip(panels, CASES, strict=True):
            axes.plot([0, 100], [0, 100], color="#777777", lw=0.8, ls=(0, (4, 3)), zorder=1)
            for kernel in KERNELS:
                rows = predicted[(predicted["case"] == case) & (predicted["kernel"] == kernel)]
                shares = 100 * analysis.within(rows, LEVELS)
                axes.plot(
                    100 * LEVELS, shares, color=COLOURS[kernel], marker=MARKS[kernel], markevery=(1, 4), ms=3.5, lw=1.3
                )
            axes.set_title(case)
            axes.grid(True)
            axes.set_xlim(0, 100)
            axes.set_ylim(0, 100)
            axes.set_aspect("equal")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MultipleLocator(25))
            axes.set_xlabel("predictive interval (%)")
        panels[0].set_ylabel("held-out runs inside it (%)")
        handles = [Line2D([], [], color=COLOURS[k], marker=MARKS[k], ms=3.5, lw=1.3) for k in KERNELS]
        figure.legend(handles, KERNELS, loc="outside lower center", ncols=len(KERNELS), frameon=False)
    return figure
