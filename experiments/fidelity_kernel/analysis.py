"""From a recording to the kernels' held-out likelihood: how well each foretells full runs on the target.

For each of many random splits (`experiments.fidelity_kernel.splits`) each of `jfhpo.method.kernels` is fitted to what
is known, as `jfhpo` fits it, and judged on what is held out: log density of the accuracy (nats per observation, noise
included), errors of the mean, and calibration. Kernels are compared on the same splits.

Intervals are 95 % bootstrap percentiles that resample splits and configurations, both (the pigeonhole bootstrap,
Owen 2007): every split is of the same few configurations, so that splits alone would say how well these were judged,
not what another design would show. ``*_splits_*`` resample the splits alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from experiments.fidelity_kernel.splits import NEW, SEEN, TARGET, Curves, curves, split
from experiments.gather import Records
from experiments.statistics.intervals import bootstrap_weights, percentiles
from jfhpo.method.joint_fidelity import JointFidelitySettings
from jfhpo.method.kernels import KERNELS
from jfhpo.method.surrogate import Surrogate

SPLITS = 30
"""Each costs about a second for all kernels."""
LEAST = 12
"""Fewest configurations that are split: eight to learn from and four to be asked about."""
REFERENCE = JointFidelitySettings().kernel
"""The kernel that `jfhpo` uses, and that the others are compared to."""
CASES = (SEEN, NEW)
WITHIN = (0.5, 0.9)
"""Central predictive intervals whose share of the held-out values the table gives."""
MEASURES = [
    "observations", "log_likelihood", "low", "high", "median", "difference", "difference_low", "difference_high",
    "difference_splits_low", "difference_splits_high", "rmse", "spearman",
    *(f"within_{100 * level:.0f}" for level in WITHIN), "fit_seconds", "fit_ratio",
]  # fmt: skip
COLUMNS = ["problem", "kernel", "case", "configurations", "left_out", "splits", *MEASURES]


def held_out(recorded: Curves, seed: int, kernel: str, fit: Callable[..., Any] = Surrogate) -> pd.DataFrame:
    """One row per held-out full run of a split: ``split``, ``kernel``, ``case``, ``configuration``, ``y`` (accuracy),
    ``mean`` and ``sd`` of the prediction (noise included), ``log_likelihood``, and the CPU ``seconds`` of the fit.
    `fit` makes the surrogate from x (n, D) and y (n,)."""
    parts = split(recorded, seed)
    known = tuple(parts.known.T)
    began = time.process_time()
    # Where a fit does not converge BoTorch tries again from a draw of torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        surrogate = fit(recorded.x(*known), recorded.accuracy[known], kernel=kernel)
    seconds, frames = time.process_time() - began, []
    for case, configurations in parts.held_out.items():
        full = (configurations, np.full_like(configurations, TARGET), np.full_like(configurations, -1))
        x, y = recorded.x(*full), recorded.accuracy[full]
        mean, sd = surrogate.predict(x)
        row = {"split": seed, "kernel": kernel, "case": case, "configuration": configurations, "y": y, "mean": mean}
        row |= {"sd": np.hypot(sd, surrogate.noise_sd()), "log_likelihood": surrogate.log_likelihood(x, y)}
        frames.append(pd.DataFrame(row | {"seconds": seconds}))
    return pd.concat(frames, ignore_index=True)


def predictions(records: Records, problem: str, splits: int) -> pd.DataFrame:
    """`held_out` of every kernel on every split; empty where there are fewer than `LEAST` configurations."""
    recorded = curves(records, problem)
    if len(recorded.phi) < LEAST:
        return pd.DataFrame()
    return pd.concat(
        [held_out(recorded, seed, kernel) for seed in range(splits) for kernel in KERNELS], ignore_index=True
    )


def comparison(records: Records, problem: str, predicted: pd.DataFrame) -> pd.DataFrame:
    """One row per kernel and case. ``log_likelihood`` is the mean over held-out runs, with its interval ``low`` to
    ``high``, and ``median`` theirs; ``difference`` to `REFERENCE` on the same runs; ``spearman`` (of predicted with
    true accuracy) the mean over splits; ``within_50`` and ``within_90`` shares of runs; ``fit_seconds`` and
    ``fit_ratio`` (to `REFERENCE`) medians over splits. NaN where nothing was predicted."""
    recorded, rows = curves(records, problem), []
    for kernel in KERNELS:
        for case in CASES:
            row = {"problem": problem, "kernel": kernel, "case": case, "configurations": len(recorded.phi)}
            row |= {"left_out": recorded.left_out, "splits": 0, **dict.fromkeys(MEASURES, math.nan), "observations": 0}
            if len(predicted):
                row |= {"splits": predicted["split"].nunique(), **_measures(predicted, kernel, case)}
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _measures(predicted: pd.DataFrame, kernel: str, case: str) -> dict[str, float]:
    """Everything that is said of one kernel in one case."""
    of = predicted[predicted["case"] == case]
    here, reference = of[of["kernel"] == kernel], of[of["kernel"] == REFERENCE]
    likelihood, usual = (_grid(frame, "log_likelihood") for frame in (here, reference))
    found = {"observations": len(here), "log_likelihood": here["log_likelihood"].mean()}
    found["low"], found["high"] = percentiles(resampled_means(likelihood))
    found["median"] = here["log_likelihood"].median()
    if kernel != REFERENCE:
        difference = likelihood - usual
        found["difference"] = np.nanmean(difference)
        for name, draws in (
            ("difference", resampled_means(difference)),
            ("difference_splits", resampled_means(difference, configurations=False)),
        ):
            found[f"{name}_low"], found[f"{name}_high"] = percentiles(draws)
    found["rmse"] = math.sqrt(np.mean((here["y"] - here["mean"]) ** 2))
    found["spearman"] = here.groupby("split")[["y", "mean"]].apply(_spearman).mean()
    found |= {f"within_{100 * level:.0f}": share for level, share in zip(WITHIN, within(here, WITHIN), strict=True)}
    seconds, of_reference = (frame.groupby("split")["seconds"].first() for frame in (here, reference))
    return found | {"fit_seconds": seconds.median(), "fit_ratio": (seconds / of_reference).median()}


def _grid(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Values by split and configuration, shape (splits, configurations); NaN where one was not held out."""
    return frame.pivot(index="split", columns="configuration", values=column).to_numpy(float)


def _spearman(frame: pd.DataFrame) -> float:
    if len(frame) < 3 or np.ptp(frame["y"]) == 0 or np.ptp(frame["mean"]) == 0:
        return math.nan
    return float(stats.spearmanr(frame["y"], frame["mean"]).statistic)


def resampled_means(values: np.ndarray, configurations: bool = True) -> np.ndarray:
    """Means of `values` (S, C), NaN where there is none, over resamples of the S splits and, unless
    `configurations` is false, of the C configurations; shape (B,)."""
    splits = bootstrap_weights(values.shape[0], seed=0)
    columns = bootstrap_weights(values.shape[1], seed=1) if configurations else np.ones((1, values.shape[1]))
    there = ~np.isnan(values)
    total = ((splits @ np.where(there, values, 0.0)) * columns).sum(axis=1)
    count = ((splits @ there.astype(float)) * columns).sum(axis=1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def within(predicted: pd.DataFrame, levels: tuple[float, ...] | np.ndarray) -> np.ndarray:
    """Share of the held-out values inside the central predictive interval of each level, shape (levels,)."""
    z = np.abs((predicted["y"] - predicted["mean"]) / predicted["sd"]).to_numpy(float)
    edges = stats.norm.ppf((1 + np.asarray(levels)) / 2)
    return (z[:, None] <= edges).mean(axis=0)
