"""The benchmark: every method on several problems, what tells them apart, and what does not."""

from __future__ import annotations

import math

import pandas as pd

from experiments.benchmark import analysis
from experiments.benchmark.analysis import OURS
from experiments.gather import FINISHED, Records, method_rank
from experiments.statistics import comparisons
from experiments.statistics.comparisons import ALPHA
from experiments.statistics.intervals import RESAMPLES
from paper_figures import comparison_figures as drawn
from paper_figures import published
from paper_figures.formats import NOT_KNOWN, Column, Table, percent
from paper_figures.pages import Drawing, Page
from paper_figures.published import PAPER_NAME
from paper_figures.tables import (
    NOT_OURS,
    budget,
    efficiency,
    number,
    published_accuracy,
    published_efficiency,
    share_in,
    with_interval,
)

TEST = f"paired permutation test, Holm-corrected, α = {ALPHA:.2g}"
BOOTSTRAP = f"95 % bootstrap, seeds drawn within problems, {RESAMPLES:,} resamples, a seeded generator"


def page(records: Records) -> Page:
    compared, curves, gaps = analysis.blocks(records), analysis.curves(records), analysis.missing(records)
    times, pairs = analysis.times(records, curves), comparisons.pairwise(compared)
    drawings = [Drawing("anytime", drawn.anytime(records, curves), drawn.ANYTIME)]
    if len(compared) > 1 and len(compared.columns) > 2:
        drawings.append(Drawing("critical_difference", drawn.critical_difference(compared), drawn.RANKS))
    if len(compared.columns) > 1 and len(compared):
        drawings.append(Drawing("win_rates", drawn.win_rates(comparisons.win_rates(compared)), drawn.WINS))
    return Page(
        lead=lead(records, compared, pairs, gaps),
        tables=(
            (accuracy(records, compared, gaps), published_accuracy()),
            (time_to_target(records, times, gaps), all_times(times)),
            (efficiency(records), published_efficiency()),
            (win_rates(compared, gaps),),
            (significance(compared, pairs, gaps),),
        ),
        drawings=tuple(drawings),
        printed=("time_to_target", "benchmark"),
    )


# ---- sentences -----------------------------------------------------------------------------------------------


def lead(records: Records, compared: pd.DataFrame, pairs: pd.DataFrame, gaps: pd.DataFrame) -> tuple[str, ...]:
    """Who is ahead on average, who is significantly behind, and what the number of runs allows to say."""
    methods, n = len(compared.columns), len(compared)
    if n == 0:
        return ("There is no seed of any problem with a result of every method yet: nothing is compared.",)
    means = compared.groupby(level="problem").mean().mean().sort_values(ascending=False, kind="stable")
    best = means.index[0]
    said = [
        f"{best} has the highest mean test accuracy over {_blocks(compared)}: {percent(means[best])}. {budget(records)}"
    ]
    if methods < 2:
        return (f"{said[0]} It is the only method with a result: nothing to compare.",)
    behind = [m for m in means.index if m != best and not pairs[(pairs["better"] == best) & _of(pairs, m)].empty]
    level = [m for m in means.index[1:] if m not in behind]
    if pairs["p"].isna().all():
        said.append("With one block there is nothing to test: not a ranking.")
    elif not (pairs["better"] != "").any():
        said.append(f"No method is significantly better than any other: not a ranking. {_power(n, len(pairs))}")
    else:
        alike = f"; not distinguishable from it: {', '.join(level)}" if level else ""
        said.append(f"{best} is significantly better than {', '.join(behind) or 'none'} ({TEST}){alike}.")
    statistic, p = comparisons.friedman(compared)
    if not math.isnan(p):
        cd = comparisons.critical_difference(methods, n)
        verdict = "methods differ in rank" if p < ALPHA else "no difference in rank is shown"
        said.append(
            f"Friedman's test: χ² = {statistic:.1f}, p = {_p(p)}: {verdict}. Critical difference: {cd:.2f} ranks."
        )
    if len(gaps):
        left = int(gaps["runs"].sum())
        total = left + int((records.studies["state"] == FINISHED).sum())
        said.append(f"{left} of {total} runs are missing (see the tables), so all of this may change.")
    return tuple(said)


def _of(pairs: pd.DataFrame, method: str) -> pd.Series:
    return (pairs["a"] == method) | (pairs["b"] == method)


def _blocks(compared: pd.DataFrame) -> str:
    problems = compared.index.get_level_values("problem").nunique()
    return f"{problems} problem{'s' * (problems != 1)} and {len(compared)} block{'s' * (len(compared) != 1)}"


def _power(blocks: int, pairs: int) -> str:
    """What could be found at all."""
    least = comparisons.least_p(blocks) * pairs
    if least < ALPHA:
        return ""
    possible = _p(min(least, 1.0))
    return (
        f"Nor could one be: with {blocks} blocks the smallest possible p, corrected for {pairs} pairs, is {possible}."
    )


def _p(value: float) -> str:
    return NOT_KNOWN if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


# ---- tables --------------------------------------------------------------------------------------------------


def _errors(gaps: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    return tuple((f"{g.problem}: {g.method} seed={g.seeds}", g.message) for g in gaps.itertuples())


def _compared_on(compared: pd.DataFrame) -> str:
    return f"Compared on the blocks (problem, seed) that all methods with a result share: {_blocks(compared)}."


def accuracy(records: Records, compared: pd.DataFrame, gaps: pd.DataFrame) -> Table:
    """The twin of the paper's Table 2."""
    frame, problems = analysis.accuracy(records), records.problems()
    heads = analysis.headings(records)
    columns = (
        Column("method"), *(Column(f"{heads[p]} %", wide=len(problems) > 3) for p in problems),
        Column("average %"), Column("IQM %", wide=True), Column("mean rank"), Column("paper %", quoted=True),
    )  # fmt: skip
    rows, bold = [], set()
    for i, r in enumerate(frame.to_dict("records")):
        paper = published.accuracy(r["method"])
        rows.append(
            (
                r["method"],
                *(with_interval(r[p], r[f"{p}_half"]) if r[f"{p}_seeds"] > 1 else number(100 * r[p]) for p in problems),
                *(share_in(*(r[f"{name}{end}"] for end in ("", "_low", "_high"))) for name in ("average", "iqm")),
                number(r["rank"], 2),
                number(paper, unknown="not recovered" if r["method"] in PAPER_NAME else NOT_KNOWN),
            )
        )
        bold |= {(i, 1 + j) for j, p in enumerate(problems) if r[f"{p}_bold"]}
        if r["average_bold"]:
            bold.add((i, 1 + len(problems)))
    models = " and ".join(published.common_models())
    said = [
        f"{budget(records)} Test mean@k of the recommended configuration, trained on the target: mean over seeds ± the",
        "half of Student's t interval (none for one seed); the average of the problems' means and the interquartile",
        f"mean of all runs (IQM), in [ ] {BOOTSTRAP}. Mean rank: 1 is best, ties share theirs.",
        _compared_on(compared),
        f"Bold: the best and every method that none is significantly better than ({TEST}, over the pairs of a column);",
        "a column without bold tells no methods apart.",
        *_unable(compared),
        f"{NOT_KNOWN}: no result. Paper: mean, taken here, of its test averages over {models}; {NOT_OURS}.",
    ]
    return Table(
        name="benchmark",
        title="Test accuracy of every method on every problem",
        columns=columns,
        rows=tuple(rows),
        caption=" ".join(said),
        data=frame.assign(
            paper_percent=[published.accuracy(m) for m in frame["method"]],
            error=["; ".join(gaps.loc[gaps["method"] == m, "message"]) for m in frame["method"]],
        ),
        errors=_errors(gaps),
        bold=frozenset(bold),
    )


def _unable(compared: pd.DataFrame) -> list[str]:
    """Which columns could not have bold whatever the results."""
    methods = len(compared.columns)
    seeds = compared.groupby(level="problem").size().max() if len(compared) else 0
    if methods < 2 or comparisons.least_p(seeds) * methods * (methods - 1) / 2 < ALPHA:
        return []
    return [f"With {seeds} seeds a single problem's column cannot have any: its smallest possible p is too large."]


def time_to_target(records: Records, times: pd.DataFrame, gaps: pd.DataFrame) -> Table:
    """How much sooner our methods reach what each other method ends at."""
    ours = [m for m in OURS if m in set(times["a"])]
    others = sorted(set(times["b"]), key=method_rank)
    known = times.set_index(["a", "b"])
    rows = []
    for b in others:
        cells = []
        for a in ours:
            row = known.loc[(a, b)] if (a, b) in known.index else None
            cells += [NOT_KNOWN] * 2 if row is None else [times_sooner(row), f"{row['reached']} of {row['pairs']}"]
        rows.append((b, *cells))
    heads = [h for a in ours for h in (Column(f"{a}: times sooner"), Column("reached"))]
    return Table(
        name="time_to_target",
        title="How much sooner each method's final score is reached",
        columns=(Column("final score of"), *heads),
        rows=tuple(rows),
        caption=f"{budget(records)} For each problem and seed: the time at which the row's method first had its final "
        "best validation score on the target, divided by the time at which the column's method first had that score "
        f"or more: above one, it is sooner. Median over problems and seeds (of logarithms) [{BOOTSTRAP}]. A run that "
        "never gets there within the budget is counted by what is known: its ratio is below the row's own time by the "
        "budget. < marks a median among such runs, and an interval holds whatever their ratios are. Reached: runs "
        "that got there, of those compared. The best of noisy validations is high by luck too.",
        data=times.assign(
            error=["; ".join(gaps.loc[gaps["method"].isin([r.a, r.b]), "message"]) for r in times.itertuples()]
        ),
        errors=_errors(gaps),
    )


def times_sooner(row: pd.Series) -> str:
    """``2.3 [1.2, 4.0]``; ``<0.8 [0, 1.1]`` where the median is only known to be below."""
    text = f"{'<' if row['at_most'] else ''}{row['ratio']:.2f}"
    return text if math.isnan(row["low"]) else f"{text} [{row['low']:.2g}, {row['high']:.2g}]"


def all_times(times: pd.DataFrame) -> Table:
    """The medians of all pairs."""
    methods = sorted({*times["a"], *times["b"]}, key=method_rank)
    known = times.set_index(["a", "b"])
    cells = {
        pair: f"{'<' if r['at_most'] else ''}{r['ratio']:.2f} ({r['reached']}/{r['pairs']})"
        for pair, r in known.iterrows()
    }
    return Table(
        name="all_times",
        title="How many times sooner the row reaches the final score of the column",
        columns=(Column("method"), *(Column(b, wide=True) for b in methods)),
        rows=tuple((a, *(cells.get((a, b), NOT_KNOWN) for b in methods)) for a in methods),
        caption="Median ratio, and runs that got there of those compared; as in the table above.",
        data=times,
    )


def win_rates(compared: pd.DataFrame, gaps: pd.DataFrame) -> Table:
    """How often the row is ahead of the column."""
    frame = comparisons.win_rates(compared)
    known = frame.set_index(["a", "b"])
    return Table(
        name="win_rates",
        title="Share of blocks in which the row is ahead of the column, in %",
        columns=(Column("method"), *(Column(b, wide=True) for b in compared.columns)),
        rows=_matrix(compared, {pair: share_in(r["rate"], r["low"], r["high"]) for pair, r in known.iterrows()}),
        caption=f"By test mean@k, a tie counting half [95 % Wilson]. {_compared_on(compared)}",
        data=frame,
        errors=_errors(gaps),
    )


def _matrix(compared: pd.DataFrame, cells: dict[tuple[str, str], str]) -> tuple[tuple[str, ...], ...]:
    methods = list(compared.columns)
    return tuple((a, *(cells.get((a, b), NOT_KNOWN if a != b else "") for b in methods)) for a in methods)


def significance(compared: pd.DataFrame, pairs: pd.DataFrame, gaps: pd.DataFrame) -> Table:
    """Differences of all pairs, the significant ones in bold."""
    methods = list(compared.columns)
    both = pd.concat([pairs, pairs.assign(a=pairs["b"], b=pairs["a"], difference=-pairs["difference"])])
    known = both.set_index(["a", "b"])
    cells = {pair: f"{100 * r['difference']:+.1f} ({_p(r['p_holm'])})" for pair, r in known.iterrows()}
    bold = {(methods.index(a), 1 + methods.index(b)) for (a, b), r in known.iterrows() if r["better"] != ""}
    return Table(
        name="significance",
        title="Points by which the row is ahead of the column (corrected p)",
        columns=(Column("method"), *(Column(b, wide=len(methods) > 4) for b in methods)),
        rows=_matrix(compared, cells),
        caption=f"Mean over problems of the mean difference in test mean@k. {_compared_on(compared)} p: two-sided, by "
        f"permutation over blocks (exact up to {comparisons.EXACT_UP_TO} blocks), corrected for {len(pairs)} pairs "
        f"(Holm). Bold: below {ALPHA:.2g}. The CSV file has the paired bootstrap interval of every difference.",
        data=comparisons.with_intervals(pairs, compared),
        errors=_errors(gaps),
        bold=frozenset(bold),
    )
