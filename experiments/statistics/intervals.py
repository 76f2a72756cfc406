"""How sure a number is: intervals of means, shares, ratios, differences and curves.

All intervals are at `LEVEL`. Resampling draws from a generator with a fixed seed, so the same records give the same
interval; a percentile interval of few seeds is too narrow (of eight normal values, 95 % holds 88 %). One value gives no
interval (NaN): how it varies was not seen. Values that are not finite are refused, never left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
RESAMPLES = 10_000
EQUAL = 1e-9
"""Scores closer than this are the same; test accuracies are multiples of one answer in thousands."""
NO_INTERVAL = (math.nan, math.nan)

Draws = Sequence[np.ndarray]
"""Resampled values of every stratum, each of shape (resamples, values in the stratum)."""


def finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The values as floats; a `ValueError` where one is not finite: a missing run is an error, never a number."""
    array = np.asarray(values, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError(f"{(~np.isfinite(array)).sum()} of {array.size} values are not finite; a run is missing")
    return array


# ---- means and shares ------------------------------------------------------------------------------------------


def t_half_width(values: Sequence[float]) -> float:
    """Half-width of Student's t interval of a mean: t(n − 1) · s/√n; NaN below two values."""
    n = len(values)
    if n < 2:
        return math.nan
    return float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))


def share_half_width(share: float, n: int) -> float:
    """Half-width of the interval of a share of n prompts: z·√(p̃(1 − p̃)/(n + 4)) with p̃ = (n·share + 2)/(n + 4)
    (Agresti and Coull 1998), which stays above zero for a share of 0 or 1."""
    adjusted = (share * n + 2) / (n + 4)
    return Z * math.sqrt(adjusted * (1 - adjusted) / (n + 4))


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927); it says something at 0 of n, too. Half a success (a tie) may count.
    NaN without trials."""
    if trials == 0:
        return NO_INTERVAL
    share, spread = successes / trials, Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def iqm(values: Sequence[float] | np.ndarray, axis: int | None = None) -> float | np.ndarray:
    """Interquartile mean: of the middle half of the values, a quarter cut off at each end, rounded down
    (Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice"). Runs of all problems are pooled first."""
    return stats.trim_mean(finite(values), 0.25, axis=axis)


# ---- resampling ------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def bootstrap_weights(n: int, seed: int = 0) -> np.ndarray:
    """Multiplicities of `RESAMPLES` draws of n from n with replacement; kept, so read-only."""
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float)
    weights.flags.writeable = False
    return weights


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """The percentile interval of resampled statistics; NaN where most of them are undefined."""
    known = draws[~np.isnan(draws)]
    if len(known) < len(draws) / 2:
        return NO_INTERVAL
    low, high = np.percentile(known, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def stratified_draws(strata: Sequence[Sequence[float]], seed: int = 0) -> list[np.ndarray]:
    """Every stratum's values drawn with replacement within it, as many as it has (Agarwal et al. 2021: strata are the
    problems, values the seeds)."""
    rng, draws = np.random.default_rng(seed), []
    for values in strata:
        array = finite(values)
        draws.append(array[rng.integers(len(array), size=(RESAMPLES, len(array)))])
    return draws


def stratified_bootstrap(
    strata: Sequence[Sequence[float]], statistic: Callable[[Draws], np.ndarray], seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic of several strata; NaN where a stratum has one value only."""
    if min(map(len, strata), default=0) < 2:
        return NO_INTERVAL
    return percentiles(statistic(stratified_draws(strata, seed)))


def mean_of_strata(draws: Draws) -> np.ndarray:
    """Every stratum counts the same, however many values it has."""
    return np.mean([d.mean(axis=-1) for d in draws], axis=0)


def pooled_iqm(draws: Draws) -> np.ndarray:
    """`iqm` over the values of all strata."""
    return iqm(np.concatenate(draws, axis=-1), axis=-1)


def bca_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of a mean (Efron 1987). NaN below two values. Where all values
    are equal there is nothing to draw from: NaN too."""
    values = finite(differences)
    if len(values) < 2 or np.ptp(values) < EQUAL:
        return NO_INTERVAL
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def difference_interval(strata: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Interval of a mean paired difference, the differences by seed within each problem: `bca_interval` for one
    problem; the stratified bootstrap for several, over which an acceleration is not defined."""
    if len(strata) == 1:
        return bca_interval(strata[0])
    return stratified_bootstrap(strata, mean_of_strata)


def bootstrap_ratio(reference: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Percentile interval of mean(reference)/mean(values), seeds of each drawn with replacement; NaN where either
    has one seed."""
    if min(len(reference), len(values)) < 2:
        return NO_INTERVAL
    above, below = (draws.mean(axis=1) for draws in stratified_draws([reference, values]))
    return percentiles(above / below)


def ratio_of_sums(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """Percentile interval of sum(above) / sum(below), pairs drawn with replacement; NaN for a single pair."""
    if len(below) < 2:
        return NO_INTERVAL
    drawn = np.random.default_rng(0).integers(len(below), size=(RESAMPLES, len(below)))
    return percentiles(finite(above)[drawn].sum(axis=1) / finite(below)[drawn].sum(axis=1))


# ---- curves ----------------------------------------------------------------------------------------------------


def at_times(times: Sequence[float], values: Sequence[float], grid: np.ndarray) -> np.ndarray:
    """A step curve, rising `times`, read at the times of `grid`: the last value so far; NaN before the first one."""
    index = np.searchsorted(np.asarray(times, dtype=float), grid, side="right") - 1
    return np.where(index < 0, math.nan, np.asarray(values, dtype=float)[np.maximum(index, 0)])


def band(
    curves: Sequence[tuple[Sequence[float], Sequence[float]]],
    grid: np.ndarray,
    statistic: Callable[..., np.ndarray] = np.mean,
) -> pd.DataFrame:
    """Mean (or `statistic`, such as `np.median`) of the seeds' step curves (times, values) on a common time grid, with
    the percentile interval at each of its times, seeds drawn with replacement: ``spent``, ``value``, ``low``, ``high``.

    It begins where every seed has a value, and a curve that has ended keeps its last. One seed: no interval.
    """
    at = np.array([at_times(times, values, grid) for times, values in curves])
    known = ~np.isnan(at).any(axis=0)
    at = at[:, known]
    found = pd.DataFrame({"spent": grid[known], "value": statistic(at, axis=0), "low": math.nan, "high": math.nan})
    if len(at) > 1 and known.any():
        jumps = np.insert((np.diff(at) != 0).any(axis=0), 0, True)  # between jumps of any curve nothing changes
        drawn = np.random.default_rng(0).integers(len(at), size=(RESAMPLES, len(at)))
        ends = np.array([percentiles(statistic(column[drawn], axis=1)) for column in at[:, jumps].T])
        found[["low", "high"]] = ends[np.cumsum(jumps) - 1]
    return found
