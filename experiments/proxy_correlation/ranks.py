"""Rank correlation under resampling: a resample of n configurations is a row of n multiplicities.

Written so, ten thousand resamples are a few matrix products. A row of ones gives Spearman's rho and Kendall's tau-b
as scipy.stats computes them. Shapes: x and y are (n,), weights (B, n); every result is (B,), NaN where a resample
leaves x or y constant.
"""

from __future__ import annotations

import numpy as np

from experiments.statistics.intervals import RESAMPLES

LEAST = 6
"""Fewest configurations that an interval is given for: resamples of fewer are mostly repetitions."""


def subset_weights(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Multiplicities (0 or 1) of `RESAMPLES` draws of `size` different ones of n."""
    order = np.random.default_rng(seed).random((RESAMPLES, n)).argsort(axis=1)
    return (order < size).astype(float)


def _mid_ranks(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank of each x_i among its resample, (B, n): those below it, and the middle of its ties."""
    below, tied = (x[:, None] < x[None, :]).astype(float), (x[:, None] == x[None, :]).astype(float)
    return weights @ below + (weights @ tied + 1) / 2


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 1e-9)


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the mid-ranks."""
    total = weights.sum(axis=1, keepdims=True)
    centred = []
    for values in (x, y):
        ranks = _mid_ranks(values, weights)
        centred.append(ranks - (weights * ranks).sum(axis=1, keepdims=True) / total)
    a, b = centred
    return _ratio((weights * a * b).sum(1), np.sqrt((weights * a * a).sum(1) * (weights * b * b).sum(1)))


def kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """tau-b = (concordant − discordant pairs)/√(pairs untied in x · pairs untied in y) (Kendall 1945)."""
    signs = [np.sign(values[:, None] - values[None, :]) for values in (x, y)]

    def pairs(matrix: np.ndarray) -> np.ndarray:
        return ((weights @ matrix) * weights).sum(axis=1)

    return _ratio(pairs(signs[0] * signs[1]), np.sqrt(pairs(np.abs(signs[0])) * pairs(np.abs(signs[1]))))


def picked(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The y of the configuration with the highest x in each resample; the mean over them where several share it."""
    there = np.where(weights > 0, x, -np.inf)
    best = weights * (there == there.max(axis=1, keepdims=True))
    return (best * y).sum(axis=1) / best.sum(axis=1)


def lost(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Regret of taking the best by x as it is: the highest y of the resample less `picked`, 0 or more."""
    return np.where(weights > 0, y, -np.inf).max(axis=1) - picked(x, y, weights)
