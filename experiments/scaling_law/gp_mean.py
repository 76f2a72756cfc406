"""Whether a scaling law helps the surrogate to foretell full runs on the target: as its mean, or as an observation.

    plain     `jfhpo`'s surrogate: a constant mean
    mean      the joint sigmoid of version 1 as the mean, a·R₀ + b·m + γ/(1 + exp(−δ(u − t₀))), and the Gaussian process
              on what is left. Runs begin with nearly the same R₀, so that a·R₀ is a constant
    forecast  each unfinished training run's own forecast of its final reward, told as an observation at full steps

Splits, data and measures are those of `experiments.fidelity_kernel`: held-out full runs of configurations that were
seen on the proxy, and of new ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from experiments.fidelity_kernel.analysis import CASES, LEAST, REFERENCE, held_out, resampled_means
from experiments.fidelity_kernel.splits import PROXY, Curves, curves, split
from experiments.gather import KEYS, Records
from experiments.statistics.intervals import percentiles
from jfhpo.dynamics import scaling_law
from jfhpo.dynamics.joint_law import sigmoid_through
from jfhpo.method.surrogate import Surrogate

SPLITS = 30
PLAIN, MEAN, FORECAST = "plain", "mean", "forecast"
VARIANTS = (PLAIN, MEAN, FORECAST)
STEPS, SIZE = -2, -1
"""Columns of s and m in x."""


class LawMean:
    """A surrogate of what a sigmoid over progress, with an offset for the model size, leaves over."""

    def __init__(self, x: np.ndarray, y: np.ndarray, kernel: str, full: int):
        """`full` is r_max."""
        self.full = full
        self.law = sigmoid_through(self.progress(x), y, x[:, SIZE], np.ones(len(y)))
        self.rest = Surrogate(x, y - self.mean(x), kernel=kernel)

    def progress(self, x: np.ndarray) -> np.ndarray:
        """u = r/r_max of s = log r / log r_max."""
        return np.exp((x[:, STEPS] - 1.0) * math.log(max(self.full, 2)))

    def mean(self, x: np.ndarray) -> np.ndarray:
        return self.law(self.progress(x), x[:, SIZE], 1.0)

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = self.rest.predict(x)
        return mean + self.mean(x), sd

    def noise_sd(self) -> float:
        return self.rest.noise_sd()

    def log_likelihood(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.rest.log_likelihood(x, y - self.mean(x))


def own_forecasts(recorded: Curves, rewards: Mapping[tuple, np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x (b, D + 2) and y (b,) at full steps of what the training runs of a split foretell: of every run that it does
    not show in full, and shows for long enough to be fitted."""
    reached: dict[tuple[int, int], int] = {}
    for configuration, model, rung in split(recorded, seed).known:
        reached[configuration, model] = max(reached.get((configuration, model), 0), rung)
    full, places, told = recorded.rungs[-1], [], []
    for (configuration, model), rung in reached.items():
        seen = rewards.get(recorded.runs[configuration][model], np.empty(0))[: recorded.rungs[rung]]
        if scaling_law.LEAST <= len(seen) < full:
            fitted = scaling_law.fit(seen, full, reward_range=(0.0, 1.0))
            told.append(float(fitted.expected(np.ones(1))[0]))
            places.append((configuration, model, len(recorded.rungs) - 1))
    where = np.array(places, dtype=int).reshape(-1, 3)
    return recorded.x(*where.T), np.array(told)


def usable(records: Records, problem: str) -> bool:
    """Whether there are enough configurations, and runs of them on the proxy with the learning rate mapped by width."""
    recorded = curves(records, problem)
    return len(recorded.phi) >= LEAST and not np.isnan(recorded.accuracy[:, PROXY]).all()


def predictions(records: Records, problem: str) -> pd.DataFrame:
    """`fidelity_kernel.analysis.held_out` of every variant on each of `SPLITS` splits, the variant in column
    ``variant``."""
    recorded = curves(records, problem)
    steps = records.of(problem).steps.sort_values("step").groupby([*KEYS, "trial"])["reward_mean"]
    rewards = {key: values.to_numpy(float) for key, values in steps}
    frames = []
    for seed in range(SPLITS):
        more_x, more_y = own_forecasts(recorded, rewards, seed)
        fits: dict[str, Callable[..., Any]] = {
            PLAIN: Surrogate,
            MEAN: partial(LawMean, full=recorded.rungs[-1]),
            FORECAST: partial(_with_more, more_x, more_y),
        }
        frames += [held_out(recorded, seed, REFERENCE, fit).assign(variant=name) for name, fit in fits.items()]
    return pd.concat(frames, ignore_index=True)


def _with_more(more_x: np.ndarray, more_y: np.ndarray, x: np.ndarray, y: np.ndarray, kernel: str) -> Surrogate:
    return Surrogate(np.vstack([x, more_x]), np.concatenate([y, more_y]), kernel=kernel)


def comparison(predicted: pd.DataFrame) -> pd.DataFrame:
    """One row per variant and case: ``runs`` held out, ``log_likelihood`` (nats per run, mean), its ``difference`` to
    `PLAIN` on the same runs with the 95 % interval over splits and configurations, and ``rmse``."""
    rows = []
    for case in CASES:
        of = predicted[predicted["case"] == case]
        grids = {
            name: of[of["variant"] == name].pivot(index="split", columns="configuration", values="log_likelihood")
            for name in VARIANTS
        }
        for name in VARIANTS:
            here = of[of["variant"] == name]
            difference = (grids[name] - grids[PLAIN]).to_numpy(float)
            low, high = (math.nan, math.nan) if name == PLAIN else percentiles(resampled_means(difference))
            rows.append(
                {"variant": name, "case": case, "runs": len(here), "log_likelihood": here["log_likelihood"].mean()}
                | {"difference": math.nan if name == PLAIN else float(np.nanmean(difference)), "low": low, "high": high}
                | {"rmse": math.sqrt(float(np.mean((here["y"] - here["mean"]) ** 2)))}
            )
    names = ["variant", "case", "runs", "log_likelihood", "difference", "low", "high", "rmse"]
    return pd.DataFrame(rows, columns=names)
