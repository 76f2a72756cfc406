"""Which methods differ: win rates, paired tests, ranks, and how much sooner one reaches what another ends at.

`scores` is a table of test accuracies, higher is better: a row per block (problem, seed), a column per method,
complete (`score_table`). Studies of one problem and seed share training seed, test prompts and budget, so methods are
compared within blocks. The blocks are what is drawn at random: conclusions are about these problems, with other seeds.
"""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from scipy import stats

from experiments.statistics.intervals import (
    EQUAL,
    LEVEL,
    NO_INTERVAL,
    RESAMPLES,
    difference_interval,
    finite,
    wilson,
)

BLOCK = ["problem", "seed"]
ALPHA = 1 - LEVEL
EXACT_UP_TO = 13
"""Pairs up to which all 2ⁿ sign patterns are tried; beyond, as many random ones as `RESAMPLES`."""


def score_table(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """`scores` from one row per run with the columns problem, seed, method and `value`.

    Raises:
        ValueError: for a run that is missing, there twice, or without a finite value, named.
    """
    twice = rows[rows.duplicated([*BLOCK, "method"])]
    if len(twice):
        raise ValueError(f"runs that are there twice: {_named(twice)}")
    table = rows.pivot(index=BLOCK, columns="method", values=value).astype(float)
    gaps = table.stack(future_stack=True).rename("value").reset_index()
    if len(gaps := gaps[~np.isfinite(gaps["value"])]):
        raise ValueError(f"runs without a {value}: {_named(gaps)}; make them first, a missing run is no number")
    return table[list(dict.fromkeys(rows["method"]))]


def _named(rows: pd.DataFrame) -> str:
    return ", ".join(f"{r.problem} {r.method} seed={r.seed}" for r in rows.itertuples())


def complete(scores: pd.DataFrame) -> pd.DataFrame:
    """The part of an unfinished benchmark that can be compared: methods with any score, and the blocks in which all of
    these have one. What a caller leaves out so, it has to say."""
    return scores.dropna(axis="columns", how="all").dropna(axis="index", how="any")


def by_problem(values: pd.Series) -> list[np.ndarray]:
    """The values of each problem's blocks, in the order of the problems."""
    return [finite(group) for _, group in values.groupby(level="problem", sort=False)]


# ---- win rates -------------------------------------------------------------------------------------------------


def win_rates(scores: pd.DataFrame) -> pd.DataFrame:
    """A row per ordered pair of methods: ``a``, ``b``, ``blocks``, ``wins`` and ``ties`` of a, and ``rate``: the share
    of blocks in which a is ahead, a tie counting half, with the Wilson interval ``low``, ``high``."""
    finite(scores)
    rows = []
    for a, b in permutations(scores.columns, 2):
        difference = (scores[a] - scores[b]).to_numpy()
        wins, ties = int((difference > EQUAL).sum()), int((np.abs(difference) <= EQUAL).sum())
        n, won = len(difference), wins + ties / 2
        low, high = wilson(won, n)
        row = {"a": a, "b": b, "blocks": n, "wins": wins, "ties": ties, "rate": won / n if n else math.nan}
        rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows, columns=["a", "b", "blocks", "wins", "ties", "rate", "low", "high"])


# ---- paired tests ----------------------------------------------------------------------------------------------


def permutation_p(differences: np.ndarray) -> float:
    """Two-sided p of the paired permutation test (Fisher 1935): how often a mean difference at least so far from zero
    comes about when each difference's sign is a coin's. Exact up to `EXACT_UP_TO` pairs, and equal pairs (two methods
    that recommend the same) need no special rule. NaN below two pairs; 1 where no pair differs."""
    values = finite(differences)
    if len(values) < 2:
        return math.nan
    if np.abs(values).max() <= EQUAL:
        return 1.0
    found = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", vectorized=True, rng=np.random.default_rng(0),
        n_resamples=2**EXACT_UP_TO if len(values) <= EXACT_UP_TO else RESAMPLES,
    )  # fmt: skip
    return min(float(found.pvalue), 1.0)


def least_p(blocks: int) -> float:
    """The smallest p that `permutation_p` can give: both sign patterns that are all alike, of 2ⁿ. With five seeds it is
    0.0625: nothing can be significant at 5 %."""
    return 2.0 / 2**blocks if blocks <= EXACT_UP_TO else 2.0 / (RESAMPLES + 1)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values corrected for their number (Holm 1979), so that the chance of any false finding is at most α."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(finite(p_values), method="holm")[1] if len(p_values) else np.asarray(p_values, dtype=float)


def pairwise(scores: pd.DataFrame) -> pd.DataFrame:
    """A row per pair of methods: ``a``, ``b``, ``blocks``, ``difference`` (mean over problems of the mean of a less b)
    with its paired bootstrap interval ``low``, ``high``, ``p`` (`permutation_p` over blocks), ``p_holm`` over all
    pairs, and ``better``: the method that is significantly ahead, or an empty string."""
    rows = []
    for a, b in combinations(scores.columns, 2):
        difference = scores[a] - scores[b]
        strata = by_problem(difference)
        low, high = difference_interval(strata) if strata else NO_INTERVAL
        # Every problem counts the same, in the test as in the mean, where some have fewer seeds than others.
        weighted = [s * len(difference) / (len(strata) * len(s)) for s in strata]
        values = np.concatenate(weighted) if strata else np.empty(0)
        mean = float(values.mean()) if strata else math.nan
        row = {"a": a, "b": b, "blocks": len(values), "difference": mean, "low": low, "high": high}
        rows.append(row | {"p": permutation_p(values)})
    columns = ["a", "b", "blocks", "difference", "low", "high", "p"]
    found = pd.DataFrame(rows, columns=columns)
    found["p_holm"] = holm(found["p"]) if found["p"].notna().all() else math.nan
    sure = found["p_holm"] < ALPHA
    found["better"] = np.where(sure, np.where(found["difference"] > 0, found["a"], found["b"]), "")
    return found


def bold(scores: pd.DataFrame, pairs: pd.DataFrame) -> set[str]:
    """The methods to set in bold: the best by mean and every one that no method is significantly better than; none
    where no method of the table is significantly better than any."""
    sure = pairs[pairs["better"] != ""]
    beaten = set(sure["b"].where(sure["better"] == sure["a"], sure["a"]))
    return set(scores.columns) - beaten if beaten else set()


# ---- ranks -----------------------------------------------------------------------------------------------------


def ranks(scores: pd.DataFrame) -> pd.DataFrame:
    """Rank of each method within its block, 1 the best, ties sharing their mean."""
    finite(scores)
    if scores.empty:
        return scores
    ranked = stats.rankdata(-np.round(scores.to_numpy(float), 9), axis=1)
    return pd.DataFrame(ranked, index=scores.index, columns=scores.columns)


def friedman(scores: pd.DataFrame) -> tuple[float, float]:
    """Friedman's chi-squared and its p: whether any method differs in rank at all (Friedman 1937). NaN for fewer than
    three methods or two blocks, and where every block is all ties."""
    blocks, methods = scores.shape
    ranked = ranks(scores)
    if methods < 3 or blocks < 2 or not np.ptp(ranked.to_numpy(), axis=1).any():
        return math.nan, math.nan
    found = stats.friedmanchisquare(*(ranked[m] for m in ranked.columns))
    return float(found.statistic), float(found.pvalue)


def critical_difference(methods: int, blocks: int, alpha: float = ALPHA) -> float:
    """Nemenyi's CD = q_α·√(k(k + 1)/(6N)): mean ranks farther apart differ (Demšar 2006, section 3.2.2); q_α is the
    studentized range at infinite degrees of freedom by √2. NaN for fewer than two of either."""
    if methods < 2 or blocks < 2:
        return math.nan
    q = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * blocks)))


def nemenyi(scores: pd.DataFrame) -> pd.DataFrame:
    """p of Nemenyi's test for every pair of methods, a symmetric table with ones on its diagonal."""
    import scikit_posthocs

    found = scikit_posthocs.posthoc_nemenyi_friedman(ranks(scores).to_numpy())
    return pd.DataFrame(found.to_numpy(), index=scores.columns, columns=scores.columns)
