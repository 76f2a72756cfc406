"""LoRA instruction-tuning: losses and when they were found, the best configurations, and loss against answers."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.gather import Records, method_rank
from experiments.lora_instruction_tuning import analysis
from experiments.lora_instruction_tuning.analysis import ADAPTER, NEAR, REFERENCE, TEN
from experiments.lora_instruction_tuning.sweep import FIRST_ROUND
from experiments.statistics.comparisons import ALPHA, least_p
from experiments.statistics.intervals import band
from paper_figures import published
from paper_figures.cells import bracketed
from paper_figures.figures import STYLE, WIDTH, colours
from paper_figures.formats import NOT_KNOWN, Column, Table
from paper_figures.pages import Drawing, Page
from paper_figures.tables import error_rows, number, share_in, with_errors

TIMES = 200
"""Points of the time grid."""
LOSS = "validation loss in nats per response token"
ANYTIME = (
    f"Lowest {LOSS} of a full run on the target so far, against the seconds charged to the study. Mean over seeds with "
    "its 95 % bootstrap band; it begins where every seed has a full run. The axis of losses is logarithmic. "
    "A warm-started study is not charged for the first round."
)
ANSWERS = (
    "Every full run on the target: its validation loss, and how many validation questions the model then answers right "
    "(greedily). The search sees the loss only. Larger marks: the ten lowest losses of each study."
)
LANDSCAPE = (
    "Every full run on the target: learning rate against validation loss, coloured by the adapter's rank; crosses have "
    "dropout 1, with which nothing is learned."
)
RANKS = "viridis"


def page(records: Records) -> Page:
    found = analysis.evaluations(records)
    summary = analysis.methods(records, found)
    lead, tables, drawings = [], [], []
    several = len(records.problems()) > 1
    for problem in records.problems():
        of, here = records.of(problem), found[found["problem"] == problem]
        ending = f"_{problem}" if several else ""
        own = summary[summary["problem"] == problem]
        agreed = analysis.agreement(found, problem)
        lead += sentences(problem, own, agreed)
        tables.append((methods_table(of, own, ending),))
        tables.append((best_table(of, here, problem, ending), published_table()))
        tables.append((agreement_table(of, agreed, ending),))
        if len(here):
            drawings += [
                Drawing(f"anytime{ending}", anytime(here), ANYTIME),
                Drawing(f"answers{ending}", answers(here), ANSWERS),
                Drawing(f"landscape{ending}", landscape(here), LANDSCAPE),
            ]
    printed = tuple(group[0].name for group in tables[::-1])
    return Page(lead=tuple(lead), tables=tuple(tables), drawings=tuple(drawings), printed=printed)


# ---- words -------------------------------------------------------------------------------------------------


def sentences(problem: str, summary: pd.DataFrame, agreed: pd.DataFrame) -> list[str]:
    """Who found the lowest loss, whether that is more than chance, and what it is worth in answers."""
    if summary.empty:
        return [f"No study of {problem} is finished yet."]
    compared = summary[summary["method"] != FIRST_ROUND].sort_values("loss", kind="stable")
    first = compared.iloc[0]
    seeds = "one seed" if first["seeds"] == 1 else f"{int(first['seeds'])} seeds"
    said = [f"The lowest {LOSS} on {problem} is {first['method']}'s: {_loss(first)} ({seeds})."]
    if len(known := summary[summary["p_holm"].notna()]):
        pairs, ahead = int(known["pairs"].max()), known[(known["p_holm"] < ALPHA) & (known["gain"] > 0)]["method"]
        if len(ahead):
            said.append(
                f"Significantly lower than {REFERENCE}'s (α = {ALPHA:.2g}, Holm-corrected): {', '.join(ahead)}."
            )
        elif least_p(pairs) * len(known) >= ALPHA:
            said.append(f"{pairs} seeds are too few to show that any method's loss is lower than {REFERENCE}'s.")
        else:
            said.append(f"No method's loss is shown to be lower than {REFERENCE}'s.")
    for row in agreed[agreed["spearman"].notna()].itertuples():
        said.append(
            f"Over {'all' if row.of == 'all' else 'the ten best of every study,'} {row.n} full runs, lower loss and "
            f"more right answers have a rank correlation of {bracketed(row.spearman, row.low, row.high)}; the lowest "
            f"loss forgoes {100 * row.forgone:.1f} points of accuracy against the best answers among them."
        )
    return said


def _loss(row: pd.Series) -> str:
    return f"{row['loss']:.4f}" + ("" if math.isnan(row["half"]) else f" ± {row['half']:.4f}")


# ---- tables ------------------------------------------------------------------------------------------------


def methods_table(records: Records, summary: pd.DataFrame, ending: str) -> Table:
    rows = []
    for _, r in summary.iterrows():
        paired = not math.isnan(r["gain"])
        rows.append(
            (
                r["method"], str(int(r["seeds"])), _loss(r), number(r["evaluations"], 0), number(r["trials"], 0),
                number(r["seconds_to_best"], 0), f"{int(r['near'])}", number(r["seconds_near"], 0),
                number(r["seconds"], 0),
                bracketed(r["gain"], r["low"], r["high"], 4) if paired else NOT_KNOWN,
                number(r["p_holm"], 3) if paired else NOT_KNOWN,
                share_in(r["accuracy"], r["accuracy"] - r["accuracy_half"], r["accuracy"] + r["accuracy_half"]),
            )
        )  # fmt: skip
    heads = (
        "method", "seeds", "loss", "full runs", "trials", "s to best", "seeds near", "s to that", "s in all",
        f"gain on {REFERENCE}", "p", "answers right %",
    )  # fmt: skip
    wide = ("full runs", "trials", "s in all", f"gain on {REFERENCE}", "p")
    return Table(
        name=f"losses{ending}",
        title="The lowest validation loss of each method, and when it was found",
        columns=tuple(Column(head, wide=head in wide) for head in heads),
        rows=tuple(rows),
        caption=f"Loss: {LOSS}, the lowest of a study's full runs on the target, mean over seeds ± half of Student's t "
        "interval. s to best: seconds of the study until then, median over seeds. "
        f"Seeds near: those in which a run went {1 - NEAR:.0%} of the way from the seed's first runs to the lowest "
        "loss that any method found in it, and the median seconds to the first such run. Gain: mean paired difference "
        "in loss [95 % BCa bootstrap]; p: paired permutation test, Holm-corrected. Answers: of what was recommended, "
        f"sampled at temperature 1 on the test questions [t interval]. {FIRST_ROUND} trains for half "
        "as long again and is compared with nothing.",
        data=with_errors(summary, records),
        errors=error_rows(records),
    )


def best_table(records: Records, found: pd.DataFrame, problem: str, ending: str) -> Table:
    """The ten best and the worst of every method that searches."""
    searching = [m for m in sorted(found["method"].unique(), key=method_rank) if m != "recipe"]
    parts = [analysis.ten_best(found, problem, method) for method in searching]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["method", "place", *ADAPTER])
    rows = [
        (
            r.method, str(r.place), f"{r.lora_rank}", f"{r.lora_dropout:g}", f"{r.lora_alpha}", f"{r.lr:.3g}",
            f"{r.loss:.4f}", number(100 * r.answered), str(r.seed),
        )
        for r in frame.itertuples()
    ]  # fmt: skip
    heads = ("method", "place", "rank", "dropout", "alpha", "lr", "loss", "answers right %", "seed")
    return Table(
        name=f"ten_best{ending}",
        title=f"The {TEN} best configurations of each method, and its worst",
        columns=tuple(Column(head, wide=head == "seed") for head in heads),
        rows=tuple(rows),
        caption=f"Full runs on the target, over all seeds of a method, by {LOSS}. Answers: validation questions, "
        "greedily, which no search sees.",
        data=frame,
        errors=error_rows(records),
    )


def published_table() -> Table:
    frame = published.quotable("lora_tuning")
    ranges = [f"{r.low:g}" if r.low == r.high else f"{r.low:g} to {r.high:g}" for r in frame.itertuples()]
    rows = [
        (r.of, r.quantity, said, r.unit if isinstance(r.unit, str) else "")
        for r, said in zip(frame.itertuples(), ranges, strict=True)
    ]
    return Table(
        name="published_lora_tuning",
        title="Published: NOMAD's second round (arXiv 2312.00949)",
        columns=(
            Column("of"),
            Column("quantity", words=True),
            Column("value", quoted=True),
            Column("unit", words=True),
        ),
        rows=tuple(rows),
        caption="The authors' own numbers: Llama-2-7B on Alpaca and Dolly, width 4096. Neither losses nor learning "
        "rates are comparable in level; what can be compared is where in the space the best lie: the highest ranks and "
        "alphas, learning rates in the upper half of the range, the starting point among the worst.",
        data=frame,
    )


def agreement_table(records: Records, agreed: pd.DataFrame, ending: str) -> Table:
    rows = [
        (
            r.of, str(r.n), bracketed(r.spearman, r.low, r.high), number(100 * r.concordant),
            number(100 * r.forgone),
        )
        for r in agreed.itertuples()
    ]  # fmt: skip
    return Table(
        name=f"agreement{ending}",
        title="Does a lower loss mean better answers?",
        columns=tuple(Column(h) for h in ("full runs", "n", "Spearman", "pairs agreeing %", "points forgone")),
        rows=tuple(rows),
        caption="Validation loss against validation questions answered right (greedily), over full runs on the target. "
        "Spearman: of −loss and accuracy [95 % bootstrap]. Pairs agreeing: of the pairs that differ in both, those in "
        "which the lower loss answers more. Points forgone: accuracy of the best answers less that of the lowest loss, "
        "mean over studies. The paper says without a number that lower loss does not always mean better answers.",
        data=agreed,
        errors=error_rows(records),
    )


# ---- figures -----------------------------------------------------------------------------------------------


def anytime(found: pd.DataFrame) -> Figure:
    searching = [m for m in sorted(found["method"].unique(), key=method_rank) if m != FIRST_ROUND]
    palette, curves = colours(searching), analysis.best_so_far(found)
    grid = np.linspace(0, curves["spent"].max(), TIMES)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        for method in searching:
            own = curves[curves["method"] == method]
            seeds = [(c["spent"].to_numpy(), c["loss"].to_numpy()) for _, c in own.groupby("seed")]
            mean = band(seeds, grid)
            axes.step(mean["spent"], mean["value"], where="post", color=palette[method], lw=1.6)
            axes.fill_between(
                mean["spent"], mean["low"], mean["high"], step="post", color=palette[method], alpha=0.15, lw=0
            )
            if method == "recipe":
                axes.plot(own["spent"], own["loss"], "o", ms=3, color=palette[method])
        axes.set_yscale("log")
        _losses(axes.yaxis)
        axes.set_xlim(left=0)
        axes.set_xlabel("trainer seconds charged to the study")
        axes.set_ylabel("lowest validation loss so far\n(nats per response token)")
        axes.grid(axis="y", which="both")
        lines = [Line2D([], [], color=palette[m], lw=1.8) for m in searching]
        figure.legend(lines, searching, loc="outside upper center", ncols=min(len(searching), 6), frameon=False)
    return figure


def _losses(axis: Axis) -> None:
    """Labels of a logarithmic axis that seldom spans a decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    axis.set_minor_formatter(NullFormatter())


def answers(found: pd.DataFrame) -> Figure:
    known = found[found["answered"].notna() & (found["method"] != FIRST_ROUND)]
    shown = sorted(known["method"].unique(), key=method_rank)
    palette = colours(shown)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        axes = figure.subplots()
        for method in shown:
            own = known[known["method"] == method]
            best = own.groupby("seed", group_keys=False)[own.columns.tolist()].apply(lambda g: g.nsmallest(TEN, "loss"))
            axes.plot(own["loss"], 100 * own["answered"], "o", ms=2.2, alpha=0.45, mew=0, color=palette[method])
            axes.plot(best["loss"], 100 * best["answered"], "o", ms=4.2, alpha=0.8, mew=0, color=palette[method])
        axes.set_xscale("log")
        _losses(axes.xaxis)
        axes.set_xlabel(LOSS)
        axes.set_ylabel("validation questions\nanswered right (%)")
        axes.grid(True)
        dots = [Line2D([], [], color=palette[m], marker="o", ls="", ms=4) for m in shown]
        figure.legend(dots, shown, loc="outside upper center", ncols=min(max(len(shown), 1), 6), frameon=False)
    return figure


def landscape(found: pd.DataFrame) -> Figure:
    known = found[found["method"] != FIRST_ROUND]
    ranks = sorted(known["lora_rank"].unique())
    shades = mpl.colormaps[RANKS](np.linspace(0, 0.92, len(ranks)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        for rank, shade in zip(ranks, shades, strict=True):
            own = known[known["lora_rank"] == rank]
            for some, mark in ((own[own["lora_dropout"] < 1], "o"), (own[own["lora_dropout"] == 1], "x")):
                axes.plot(some["lr"], some["loss"], mark, ms=3.5, color=shade, alpha=0.8, mew=0 if mark == "o" else 0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _losses(axes.yaxis)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("validation loss\n(nats per response token)")
        axes.grid(True)
        dots = [Line2D([], [], color=shade, marker="o", ls="", ms=4) for shade in shades]
        names = [f"rank {rank}" for rank in ranks]
        figure.legend(dots, names, loc="outside upper center", ncols=min(max(len(ranks), 1), 6), frameon=False)
    return figure
