"""From records to who differs from whom: test accuracy over problems, win rates, tests, ranks and time to target.

Pure functions of `experiments.gather.Records` on `experiments.statistics`. A problem is a task with its target. What
compares methods with each other uses the blocks (problem, seed) in which every method with any result has one
(`blocks`); a run that is missing is named with its command, and never a number. Accuracies are shares.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd

from experiments.gather import FINISHED, MISSING, UNTESTED, Records, command, method_rank
from experiments.main import analysis as main
from experiments.statistics import comparisons, time_to_target
from experiments.statistics.intervals import (
    NO_INTERVAL,
    band,
    iqm,
    mean_of_strata,
    pooled_iqm,
    stratified_bootstrap,
    t_half_width,
)

OURS = ("jfhpo", "jfhpo_paper")
"""The methods whose time to the others' scores the first table gives; the second has all pairs."""
TIMES = 200
"""Points of the time grid."""


def scores(records: Records, name: str = "mean_at_k") -> pd.DataFrame:
    """Test accuracy: a row per (problem, seed), a column per method, NaN where there is no result."""
    tables = {problem: main.scores(records, problem, name) for problem in records.problems()}
    found = pd.concat(tables, names=comparisons.BLOCK)
    return found[sorted(found.columns, key=method_rank)]


def blocks(records: Records) -> pd.DataFrame:
    """The `scores` that methods are compared on: `comparisons.complete`."""
    return comparisons.complete(scores(records))


def headings(records: Records) -> dict[str, str]:
    """Problem -> task and target, where that tells the problems apart; else its name."""
    first = records.studies.dropna(subset=["task"]).groupby("problem")[["task", "target"]].first()
    said = {problem: f"{row.task}, {row.target}" for problem, row in first.iterrows()}
    unique = len(set(said.values())) == len(records.problems())
    return said if unique else {problem: problem for problem in records.problems()}


# ---- accuracy ----------------------------------------------------------------------------------------------


def accuracy(records: Records) -> pd.DataFrame:
    """One row per method. Of every problem ``<problem>`` (mean@k, mean over seeds), ``_half`` (of Student's t interval)
    and ``_seeds``; over problems, where the method has a result on each: ``average`` (of the problems' means) and
    ``iqm``, both with ``_low`` and ``_high`` (stratified bootstrap); ``rank`` (mean over `blocks`). ``_bold`` of a
    problem and of the average says what `comparisons.bold` says of its paired tests."""
    table, compared = scores(records), blocks(records)
    rows = {}
    for method in table.columns:
        strata = {p: group.dropna().to_numpy() for p, group in table[method].groupby(level="problem")}
        row: dict[str, float] = {}
        for problem, values in strata.items():
            row[problem] = values.mean() if len(values) else math.nan
            row[f"{problem}_half"], row[f"{problem}_seeds"] = t_half_width(values), len(values)
        rows[method] = row | _over_problems(list(strata.values()))
    found = pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")
    found["rank"] = comparisons.ranks(compared).mean().reindex(found.index)
    for problem in records.problems():
        here = compared[compared.index.get_level_values("problem") == problem]
        found[f"{problem}_bold"] = found.index.isin(_bold(here))
    found["average_bold"] = found.index.isin(_bold(compared))
    return found.reset_index()


def _over_problems(strata: list[np.ndarray]) -> dict[str, float]:
    if not all(map(len, strata)):  # a mean over fewer problems is another quantity
        values = dict.fromkeys(("average", "iqm"), (math.nan, NO_INTERVAL))
    else:
        average = float(np.mean([s.mean() for s in strata]))
        values = {"average": (average, stratified_bootstrap(strata, mean_of_strata))}
        values["iqm"] = (float(iqm(np.concatenate(strata))), stratified_bootstrap(strata, pooled_iqm))
    named = {}
    for name, (value, (low, high)) in values.items():
        named |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return named


def _bold(compared: pd.DataFrame) -> set[str]:
    return comparisons.bold(compared, comparisons.pairwise(compared)) if len(compared) else set()


def missing(records: Records) -> pd.DataFrame:
    """What is not there: problem, method, ``runs`` (how many), seeds (text) and ``message``, which ends in the one
    command that makes them. A method of one problem is expected on all. Studies whose final training left nothing to
    test have a row each: something has to be deleted first."""
    gaps, studies = main.gaps(records), records.studies
    untested = gaps["state"] == UNTESTED
    rows = [(g.problem, g.method, 1, str(g.seed), g.message) for g in gaps[untested].itertuples()]
    grouped = dict(list(gaps[~untested].groupby(["problem", "method"])))
    begun = set(zip(studies["problem"], studies["method"], strict=True))
    for problem, method in product(records.problems(), scores(records).columns):
        states = {MISSING: sorted(studies.loc[studies["problem"] == problem, "seed"].unique())}
        if (problem, method) in begun:
            group = grouped.get((problem, method), gaps[:0])
            states = {state: sorted(some["seed"]) for state, some in group.groupby("state", sort=False)}
        seeds = sorted(seed for some in states.values() for seed in some)
        if seeds:
            what = " and ".join(f"{len(some)} {state}" for state, some in states.items())
            said = ",".join(map(str, seeds))
            message = f"{what}: {_command(records, problem, method, said if len(seeds) == 1 else None)}"
            rows.append((problem, method, len(seeds), said, message))
    return pd.DataFrame(rows, columns=["problem", "method", "runs", "seeds", "message"])


def _command(records: Records, problem: str, method: str, seed: str | None) -> str:
    scales = records.studies["scale"].dropna()
    study = {"problem": problem, "method": method, "scale": scales.iloc[0] if len(scales) else None}
    one = {} if seed is None else {"seed": seed}
    return command(study | one, records.experiment, with_problem=len(records.problems()) > 1)


# ---- time --------------------------------------------------------------------------------------------------


def curves(records: Records) -> pd.DataFrame:
    """The anytime curves of all finished studies: problem and the columns of `main.anytime`."""
    parts = [main.anytime(records, p).assign(problem=p) for p in records.problems()]
    done = records.studies[records.studies["state"] == FINISHED]
    return pd.concat(parts).merge(done[time_to_target.STUDY], on=time_to_target.STUDY)


def times(records: Records, curves: pd.DataFrame) -> pd.DataFrame:
    """`time_to_target.summary` over all problems and seeds of which both methods have a finished study; `curves` of
    the same records."""
    done = records.studies[records.studies["state"] == FINISHED]
    return time_to_target.summary(time_to_target.ratios(curves, done))


def bands(records: Records, problem: str, curves: pd.DataFrame) -> pd.DataFrame:
    """Mean anytime curve of each method on one problem: method, ``seeds``, and the columns of
    `experiments.statistics.intervals.band` on a grid from zero to the budget or the last end of any study; `curves` of
    the same records."""
    found = curves[curves["problem"] == problem]
    columns = ["method", "seeds", "spent", "value", "low", "high"]
    if found.empty:
        return pd.DataFrame(columns=columns)
    end = max(found["spent"].max(), records.of(problem).studies["budget"].max())
    grid = np.linspace(0, end, TIMES)
    parts = []
    for method, own in found.groupby("method", sort=False):
        seeds = [(c["spent"].to_numpy(float), c["best"].to_numpy(float)) for _, c in own.groupby("seed")]
        parts.append(band(seeds, grid).assign(method=method, seeds=len(seeds)))
    return pd.concat(parts)[columns]
