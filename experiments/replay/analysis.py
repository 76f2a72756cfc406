"""Does the replay rank methods as live studies do? Test accuracies of both side by side, and how their ranks agree.

Pure functions of `experiments.gather.Records`; all else of replayed studies is in `experiments.benchmark.analysis`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from experiments.benchmark.analysis import scores
from experiments.gather import FINISHED, Records
from experiments.statistics.intervals import LEVEL

RESAMPLES = 1000
"""Of the bootstrap: a correlation of eleven ranks is known to two digits by then."""
LEAST = 4
"""Methods below which a correlation of ranks says nothing."""


def side_by_side(replayed: Records, live: Records) -> pd.DataFrame:
    """One row per problem and method that both have: ``replayed`` and ``live`` mean test accuracy over seeds, with
    ``replayed_seeds`` and ``live_seeds``."""
    ours, theirs = scores(replayed), scores(live)
    rows = []
    for problem in sorted(set(ours.index.unique("problem")) & set(theirs.index.unique("problem"))):
        for method in [m for m in ours.columns if m in theirs.columns]:
            a, b = ours.loc[problem, method].dropna(), theirs.loc[problem, method].dropna()
            if len(a) and len(b):
                row = {"problem": problem, "method": method, "replayed": a.mean(), "live": b.mean()}
                rows.append(row | {"replayed_seeds": len(a), "live_seeds": len(b)})
    columns = ["problem", "method", "replayed", "live", "replayed_seeds", "live_seeds"]
    return pd.DataFrame(rows, columns=columns)


def agreement(replayed: Records, live: Records) -> pd.DataFrame:
    """One row per problem that both have, and ``all`` (both averaged over those problems, for methods on each):
    ``methods``, Spearman's ρ of the methods' mean test accuracies with the ``low`` and ``high`` ends of a percentile
    bootstrap that draws live seeds (the few) and replayed ones anew, ``within``: ρ of two halves of the live seeds,
    mean over ways to halve them, and ``possible``: by that noise, ρ of all live seeds with what they are drawn from
    (root of Spearman and Brown's 2·within/(1 + within)), which is what a faithful replay would have."""
    found = side_by_side(replayed, live)
    rows = []
    problems = list(found["problem"].unique())
    for name, some in [*((p, [p]) for p in problems), *([("all", problems)] if len(problems) > 1 else [])]:
        methods = _on_each(found, some)
        a = [_table(scores(replayed), p, methods) for p in some]
        b = [_table(scores(live), p, methods) for p in some]
        rho = _spearman(_means(a), _means(b)) if len(methods) >= LEAST else math.nan
        low, high = _interval(a, b) if len(methods) >= LEAST else (math.nan, math.nan)
        row = {"problem": name, "methods": len(methods), "spearman": rho, "low": low, "high": high}
        within = _within(b) if len(methods) >= LEAST else math.nan
        rows.append(
            row | {"within": within, "possible": math.sqrt(2 * within / (1 + within)) if within > 0 else math.nan}
        )
    return pd.DataFrame(rows, columns=["problem", "methods", "spearman", "low", "high", "within", "possible"])


def _on_each(found: pd.DataFrame, problems: list[str]) -> list[str]:
    counts = found[found["problem"].isin(problems)].groupby("method", sort=False)["problem"].nunique()
    return list(counts[counts == len(problems)].index)


def _table(table: pd.DataFrame, problem: str, methods: list[str]) -> np.ndarray:
    """(seeds, methods), of the seeds that all of these methods have."""
    return table.loc[problem, methods].dropna().to_numpy(float)


def _means(tables: list[np.ndarray]) -> np.ndarray:
    return np.mean([table.mean(axis=0) for table in tables], axis=0)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def _interval(a: list[np.ndarray], b: list[np.ndarray]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        again = [[t[rng.integers(len(t), size=len(t))] for t in tables] for tables in (a, b)]
        drawn.append(_spearman(_means(again[0]), _means(again[1])))
    low, high = np.nanpercentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def _within(b: list[np.ndarray]) -> float:
    """Of halves of the live seeds, drawn at random 200 times; NaN below four seeds."""
    if min(map(len, b)) < 4:
        return math.nan
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for table in b:
            order = rng.permutation(len(table))
            halves[0].append(table[order[: len(table) // 2]])
            halves[1].append(table[order[len(table) // 2 :]])
        found.append(_spearman(_means(halves[0]), _means(halves[1])))
    return float(np.nanmean(found))


def pace(records: Records) -> pd.DataFrame:
    """One row per method: ``studies``, ``trials`` (search trials told, all studies), and ``seconds`` of CPU that the
    method itself took per trial (its ask and tell)."""
    done = records.studies[records.studies["state"] == FINISHED]
    told = records.trials[(records.trials["phase"] == "search") & records.trials["status"].notna()]
    counts = told.groupby("method").size()
    rows = []
    for method, own in done.groupby("method", sort=False):
        trials = int(counts.get(method, 0))
        spent = float(own["optimizer_seconds"].sum())
        rows.append(
            {"method": method, "studies": len(own), "trials": trials}
            | {"seconds": spent / trials if trials else math.nan, "all_seconds": spent}
        )
    return pd.DataFrame(rows)
