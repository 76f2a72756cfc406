"""From a recording to the paper's transfer question: does a cheap run rank configurations as the full target run does?

A cheap run is a proxy's, at any recorded step, with the learning rate as it is or mapped by width, or the target's
own at fewer steps. Pure functions of `experiments.gather.Records`; accuracies and losses are shares, intervals 95 %
bootstrap percentiles over configurations (drawn with a fixed seed), those of every study of a problem together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from experiments.gather import KEYS, Records
from experiments.proxy_correlation import ranks
from experiments.recording.design import AS_IT_IS, BY_WIDTH, CONFIGURATION, accuracies, designed, models, recorded_steps
from experiments.statistics.intervals import bootstrap_weights, percentiles
from jfhpo.core.problem import LR
from jfhpo.core.space import config_key
from jfhpo.core.trial import Status

MEASURES = ("spearman", "kendall", "lost")
AGREEMENT = [
    "picked", "best", *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")),
    "few_low", "few_high", "share_as_high",
]  # fmt: skip
COLUMNS = ["problem", "model", "on_target", "transfer", "step", "n", "left_out", "failed", "cost", *AGREEMENT]


def pairs(table: pd.DataFrame, model: str, transfer: str, step: int) -> pd.DataFrame:
    """The configurations of `accuracies` that both have: CONFIGURATION, ``x`` (accuracy of the cheap run at `step`),
    ``y`` (of the target at full steps), ``lr`` (on the target), ``failed`` (either run did)."""
    full = max(column for column in table.columns if isinstance(column, int))
    cheap = table[(table["model"] == model) & (table["transfer"] == transfer)].set_index(CONFIGURATION)
    target = table[table["on_target"]].set_index(CONFIGURATION)
    frame = pd.DataFrame({"x": cheap[step], "y": target[full]}).dropna()
    failed = (cheap["status"] == Status.FAILED) | (target["status"] == Status.FAILED).reindex(cheap.index)
    lr = target["target_config"].map(lambda config: config.get(LR, math.nan))
    return frame.assign(lr=lr.reindex(frame.index), failed=failed.reindex(frame.index)).reset_index()


def comparisons(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(model, transfer) of every kind of cheap run, smallest model first, the target's last."""
    there = set(zip(table["model"], table["transfer"], strict=True))
    return [(m, t) for m in models(table) for t in (AS_IT_IS, BY_WIDTH) if (m, t) in there]


def correlations(records: Records, problem: str, few: int, reach: float) -> pd.DataFrame:
    """One row per model, transfer and step, with those of `agreement`, ``left_out`` (configurations of the design
    without both runs), ``failed`` (pairs with a failed run, counted as accuracy 0) and ``cost``: trainer seconds of
    the cheap run up to that step by those of the target's full run, means over configurations. The target at its
    full steps, which agrees with itself, is left out."""
    steps, total = recorded_steps(records, problem), designed(records, problem)
    table = accuracies(records, problem)
    targets = set(table.loc[table["on_target"], "model"])
    seconds = _seconds(records, table, steps)
    whole = seconds[table["on_target"]].get(steps[-1], pd.Series(dtype=float)).mean() if steps else math.nan
    rows: list[dict[str, Any]] = []
    for model, transfer in comparisons(table):
        its = (table["model"] == model) & (table["transfer"] == transfer)
        for step in steps[:-1] if model in targets else steps:
            frame = pairs(table, model, transfer, step)
            row = {"problem": problem, "model": model, "on_target": model in targets, "transfer": transfer}
            row |= {"step": step, "n": len(frame), "left_out": total - len(frame), "failed": int(frame["failed"].sum())}
            row |= {"cost": float(seconds.loc[its, step].mean() / whole)}
            rows.append(row | agreement(frame["x"].to_numpy(float), frame["y"].to_numpy(float), few, reach))
    return pd.DataFrame(rows, columns=COLUMNS)


def agreement(x: np.ndarray, y: np.ndarray, few: int, reach: float) -> dict[str, float]:
    """How well x ranks what y ranks, both (n,): ``spearman`` and ``kendall`` (tau-b); ``picked`` (y of the highest x),
    ``best`` (highest y) and ``lost``, their difference; ``*_low`` and ``*_high`` from `ranks.LEAST` pairs on; and of
    Spearman from only `few` pairs, drawn at random, ``few_low``, ``few_high`` (95 % of the draws) and
    ``share_as_high`` (draws that reach `reach`). NaN where there are too few pairs, or x or y is constant."""
    n, found = len(x), dict.fromkeys(AGREEMENT, math.nan)
    if n:
        one = np.ones((1, n))
        found |= {"picked": ranks.picked(x, y, one)[0], "best": y.max(), "lost": ranks.lost(x, y, one)[0]}
    if n >= 3 and np.ptp(x) > 0 and np.ptp(y) > 0:
        found |= {"spearman": stats.spearmanr(x, y).statistic, "kendall": stats.kendalltau(x, y).statistic}
    if n >= ranks.LEAST:
        weights = bootstrap_weights(n)
        for name in MEASURES:
            low, high = percentiles(getattr(ranks, name)(x, y, weights))
            found |= {f"{name}_low": low, f"{name}_high": high}
        drawn = ranks.spearman(x, y, ranks.subset_weights(n, few))
        found["few_low"], found["few_high"] = percentiles(drawn)
        defined = drawn[~np.isnan(drawn)]
        found["share_as_high"] = np.mean(defined >= reach - 1e-9) if len(defined) else math.nan  # 0.9 is not exact
    return {name: float(value) for name, value in found.items()}


def gain_of_mapping(records: Records, problem: str, model: str) -> dict[str, float]:
    """What mapping the learning rate by width adds to a proxy's Spearman at full steps: ``gain``, with the interval
    ``low`` and ``high`` of the difference over the same resamples, and ``n``. Empty without both kinds of run."""
    table, full = accuracies(records, problem), recorded_steps(records, problem)[-1]
    kinds = [pairs(table, model, t, full).set_index(CONFIGURATION) for t in (AS_IT_IS, BY_WIDTH)]
    both = kinds[0].join(kinds[1][["x"]], rsuffix="_mapped", how="inner")
    if len(both) < ranks.LEAST:
        return {}
    x, mapped, y = (both[name].to_numpy(float) for name in ("x", "x_mapped", "y"))
    weights = bootstrap_weights(len(both))
    low, high = percentiles(ranks.spearman(mapped, y, weights) - ranks.spearman(x, y, weights))
    one = np.ones((1, len(both)))
    gain = float((ranks.spearman(mapped, y, one) - ranks.spearman(x, y, one))[0])
    return {"gain": gain, "low": low, "high": high, "n": len(both)}


def _seconds(records: Records, table: pd.DataFrame, steps: list[int]) -> pd.DataFrame:
    """Trainer seconds of every run up to each recorded step, by the steps it took; NaN where it did not come so far."""
    taken = records.steps.astype({"seconds": float}).sort_values("step")
    taken = taken.assign(so_far=taken.groupby([*KEYS, "trial"])["seconds"].cumsum())
    at = taken[taken["step"].isin(steps)].set_index([*KEYS, "trial", "step"])["so_far"].to_dict()
    keys = list(table[[*KEYS, "trial"]].itertuples(index=False, name=None))
    return pd.DataFrame({step: [at.get((*key, step), math.nan) for key in keys] for step in steps}, index=table.index)


def distinct(records: Records, problem: str) -> int:
    """Different configurations of the designs: those of several seeds may all begin with the recipe."""
    table = accuracies(records, problem)
    return len({config_key(config) for config in table["target_config"]})
