"""Curves of configurations that were never run, learned from those that were.

Accuracy (validation at every step, and the test) and costs are what methods are judged by: their curves are
standardised, the first principal components kept, and each is a Gaussian process over (φ, model size). What only
rules look at (reward, KL, entropy, gradient norm, lengths) comes from a forest of extremely randomised trees. What is
positive is learned in logarithms. With 48 configurations a size, GPs ranked held-out configurations better than
forests did; ``python -m experiments.replay.heldout`` says how well on the data at hand.

A run is predicted as going through: failed runs are few, and left out. Validations get the noise of a sample of
prompts, which belongs to (configuration, model, step, seed): the same run measured twice gives the same.
"""

from __future__ import annotations

import functools
import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from threadpoolctl import threadpool_limits

from jfhpo.core.errors import unknown
from jfhpo.core.problem import LR
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config
from jfhpo.replay.dataset import COST, DATA, METRICS, DataSet
from jfhpo.trainers.replay.run import Columns, ReplayedRun, replayed
from jfhpo.trainers.replay.table import Table, table

KEPT = 0.995
"""Share of the accuracy curves' variance that the components keep."""
COMPONENTS = 4
"""And how many there are at most."""
TREES = 100
POSITIVE = ("kl", "grad_norm", "completion_length", "learning_rate")
"""Metrics learned in logarithms."""
ENDS = tuple(f"{part}_{unit}" for part in ("start", "save") for unit in COST)
"""Costs of a run that belong to no step."""
FLOOR, LEAST = 1e-12, 1e-6
"""What is least in a logarithm, of a metric and of a cost."""


class Components:
    """Rows of related numbers, standardised, as a few principal components with a Gaussian process for each. On one
    thread: a sum over two differs in its last bit, and the search for the kernels' optimum makes more of it."""

    @threadpool_limits.wrap(limits=1, user_api="blas")
    def __init__(self, x: np.ndarray, rows: np.ndarray, kernels: Sequence[Sequence[float]] | None = None):
        """`x` (n, D), `rows` (n, columns); `kernels` as another one has them, or else they are searched for."""
        self.middle, self.spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), FLOOR)
        standard = (rows - self.middle) / self.spread
        parts = PCA(min(COMPONENTS, len(rows) - 1), svd_solver="full").fit(standard)  # else random for many rows
        kept = 1 + int(np.searchsorted(np.cumsum(parts.explained_variance_ratio_), KEPT))
        self.directions = parts.components_[:kept]  # (K, columns)
        scores = standard @ self.directions.T
        known = kernels or [None] * scores.shape[1]
        self.processes = [_process(x, scores[:, k], known[k]) for k in range(scores.shape[1])]
        self.kernels = [process.kernel_.theta.tolist() for process in self.processes]
        """Of each component, its kernel's hyperparameters in logarithms."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Rows (n, columns) at the features (n, D)."""
        scores = np.column_stack([process.predict(x) for process in self.processes])
        return self.middle + self.spread * (scores @ self.directions)


class CurveSurrogate:
    """Fitted to the completed runs of a data set, or to `runs` of them (numbers)."""

    def __init__(self, data: DataSet, runs: Sequence[int] | None = None, kernels: Mapping[str, Any] | None = None):
        """`kernels` as another surrogate has them, or else they are searched for, which takes seconds and differs with
        the last bit of whatever the machine computes."""
        kernels = kernels or {}
        self.data, self.space = data, data.space
        done = data.runs[data.runs["status"] == "completed"]
        rows = (done if runs is None else done[done["run"].isin(list(runs))]).to_dict("records")
        self.sizes = {size.name: size for size in data.family if size.name in data.models}
        self.steps = np.arange(data.max_steps + 1)
        self.prompts = int(rows[0]["test_prompts"])
        x = self.features([data.config_of(row) for row in rows], [row["model"] for row in rows])
        known = Table(data)
        recorded = [known.columns(row["run"]) for row in rows]
        tests = [row["test_mean_at_k"] for row in rows]
        accuracy = [[*self._accuracy(c), test] for c, test in zip(recorded, tests, strict=True)]
        self.accuracy = Components(x, np.array(accuracy), kernels.get("accuracy"))
        costs = [_costs(c, row) for c, row in zip(recorded, rows, strict=True)]
        self.costs = Components(x, np.log(np.maximum(costs, LEAST)), kernels.get("costs"))
        self.kernels = {"accuracy": self.accuracy.kernels, "costs": self.costs.kernels}
        dynamics = np.array([np.concatenate([_forward(m, c[m][1:]) for m in METRICS]) for c in recorded])
        self.middle, self.spread = dynamics.mean(axis=0), np.maximum(dynamics.std(axis=0), FLOOR)
        self.forest = ExtraTreesRegressor(TREES, random_state=0).fit(x, (dynamics - self.middle) / self.spread)
        self._runs: dict[tuple[str, str, int], ReplayedRun] = {}

    def features(self, configs: Sequence[Config], models: Sequence[str]) -> np.ndarray:
        """(n, D): φ in unit coordinates; the learning rate as it would be on the largest size (lr ∝ 1/width), which is
        where its effect lines up between sizes; and log width from 0 to 1."""
        widths = np.array([math.log(self.sizes[model].width) for model in models])
        every = [math.log(size.width) for size in self.sizes.values()]
        span = max(max(every) - min(every), FLOOR)
        columns = [self.space.encode(configs), (widths - min(every))[:, None] / span]
        if LR in self.space.names:
            low, high = (math.log(self.space.specs[LR][end]) for end in ("low", "high"))
            at = np.array([math.log(config.get(LR, self.space.stand_ins[LR])) for config in configs])
            columns.append(((at + widths - max(every) - low) / (high - low))[:, None])
        return np.hstack(columns)

    def _accuracy(self, columns: Columns) -> list[float]:
        seen = ~np.isnan(columns["val_accuracy"])
        return np.interp(self.steps, columns["step"][seen], columns["val_accuracy"][seen]).tolist()

    def accuracies(self, configs: Sequence[Config], models: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Validation accuracy at steps 0 to the last (n, steps + 1), and test accuracy (n,), without noise."""
        found = np.clip(self.accuracy.predict(self.features(configs, models)), 0.0, 1.0)
        return found[:, :-1], found[:, -1]

    def run(self, config: Config, model: str, seed: int) -> ReplayedRun:
        """What a run of this configuration on this model would look like."""
        key = config_key(config), model, seed
        if key not in self._runs:
            self._runs[key] = self._predicted(config, model, seed)
        return self._runs[key]

    def _predicted(self, config: Config, model: str, seed: int) -> ReplayedRun:
        if model not in self.sizes:
            raise unknown(f"recorded size of {self.data.name}", model, self.sizes)
        validation, test = self.accuracies([config], [model])
        x, steps = self.features([config], [model]), self.data.max_steps
        dynamics = self.middle + self.spread * self.forest.predict(x)[0]
        costs = np.exp(self.costs.predict(x)[0])
        columns, row = {"step": self.steps}, {"status": "completed"}
        for name, part in zip(METRICS, np.split(dynamics, len(METRICS)), strict=True):
            columns[name] = np.concatenate([[np.nan], _back(name, part)])
        for i, unit in enumerate(COST):
            columns[unit] = np.concatenate([[0.0], costs[i * steps : (i + 1) * steps]])
        rest = costs[len(COST) * steps :]
        for i, unit in enumerate(COST):
            columns[f"val_{unit}"] = np.full(steps + 1, rest[i])
        row |= dict(zip(ENDS, np.where(rest[len(COST) :] > 2 * LEAST, rest[len(COST) :], 0.0), strict=True))
        error = np.sqrt(validation[0] * (1 - validation[0]) / self.prompts)
        columns["val_accuracy"] = np.clip(validation[0] + error * _normal(config, model, seed, steps + 1), 0, 1)
        at_test = float(test[0])
        row |= {"test_mean_at_k": at_test, "test_greedy": at_test, "test_k": 1, "test_prompts": self.prompts}
        row |= {"test_standard_error": math.sqrt(at_test * (1 - at_test) / self.prompts)}
        return replayed(row, columns)


def _process(x: np.ndarray, y: np.ndarray, theta: Sequence[float] | None) -> GaussianProcessRegressor:
    """Matérn-5/2 with a length scale per feature and learned noise, with these hyperparameters or at the optimum of its
    marginal likelihood."""
    kernel = ConstantKernel(1.0) * Matern(np.ones(x.shape[1]), (0.05, 30.0), nu=2.5) + WhiteKernel(0.02, (1e-4, 1.0))
    if theta is not None:
        return GaussianProcessRegressor(kernel.clone_with_theta(theta), optimizer=None, normalize_y=True).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound: an inert hyperparameter
        return GaussianProcessRegressor(kernel, normalize_y=True).fit(x, y)


def _costs(columns: Columns, row: Mapping[str, Any]) -> np.ndarray:
    """What a run cost, flat: by unit and step, a validation's mean, starting and saving."""
    seen = ~np.isnan(columns["val_accuracy"])
    steps = [columns[unit][1:] for unit in COST]
    validation = [columns[f"val_{unit}"][seen].mean() for unit in COST]
    return np.concatenate([*steps, validation, [float(row[end]) for end in ENDS]])


def _forward(name: str, values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, FLOOR)) if name in POSITIVE else values


def _back(name: str, values: np.ndarray) -> np.ndarray:
    return np.exp(values) if name in POSITIVE else values


def _normal(config: Config, model: str, seed: int, count: int) -> np.ndarray:
    word = f"{config_key(config)} {model} {seed}"
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little"))
    return rng.standard_normal(count)


@functools.lru_cache(maxsize=4)
def surrogate(name: str, folder: Path = DATA) -> CurveSurrogate:
    """Of a task, fitted once a process, with the kernels that its data set has."""
    data = table(name, folder).data
    return CurveSurrogate(data, kernels=data.about.get("surrogate"))
