"""Which hyperparameters matter, by a second-order response surface: a sharper test than the forest where it fits.

Ordinary least squares of the accuracy on every hyperparameter's unit coordinate, the squares of those with a range, and
the product of each with the learning rate's (Box and Wilson 1951). A hyperparameter matters if the fit without all of
its terms is worse than chance makes it (partial F-test). A forest of some forty runs cannot tell a small effect from
none; a surface with 14 terms can, if the landscape is smooth: its R² is shown beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm

from experiments.gather import Records
from experiments.sensitivity import analysis, surrogate
from experiments.sensitivity.surrogate import Axis
from experiments.statistics.comparisons import holm
from jfhpo.core.problem import LR

RUNS_PER_TERM = 2.0
"""Fewest runs that a surface is fitted to, per term."""


def terms(axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The surface's columns, coordinates centred: ``lr``, ``lr·lr``, ``lr·rollout_n``, ... A hyperparameter of one
    value has none."""
    unit = surrogate.encode(axes, configs) - 0.5
    columns = {axis.name: unit[:, i] for i, axis in enumerate(axes) if np.ptp(unit[:, i]) > 0}
    ranges = [axis.name for axis in axes if axis.name in columns and not axis.levels]
    found = dict(columns)
    found |= {f"{name}·{name}": columns[name] ** 2 for name in ranges}
    if LR in columns:
        found |= {f"{LR}·{name}": columns[LR] * columns[name] for name in columns if name != LR}
    return pd.DataFrame(found)


def effects(records: Records, problem: str) -> pd.DataFrame:
    """A row per model and hyperparameter: ``share`` (by how much R² falls without its terms), ``p`` of the partial
    F-test, ``p_holm`` over the model's hyperparameters, and of the whole surface ``r2``, ``adjusted_r2``, ``n`` and
    ``terms``. NaN below `RUNS_PER_TERM`."""
    axes, rows = analysis.all_axes(records, problem), []
    for model in analysis.recorded_models(records, problem):
        configs, accuracy = analysis.observations(records, problem, model)
        if configs:
            rows += [{"problem": problem, "model": model} | row for row in of_one_model(axes, configs, accuracy)]
    names = ["problem", "model", "hyperparameter", "share", "p", "p_holm", "r2", "adjusted_r2", "n", "terms"]
    return pd.DataFrame(rows, columns=names)


def of_one_model(
    axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]], accuracy: np.ndarray
) -> list[dict[str, Any]]:
    """The rows of `effects` for runs of one model."""
    columns = terms(axes, configs)
    names = [axis.name for axis in axes if axis.name in columns]
    same = {"n": len(configs), "terms": len(columns.columns)}
    if len(configs) < RUNS_PER_TERM * (len(columns.columns) + 1) or np.ptp(accuracy) == 0:
        empty = dict.fromkeys(("share", "p", "p_holm", "r2", "adjusted_r2"), math.nan)
        return [same | empty | {"hyperparameter": name} for name in names]
    whole = sm.OLS(accuracy, sm.add_constant(columns)).fit()
    same |= {"r2": float(whole.rsquared), "adjusted_r2": float(whole.rsquared_adj)}
    rows = []
    for name in names:
        others = columns[[c for c in columns if name not in c.split("·")]]
        without = sm.OLS(accuracy, sm.add_constant(others)).fit()
        _, p, _ = whole.compare_f_test(without)
        rows.append(same | {"hyperparameter": name, "share": float(whole.rsquared - without.rsquared), "p": float(p)})
    for row, corrected in zip(rows, holm(np.array([row["p"] for row in rows])), strict=True):
        row["p_holm"] = float(corrected)
    return rows
