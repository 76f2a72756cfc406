"""JF-HPO with one mechanism changed at a time, and the methods themselves: paired by seed, beside the paper's."""

from __future__ import annotations

import math

import pandas as pd

from experiments.ablations import analysis
from experiments.ablations.analysis import ABLATIONS, FULL, MAIN_ROWS, REFERENCE, WORST_ALLOWED
from experiments.gather import Records
from experiments.main.analysis import scores
from paper_figures import figures, published
from paper_figures.forest import CAPTION, INTERVAL, forest
from paper_figures.formats import NOT_KNOWN, Column, Table, percent
from paper_figures.pages import Drawing, Page
from paper_figures.pages.main import CAPTIONS
from paper_figures.tables import NOT_OURS, budget, error_rows, number, row_name, seeds, with_errors, with_interval

FEW = (
    "With few seeds a bootstrap interval is too narrow (of eight normal values, 95 % holds 88 %), so "
    "Student's t is in the files too. Every seed is tested on the same prompts: their luck is in no interval. The "
    "intervals are of single comparisons, not corrected for their number."
)
UNSEEN = "A study that trains nothing but the proxy before a final training that the budget cut has no line."


def page(records: Records) -> Page:
    against_full, against_reference = (analysis.paired(records, r) for r in (FULL, REFERENCE))
    drawings = []
    for problem in records.problems():
        part = records.of(problem)
        if (figure := forest(part, problem, against_full, against_reference)) is not None:
            drawings.append(Drawing(f"differences_{problem}", figure, CAPTION))
        methods = part.only(MAIN_ROWS)
        if len(methods.steps):
            named = f"{', '.join(figures.methods_of(methods))} only. {CAPTIONS['anytime']} {UNSEEN}"
            drawings.append(Drawing(f"anytime_{problem}", figures.anytime(methods, problem), named))
    return Page(
        lead=tuple(text for p in records.problems() for text in lead(records.of(p), p)),
        tables=(
            (overview(records), published_ablation()),
            (against_random_search(records, against_reference),),
            (by_seed(records),),
        ),
        drawings=tuple(drawings),
        printed=("by_seed", "against_random_search", "ablations"),
    )


# ---- sentences -----------------------------------------------------------------------------------------------


def lead(records: Records, problem: str) -> list[str]:
    """Who wins, whether `FULL` is what it must be, and what each ablation shows; `records` of one problem."""
    frame = analysis.overview(records).set_index("method")
    tested = frame[frame["n"] > 0]
    if tested.empty:
        return [f"No study of {problem} has a test result yet."]
    best = tested["mean_at_k"].idxmax()
    said = [f"{best} has the highest mean test accuracy on {problem}: {percent(tested.loc[best, 'mean_at_k'])}"]
    said[0] += f" (mean@{int(tested.loc[best, 'k'])}, {_of_seeds(tested.loc[best])}). {budget(records)}"
    against = analysis.paired(records, REFERENCE).set_index("method")
    if FULL in against.index and against.loc[FULL, "pairs"] > 0:
        said.append(f"{FULL} against {REFERENCE}: {_verdict(against.loc[FULL], REFERENCE)}")
    if FULL in tested.index:
        worst = tested.loc[FULL, "worst"]
        so_far = "" if tested.loc[FULL, "n"] == tested.loc[FULL, "expected"] else " so far"
        kept = f"holds{so_far}" if worst >= WORST_ALLOWED else "FAILS"
        said.append(
            f"{FULL} must not have one seed below {percent(WORST_ALLOWED)}: this {kept}, its worst seed is at "
            f"{percent(worst)} ({_of_seeds(tested.loc[FULL])})."
        )
    others = analysis.paired(records, FULL).set_index("method")
    rows = [m for m in (*MAIN_ROWS, *ABLATIONS) if m in others.index and m not in (FULL, REFERENCE)]
    for method in rows:
        if others.loc[method, "pairs"] > 0:
            paper = published.ablation_loss(method)
            quoted = "" if paper is None else f" The paper: {paper:+.2f} points."
            said.append(f"{method} against {FULL}: {_verdict(others.loc[method], FULL)}{quoted}")
    unknown = [m for m in rows if others.loc[m, "pairs"] == 0]
    if unknown:
        said.append(f"No seed with a result for both {FULL} and {', '.join(unknown)}: nothing is said of these.")
    cut = [f"{m} (on {int(r['final_cut'])} of {int(r['n'])} seeds)" for m, r in tested.iterrows() if r["final_cut"] > 0]
    if cut:
        said.append(
            f"The budget ended in the final training of {', '.join(cut)}: what was tested there had fewer steps than "
            "the other rows (see final steps), which may be a part of the difference."
        )
    if (frame["n"] < frame["expected"]).any():
        said.append("Runs are missing (see the tables), so all of this may change.")
    return said


def _of_seeds(row: pd.Series) -> str:
    return f"n={seeds(int(row['n']), int(row['expected']))}"


def _verdict(row: pd.Series, reference: str) -> str:
    """A difference with its interval, and what may be concluded from it."""
    points, n = f"{100 * row['difference']:+.1f} points", int(row["pairs"])
    if n == 1:
        return f"{points} on one seed: no interval, no conclusion."
    wins = f"ahead on {row['ahead']} of {n} seeds"
    if math.isnan(row["low"]):
        return f"{points} on each of {n} seeds: equal differences give no interval."
    span = f"{points} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}], {wins}"
    if not analysis.excludes_zero(row["low"], row["high"]):
        return f"{span}; the interval includes zero: no effect is shown, nor is there proof of none."
    if not analysis.excludes_zero(row["t_low"], row["t_high"]):
        return f"{span}; the interval excludes zero, but Student's t interval does not: not enough to conclude."
    return f"{span}; the interval excludes zero: {'above' if row['difference'] > 0 else 'below'} {reference}."


# ---- tables --------------------------------------------------------------------------------------------------


def points(value: float, low: float, high: float) -> str:
    """``+1.2 [-0.3, +2.9]`` percentage points of a share; ``[–]`` where there is no interval."""
    if math.isnan(value):
        return NOT_KNOWN
    span = NOT_KNOWN if math.isnan(low) else f"{100 * low:+.1f}, {100 * high:+.1f}"
    return f"{100 * value:+.1f} [{span}]"


def _ahead(row, count: int) -> str:
    pairs = 0 if pd.isna(row.pairs) else int(row.pairs)
    return f"{int(count)} of {pairs}" if pairs else NOT_KNOWN


def _final_steps(row) -> str:
    steps = sorted({int(s) for s in (row.final_steps_least, row.final_steps_most) if pd.notna(s)})
    cut = f" ({int(row.final_cut)} cut)" if row.final_cut > 0 else ""
    return ("-".join(str(s) for s in steps) or NOT_KNOWN) + cut


def overview(records: Records) -> Table:
    """One row per method and ablation, each against `FULL`."""
    frame, name = analysis.overview(records), row_name(records)
    k = "/".join(str(int(v)) for v in sorted(frame["k"].dropna().unique())) or "k"
    columns = (
        Column("method"), Column("seeds"), Column(f"mean@{k} %"), Column("greedy %", wide=True), Column("worst seed %"),
        Column(f"points to {FULL}"), Column(f"{FULL} ahead"), Column("trials", wide=True),
        Column("s per trial", wide=True), Column("final steps", wide=True), Column("paper %", quoted=True, wide=True),
        Column("paper, points to full", quoted=True),
    )  # fmt: skip
    paper = {m: published.ablation(published.ABLATED.get(m, "")) for m in frame["method"]}
    paper |= {m: published.ablation(published.FULL) for m in (FULL, "jfhpo_paper") if m in paper}
    lost = {m: published.ablation_loss(m) for m in frame["method"]}
    rows = tuple(
        (
            name(r.problem, r.method),
            seeds(r.n, r.expected),
            with_interval(r.mean_at_k, r.mean_at_k_half),
            with_interval(r.greedy, r.greedy_half),
            number(100 * r.worst),
            points(r.difference, r.low, r.high),
            _ahead(r, r.behind),
            number(r.trials),
            number(r.seconds_per_trial, 2),
            _final_steps(r),
            number(paper[r.method], 2),
            NOT_KNOWN if lost[r.method] is None else f"{lost[r.method]:+.2f}",
        )
        for r in frame.itertuples()
    )
    quoted = {"paper_percent": [paper[m] for m in frame["method"]], "paper_points": [lost[m] for m in frame["method"]]}
    return Table(
        name="ablations",
        title=f"The methods, and {FULL} with one mechanism changed at a time",
        columns=columns,
        rows=rows,
        caption=f"{budget(records)} Test accuracy of the recommended configuration, trained on the target: mean over "
        f"seeds ± half of Student's t interval (one seed: over prompts). Points to {FULL}: mean over the seeds that "
        f"both have of the row's mean@{k} less {FULL}'s, below zero {FULL} is better [{INTERVAL}; none for one seed]. "
        f"{FEW} "
        "Trials: of the search, per study. Final steps: of the training that was tested; (cut): studies whose budget "
        "ended in it. The paper's full JF-HPO stands beside jfhpo, which is full here, and beside jfhpo_paper, which "
        "follows the paper to the letter; its ablations are of its own method, ours of jfhpo. Paper: Qwen-2.5 7B on "
        f"GSM8K; {NOT_OURS}.",
        data=with_errors(frame.drop(columns="reference").assign(**quoted), records),
        errors=error_rows(records),
    )


def against_random_search(records: Records, frame: pd.DataFrame) -> Table:
    """Each row of the table against the search that knows nothing."""
    name = row_name(records)
    rows = tuple(
        (
            name(r.problem, r.method), f"{r.pairs}", points(r.difference, r.low, r.high),
            points(r.difference, r.t_low, r.t_high), _ahead(r, r.ahead), _ahead(r, r.tied),
        )
        for r in frame.itertuples()
    )  # fmt: skip
    return Table(
        name="against_random_search",
        title=f"Each method against {REFERENCE}",
        columns=(
            Column("method"), Column("seeds of both"), Column("points, BCa"), Column("points, t", wide=True),
            Column("ahead"), Column("tied", wide=True),
        ),
        rows=rows,
        caption=f"Mean over the seeds that both have of the row's test mean@k less {REFERENCE}'s, in points "
        f"[{INTERVAL}; beside it Student's t; none for one seed], and on how many of these seeds the row is ahead. "
        f"{FEW}",
        data=with_errors(frame, records),
        errors=error_rows(records),
    )  # fmt: skip


def by_seed(records: Records) -> Table:
    """What the means are made of: every seed's test accuracy."""
    tables = {p: scores(records, p) for p in records.problems()}
    methods, several = figures.methods_of(records), len(tables) > 1
    rows = tuple(
        (f"{problem}: {seed}" if several else str(seed), *(number(100 * values.get(m, math.nan)) for m in methods))
        for problem, table in tables.items()
        for seed, values in table.iterrows()
    )
    data = pd.concat([t.reset_index().assign(problem=p) for p, t in tables.items()])
    return Table(
        name="by_seed",
        title="Test mean@k in % by seed",
        columns=(Column("seed"), *(Column(m, wide=m not in MAIN_ROWS) for m in methods)),
        rows=rows,
        caption=f"{NOT_KNOWN}: no result; the table of ablations names the command that makes it.",
        data=data[["problem", "seed", *methods]],
    )


def published_ablation() -> Table:
    """The paper's ablation."""
    frame = published.quotable("ablation")
    full = published.ablation(published.FULL)
    return Table(
        name="published_ablation",
        title="Published: ablation of JF-HPO (arXiv 2606.03073)",
        columns=(
            Column("model"), Column("task", words=True), Column("variant", words=True), Column("test %", quoted=True),
            Column("points to full", quoted=True),
        ),
        rows=tuple(
            (r.model, r.task, r.variant, f"{r.accuracy:.2f}", f"{r.accuracy - full:+.2f}")
            for r in frame.itertuples()
        ),
        caption="The paper's own numbers, read in summaries of it, not in the paper itself; neither an interval nor a "
        f"number of seeds was recovered. These are {NOT_OURS}.",
        data=frame,
    )  # fmt: skip
