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
EXACT_UP_TO = 16
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
    begun = scores.dropna(axis="columns", how="all")
    return begun.dropna(axis="index", how="any") if len(begun.columns) else begun.iloc[:0]


def by_problem(scores: pd.DataFrame) -> list[np.ndarray]:
    """The rows of each problem, in the order of the problems: arrays of shape (its blocks, methods)."""
    return [finite(group) for _, group in scores.groupby(level="problem", sort=False)]


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


def permutation_p(differences: np.ndarray) -> np.ndarray:
    """Two-sided p of the paired permutation test (Fisher 1935), of each column of differences (pairs, comparisons): how
    often a mean at least so far from zero comes about when each difference's sign is a coin's.

    Exact up to `EXACT_UP_TO` pairs, beyond from random patterns, the one seen being one more. Equal pairs (two methods
    that recommend the same) need no special rule. NaN below two pairs.
    """
    values = finite(differences)
    pairs = len(values)
    if pairs < 2:
        return np.full(values.shape[1:], math.nan)
    exact = pairs <= EXACT_UP_TO
    if exact:
        drawn = (np.arange(2**pairs)[:, None] >> np.arange(pairs)) & 1
    else:
        drawn = np.random.default_rng(0).integers(2, size=(RESAMPLES, pairs))
    means = (2.0 * drawn - 1) @ values / pairs
    as_far = (np.abs(means) >= np.abs(values.mean(axis=0)) - EQUAL).sum(axis=0)
    return as_far / 2**pairs if exact else (as_far + 1) / (RESAMPLES + 1)


def least_p(pairs: int) -> float:
    """The smallest p that `permutation_p` can give. Of n pairs it is 2/2ⁿ, those patterns whose signs are all alike:
    with five seeds 0.0625, so that nothing can be significant at 5 %."""
    return 2.0 / 2**pairs if pairs <= EXACT_UP_TO else 1.0 / (RESAMPLES + 1)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values corrected for their number (Holm 1979), so that the chance of any false finding is at most α."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(finite(p_values), method="holm")[1] if len(p_values) else np.asarray(p_values, dtype=float)


def pairwise(scores: pd.DataFrame) -> pd.DataFrame:
    """A row per pair of methods: ``a``, ``b``, ``blocks``, ``difference`` (mean over problems of the mean of a less b),
    ``p`` (`permutation_p` over blocks), ``p_holm`` over all pairs, and ``better``: the method that is significantly
    ahead, or an empty string."""
    pairs = list(combinations(range(len(scores.columns)), 2))
    first, second = (np.array([pair[i] for pair in pairs], dtype=int) for i in (0, 1))
    strata = by_problem(scores)
    # Every problem counts the same, in the test as in the mean, where some have fewer seeds than others.
    weighted = [s * len(scores) / (len(strata) * len(s)) for s in strata] or [np.empty((0, len(scores.columns)))]
    values = np.concatenate(weighted)
    differences = values[:, first] - values[:, second]
    found = pd.DataFrame({"a": scores.columns[first], "b": scores.columns[second], "blocks": len(scores)})
    found["difference"] = differences.mean(axis=0) if len(scores) else math.nan
    found["p"] = permutation_p(differences)
    found["p_holm"] = holm(found["p"]) if found["p"].notna().all() else math.nan
    ahead = np.where(found["difference"] > 0, found["a"], found["b"])
    found["better"] = np.where(found["p_holm"] < ALPHA, ahead, "")
    return found


def with_intervals(pairs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """`pairwise` with the paired bootstrap interval of every difference, ``low`` and ``high``."""
    strata = [pd.DataFrame(s, columns=scores.columns) for s in by_problem(scores)]
    ends = [
        difference_interval([s[r.a] - s[r.b] for s in strata]) if strata else NO_INTERVAL for r in pairs.itertuples()
    ]
    return pairs.assign(low=[low for low, _ in ends], high=[high for _, high in ends])


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
