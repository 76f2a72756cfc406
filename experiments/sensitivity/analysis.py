"""From a recording to sensitivity: how much each hyperparameter matters to the accuracy on each model, and how.

Learning rates are taken as they are, the same on every model. A run that failed counts as accuracy 0. Everything here
is read from a surrogate fitted to few configurations, so each number comes with the interval of fitting it again to
configurations drawn with replacement, with the surrogate's held-out R², and beside a yardstick: a hyperparameter made
of random numbers, which matters nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from experiments.gather import Records
from experiments.recording.design import AS_IT_IS, CONFIGURATION, accuracies, models, recorded_steps
from experiments.sensitivity import surrogate
from experiments.sensitivity.surrogate import Axis
from jfhpo.core.trial import Status

LEVEL = 0.95
RESAMPLES = 200
"""Enough for 95 % percentiles; each is a forest and its fANOVA, some 50 ms."""
TREES, TREES_OF_A_RESAMPLE = 64, 16
LEAST = 12
"""Fewest configurations that a surrogate is fitted to: twice the hyperparameters."""
CHANCE, INTERACTIONS = "(random number)", "(interactions)"
"""Rows beside the hyperparameters."""
POINTS = 25
"""Values along a range in the one-at-a-time curves."""
RECIPE, BEST = "recipe", "best found"
"""What the other hyperparameters are held at."""


def observations(records: Records, problem: str, model: str) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The configurations that were trained on a model with their learning rate as it is, and their accuracy at full
    steps, shape (n,). Configurations whose run has not come so far are left out."""
    table, full = accuracies(records, problem), recorded_steps(records, problem)[-1]
    here = table[(table["model"] == model) & (table["transfer"] == AS_IT_IS)].dropna(subset=[full])
    return list(here["target_config"]), here[full].to_numpy(float)


def all_axes(records: Records, problem: str) -> list[Axis]:
    """The hyperparameters over every configuration recorded, the same for all models."""
    designed = accuracies(records, problem).drop_duplicates(CONFIGURATION)
    return surrogate.axes_of(list(designed["target_config"]))


def recorded_models(records: Records, problem: str) -> list[str]:
    """Smallest first; the target is the last."""
    return models(accuracies(records, problem))


def quality(records: Records, problem: str) -> pd.DataFrame:
    """One row per model: ``n`` configurations, ``left_out`` (their run has not come to full steps), ``failed`` ones,
    ``r2`` (held out) and the ``sd`` of the accuracy; NaN below `LEAST`."""
    rows, table = [], accuracies(records, problem)
    for model in recorded_models(records, problem):
        configs, accuracy = observations(records, problem, model)
        ran = table[(table["model"] == model) & (table["transfer"] == AS_IT_IS)]
        row = {"problem": problem, "model": model, "n": len(configs), "left_out": len(ran) - len(configs)}
        row |= {"failed": int((ran["status"] == Status.FAILED).sum()), "r2": math.nan, "sd": math.nan}
        if len(configs) >= LEAST:
            row["r2"] = float(surrogate.fit(all_axes(records, problem), configs, accuracy).oob_score_)
            row["sd"] = float(accuracy.std(ddof=1))
        rows.append(row)
    return pd.DataFrame(rows, columns=["problem", "model", "n", "left_out", "failed", "r2", "sd"])


def importance(records: Records, problem: str, resamples: int) -> pd.DataFrame:
    """fANOVA: one row per model and hyperparameter, then `CHANCE` and `INTERACTIONS`: ``share`` of the surrogate's
    variance with ``low`` and ``high``, 95 % bootstrap percentiles over configurations; ``n``. The share of `CHANCE`
    is the median over the resamples, each with random numbers of its own. NaN below `LEAST` configurations."""
    axes, rows = all_axes(records, problem), []
    for model in recorded_models(records, problem):
        configs, accuracy = observations(records, problem, model)
        if len(configs) >= LEAST:
            point = _shares(axes, configs, accuracy, TREES, np.random.default_rng(0))
            draws = _resampled(axes, configs, accuracy, resamples)
            point[CHANCE] = float(draws[CHANCE].median())
            low, high = (draws.quantile(q) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        else:
            point = dict.fromkeys([*(axis.name for axis in axes), CHANCE, INTERACTIONS], math.nan)
            low = high = pd.Series(point)
        row = {"problem": problem, "model": model, "n": len(configs)}
        rows += [
            row | {"hyperparameter": name, "share": share, "low": float(low[name]), "high": float(high[name])}
            for name, share in point.items()
        ]
    return pd.DataFrame(rows, columns=["problem", "model", "n", "hyperparameter", "share", "low", "high"])


def _shares(
    axes: list[Axis], configs: list[dict[str, Any]], accuracy: np.ndarray, trees: int, rng: np.random.Generator
) -> dict[str, float]:
    """Main effects with a column of random numbers among them, and what is left for interactions."""
    with_chance = [c | {CHANCE: float(u)} for c, u in zip(configs, rng.random(len(configs)), strict=True)]
    found = surrogate.importances([*axes, Axis(CHANCE)], with_chance, accuracy, trees, seed=int(rng.integers(2**31)))
    return found | {INTERACTIONS: 1.0 - sum(found.values())}


def _resampled(axes: list[Axis], configs: list[dict[str, Any]], accuracy: np.ndarray, resamples: int) -> pd.DataFrame:
    """`_shares` of configurations drawn with replacement, one row per resample; seeded."""
    rng, rows = np.random.default_rng(1), []
    for _ in range(resamples):
        drawn = rng.integers(len(configs), size=len(configs))
        rows.append(_shares(axes, [configs[i] for i in drawn], accuracy[drawn], TREES_OF_A_RESAMPLE, rng))
    return pd.DataFrame(rows)


def bases(records: Records, problem: str, model: str) -> dict[str, dict[str, Any]]:
    """What one-at-a-time curves start from: the `RECIPE` (the first configuration of a design) and the `BEST` of the
    model's recorded runs."""
    configs, accuracy = observations(records, problem, model)
    first = accuracies(records, problem).iloc[0]["target_config"]
    return {RECIPE: first, BEST: configs[int(accuracy.argmax())]}


def curves(records: Records, problem: str) -> pd.DataFrame:
    """The surrogate's accuracy when one hyperparameter is moved and the others are held: problem, model, base,
    hyperparameter, value, ``place`` (of the value on the axis, 0 to 1) and accuracy. Empty below `LEAST`."""
    rows, axes = [], all_axes(records, problem)
    for model in recorded_models(records, problem):
        configs, accuracy = observations(records, problem, model)
        if len(configs) < LEAST:
            continue
        forest = surrogate.fit(axes, configs, accuracy)
        for base, config in bases(records, problem, model).items():
            for axis in axes:
                values, predicted = surrogate.one_at_a_time(forest, axes, config, axis.name, POINTS)
                row = {"problem": problem, "model": model, "base": base, "hyperparameter": axis.name}
                rows += [
                    row | {"value": v, "place": axis.unit(v), "accuracy": float(a)}
                    for v, a in zip(values, predicted, strict=True)
                ]
    names = ["problem", "model", "base", "hyperparameter", "value", "place", "accuracy"]
    return pd.DataFrame(rows, columns=names)


def swings(records: Records, problem: str) -> pd.DataFrame:
    """How far each one-at-a-time curve moves: problem, model, base, hyperparameter, ``swing`` (its highest less its
    lowest accuracy) and ``at`` (the value of its highest)."""
    rows = []
    keys = ["problem", "model", "base", "hyperparameter"]
    for key, curve in curves(records, problem).groupby(keys, sort=False):
        best = curve.loc[curve["accuracy"].idxmax(), "value"]
        swing = float(curve["accuracy"].max() - curve["accuracy"].min())
        rows.append(dict(zip(keys, key, strict=True)) | {"swing": swing, "at": best})
    return pd.DataFrame(rows, columns=[*keys, "swing", "at"])
