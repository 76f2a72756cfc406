"""How well each law fits whole curves, and how far off its forecast of the final reward is from a part of one.

The final reward is the mean training reward of the last `FINAL` steps, noise of some hundred rollouts included, so no
forecast can be without error. Forecasts stand beside two that need no law: the reward has stayed, and will stay, at the
mean of the last 5 or 10 steps seen. Intervals of medians are 95 % bootstrap percentiles over configurations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from experiments.scaling_law.curves import RewardCurve, problems_of
from experiments.statistics.intervals import percentiles
from jfhpo.dynamics.scaling_law import LAWS, LEAST, fit, forecast, phases

SEEN = (0.2, 0.4, 0.6, 0.8)
"""Shares of the run after which the rest is foretold."""
HEADLINE = 0.4
"""The one that the first sentence is about."""
FINAL = 5
LEVEL, DRAWS = 0.8, 100
"""Of a forecast's interval."""
NAIVE = {"last 5 steps": 5, "last 10 steps": 10}
RESAMPLES = 1000
ALL = "all"
"""All problems together."""


def reward_range(curve: RewardCurve) -> tuple[float, float] | None:
    """[0, 1] where the rewards keep to it, as those of right and wrong answers do."""
    return (0.0, 1.0) if curve.rewards.min() >= 0 and curve.rewards.max() <= 1 else None


def whole_fits(curves: Sequence[RewardCurve]) -> pd.DataFrame:
    """One row per curve and law: ``curve`` (its number), ``problem``, ``model``, ``configuration``, ``law``, ``rmse``
    around the least-squares curve, ``r2``, ``bic`` (Schwarz 1978, normal noise), and ``slow_until`` and
    ``plateau_from`` as shares of the run (infinity: beyond its end). Curves too short to fit are left out."""
    rows = []
    for number, curve in enumerate(curves):
        if curve.horizon < LEAST:
            continue
        for name in LAWS:
            fitted, n = fit(curve.rewards, curve.horizon, name, reward_range(curve)), curve.horizon
            squares = max(float(np.sum(fitted.residuals() ** 2)), 1e-12)
            bic = n * math.log(squares / n) + fitted.law.parameters * math.log(n)
            row = _key(curve, name) | {"curve": number, "rmse": math.sqrt(squares / n), "r2": fitted.r2(), "bic": bic}
            ends = phases(fitted)
            for end in ("slow_until", "plateau_from"):
                reached = getattr(ends, end)
                row[end] = math.inf if reached is None else reached
            rows.append(row)
    columns = ["curve", "problem", "model", "configuration", "law", "rmse", "r2", "bic", "slow_until", "plateau_from"]
    return pd.DataFrame(rows, columns=columns)


def forecasts(curves: Sequence[RewardCurve], seen: Sequence[float] = SEEN) -> pd.DataFrame:
    """One row per curve, share seen and law or naive forecast: ``error`` (forecast less truth, in reward) and, for
    laws, whether the truth lies ``inside`` the interval, and its ``width``. What is too short to fit has no row."""
    rows = []
    for curve in curves:
        last = range(curve.horizon - FINAL + 1, curve.horizon + 1)
        truth = float(curve.rewards[-FINAL:].mean())
        for share in seen:
            n = round(share * curve.horizon)
            if not LEAST <= n <= curve.horizon - FINAL:
                continue
            for name, width in NAIVE.items():
                stays = float(curve.rewards[max(0, n - width) : n].mean())
                rows.append(_key(curve, name) | {"seen": share, "error": stays - truth})
            for name in LAWS:
                fitted = fit(curve.rewards[:n], curve.horizon, name, reward_range(curve))
                told = forecast(fitted, last, LEVEL, DRAWS)
                rows.append(
                    _key(curve, name)
                    | {"seen": share, "error": told.mean - truth, "inside": float(told.low <= truth <= told.high)}
                    | {"width": told.high - told.low}
                )
    names = ["problem", "model", "configuration", "law", "seen", "error", "inside", "width"]
    return pd.DataFrame(rows, columns=names)


def _key(curve: RewardCurve, law: str) -> dict[str, str]:
    return {"problem": curve.problem, "model": curve.model, "configuration": curve.configuration, "law": law}


def forecast_table(told: pd.DataFrame) -> pd.DataFrame:
    """One row per problem (and `ALL` of several), law and share seen: ``curves``, ``median`` absolute error with
    ``low`` and ``high``, ``mean`` absolute error, ``bias`` (median error), and ``inside`` and ``width`` of the
    intervals."""
    rows = []
    for problem, law, seen, part in _groups(told, "seen"):
        absolute = part["error"].abs()
        low, high = median_interval(absolute.to_numpy(float), part["configuration"])
        rows.append(
            {"problem": problem, "law": law, "seen": seen, "curves": len(part), "median": absolute.median()}
            | {"low": low, "high": high, "mean": absolute.mean(), "bias": part["error"].median()}
            | {"inside": part["inside"].mean(), "width": part["width"].median()}
        )
    names = ["problem", "law", "seen", "curves", "median", "low", "high", "mean", "bias", "inside", "width"]
    return pd.DataFrame(rows, columns=names)


def fit_table(fits: pd.DataFrame) -> pd.DataFrame:
    """One row per problem (and `ALL` of several) and law: ``curves``, medians of ``rmse``, ``r2`` and of the ends of
    the phases (infinity where more than half of the curves do not get there), and the share of curves on which the law
    is ``best`` by BIC."""
    lowest = fits.groupby("curve")["bic"].transform("min")
    marked, rows = fits.assign(best=fits["bic"] <= lowest), []
    for problem, law, _, part in _groups(marked, None):
        medians = part[["rmse", "r2", "slow_until", "plateau_from"]].median().to_dict()
        rows.append({"problem": problem, "law": law, "curves": len(part), "best": part["best"].mean()} | medians)
    names = ["problem", "law", "curves", "rmse", "r2", "best", "slow_until", "plateau_from"]
    return pd.DataFrame(rows, columns=names)


def _groups(frame: pd.DataFrame, by: str | None):
    """(problem, law, value of `by`, rows), `ALL` problems last where there are several."""
    problems = list(dict.fromkeys(frame["problem"]))
    for problem in [*problems, *([ALL] if len(problems) > 1 else [])]:
        here = frame if problem == ALL else frame[frame["problem"] == problem]
        for law, of_law in here.groupby("law", sort=False):
            for value, part in of_law.groupby(by) if by else [(None, of_law)]:
                yield problem, law, value, part


def median_interval(values: np.ndarray, clusters: Sequence[str]) -> tuple[float, float]:
    """`cluster_interval` of the median."""
    return cluster_interval(values, clusters, np.median)


def cluster_interval(
    values: np.ndarray, clusters: Sequence[str], statistic: Callable[[np.ndarray], float]
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of `values` (n, ...) with whole clusters drawn with replacement; NaN
    where there is one cluster only."""
    _, which = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    members = [np.flatnonzero(which == cluster) for cluster in range(which.max(initial=-1) + 1)]
    if len(members) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    draws = rng.integers(len(members), size=(RESAMPLES, len(members)))
    return percentiles(np.array([statistic(values[np.concatenate([members[m] for m in draw])]) for draw in draws]))


def headline(table: pd.DataFrame, problem: str) -> pd.DataFrame:
    """The rows of `forecast_table` at `HEADLINE`, the least median error first."""
    rows = table[(table["problem"] == problem) & (table["seen"] == HEADLINE)]
    return rows.sort_values("median", kind="stable")


def widest(curves: Sequence[RewardCurve]) -> str:
    """The problem that sentences are about: `ALL` of several."""
    names = problems_of(curves)
    return names[0] if len(names) == 1 else ALL
