"""How much sooner one method reaches the score that another ends at, with those that never do counted honestly.

An anytime curve is the best validation score on the target so far over what was spent. For methods a and b on one
problem and seed, y is the last value of b's curve, T_b when b's own curve first reached it and T_a when a's curve first
did; the ratio T_b/T_a is above one where a is sooner. Where a never reaches y within the budget C, T_a is beyond
C and the ratio is known to be below T_b/C, no more: it is censored. b always reaches its own end, so no ratio is only
known to be above something.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from experiments.statistics.intervals import EQUAL, LEVEL, NO_INTERVAL, RESAMPLES

STUDY = ["problem", "method", "seed"]
RATIOS = ["problem", "seed", "a", "b", "reached", "ratio"]
SUMMARY = ["a", "b", "pairs", "reached", "ratio", "at_most", "low", "high"]


def reaching_time(times: np.ndarray, values: np.ndarray, target: float) -> float:
    """When a rising step curve first is at `target` or above; infinity where it never is."""
    there = np.flatnonzero(np.asarray(values, dtype=float) >= target - EQUAL)
    return float(times[there[0]]) if len(there) else math.inf


def ratios(curves: pd.DataFrame, studies: pd.DataFrame) -> pd.DataFrame:
    """A row per problem, seed and ordered pair of methods: ``a``, ``b``, ``reached`` (whether a reaches b's end) and
    ``ratio``: T_b/T_a, or its upper bound T_b/C where a does not.

    Args:
        curves: problem, method, seed, ``spent`` (rising) and ``best`` (rising).
        studies: problem, method, seed and ``budget`` C of every study that is compared, in the curves' unit. One
            without a curve never had a score on the target: it reaches nothing, and its own end is no target.
    """
    known = {key: (c["spent"].to_numpy(float), c["best"].to_numpy(float)) for key, c in curves.groupby(STUDY)}
    rows = []
    for (problem, seed), block in studies.groupby(["problem", "seed"], sort=False):
        budgets = dict(zip(block["method"], block["budget"].astype(float), strict=True))
        for a, b in permutations(budgets, 2):
            if (problem, b, seed) not in known:
                continue
            target = known[problem, b, seed][1][-1]
            own = reaching_time(*known[problem, b, seed], target)
            mine = known.get((problem, a, seed))
            taken = reaching_time(*mine, target) if mine else math.inf
            # A study that ended early keeps its score to the end of the budget; a last step may lie beyond it.
            censored_at = max(budgets[a], own)
            row = {"problem": problem, "seed": seed, "a": a, "b": b, "reached": taken < math.inf}
            rows.append(row | {"ratio": own / min(taken, censored_at)})
    return pd.DataFrame(rows, columns=RATIOS)


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """A row per ordered pair of methods: ``pairs``, ``reached`` (how many a reached), and the median ratio.

    The median (of logarithms) is taken twice, with every censored ratio at its bound and at zero. ``ratio`` is the
    first; ``at_most`` says that the second differs, so that the median is only known to be below it. ``low`` and
    ``high`` are the lower end of the second's and the upper end of the first's bootstrap interval (seeds within
    problems): an interval that holds whatever the censored ratios are; ``low`` is zero where nothing bounds it.
    """
    rows = []
    for (a, b), pairs in found.groupby(["a", "b"], sort=False):
        problems = [group for _, group in pairs.groupby("problem", sort=False)]
        bounds = [np.log(group["ratio"].to_numpy(float)) for group in problems]
        zeros = [np.where(group["reached"], logs, -math.inf) for group, logs in zip(problems, bounds, strict=True)]
        most, least = (math.exp(np.median(np.concatenate(strata))) for strata in (bounds, zeros))
        low, high = _interval(zeros, bounds)
        row = {"a": a, "b": b, "pairs": len(pairs), "reached": int(pairs["reached"].sum())}
        rows.append(row | {"ratio": most, "at_most": least < most - EQUAL, "low": low, "high": high})
    return pd.DataFrame(rows, columns=SUMMARY)


def _interval(zeros: Sequence[np.ndarray], bounds: Sequence[np.ndarray]) -> tuple[float, float]:
    """Both medians resampled together, of logarithms: the lower end of the one, the upper end of the other."""
    if min(map(len, zeros)) < 2:
        return NO_INTERVAL
    drawn = _drawn(tuple(map(len, zeros)))
    least, most = (np.median(np.concatenate(strata)[drawn], axis=1) for strata in (zeros, bounds))
    # Not interpolated: between a ratio and minus infinity there is nothing.
    low = np.percentile(least, 50 * (1 - LEVEL), method="lower")
    high = np.percentile(most, 50 * (1 + LEVEL), method="higher")
    return math.exp(low), math.exp(high)


@functools.cache
def _drawn(sizes: tuple[int, ...]) -> np.ndarray:
    """Positions drawn with replacement within strata of these sizes that stand one after another."""
    rng, starts = np.random.default_rng(0), np.cumsum((0, *sizes))
    parts = [start + rng.integers(size, size=(RESAMPLES, size)) for start, size in zip(starts, sizes, strict=False)]
    return np.concatenate(parts, axis=1)
