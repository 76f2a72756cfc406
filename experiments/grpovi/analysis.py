"""Does GRPOVI learn faster or better than GRPO: curves, paired differences, and steps to GRPO's final reward.

Rewards are graded and of the training prompts, as they are before any adjustment; accuracy is exact and on validation
(curves) or test prompts. Runs of one seed share prompts and base model, so methods are compared within seeds. Only runs
that took all their steps count. Pure functions of the frames of `experiments.gather.Records`; all values are shares,
intervals 95 % over seeds.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from experiments.gather import FINISHED, KEYS, Records
from experiments.statistics import time_to_target
from experiments.statistics.intervals import band, bca_interval
from jfhpo.core.trial import Status

REFERENCE = "grpo"
SMOOTH = 5
"""Steps of the trailing mean that stands for "the reward at a step": a single step has 16 prompts only."""
MEASURES = ("final_reward", "mean_reward", "accuracy")
REWARD, ACCURACY = "reward", "val_accuracy"


def curves(records: Records) -> pd.DataFrame:
    """One row per step of every full run: KEYS, step, ``reward`` (mean of the last `SMOOTH` steps, NaN before there
    are as many), ``reward_mean`` (of the step alone) and val_accuracy (NaN between validations)."""
    full = records.trials[(records.trials["status"] == Status.COMPLETED) & (records.trials["phase"] == "search")]
    steps = records.steps.merge(full[[*KEYS, "trial"]], on=[*KEYS, "trial"])
    steps = steps[[*KEYS, "step", "reward_mean", ACCURACY]].astype({"reward_mean": float, ACCURACY: float})
    steps = steps.sort_values([*KEYS, "step"]).reset_index(drop=True)
    means = steps.groupby(KEYS, sort=False)["reward_mean"].rolling(SMOOTH).mean()
    return steps.assign(reward=means.reset_index(level=KEYS, drop=True))


def bands(records: Records, problem: str, column: str) -> pd.DataFrame:
    """Mean of a column of `curves` over seeds at every step where it is known, with its bootstrap interval: method,
    ``spent`` (the step), value, low, high."""
    return _bands(curves(records.of(problem)).dropna(subset=[column]), column)


def difference_bands(records: Records, problem: str, column: str) -> pd.DataFrame:
    """As `bands`, of the differences to `REFERENCE`, seed by seed and step by step."""
    known = curves(records.of(problem)).dropna(subset=[column])
    own = known[known["method"] == REFERENCE].set_index(["seed", "step"])[column]
    others = known[known["method"] != REFERENCE].join(own.rename("own"), on=["seed", "step"])
    return _bands(others.assign(difference=others[column] - others["own"]).dropna(subset=["difference"]), "difference")


def _bands(known: pd.DataFrame, column: str) -> pd.DataFrame:
    found = []
    for method, runs in known.groupby("method", sort=False):
        grid = np.array(sorted(runs["step"].unique()), dtype=float)
        each = [(run["step"].to_numpy(float), run[column].to_numpy(float)) for _, run in runs.groupby("seed")]
        found.append(band(each, grid).assign(method=method))
    names = ["method", "spent", "value", "low", "high"]
    return pd.concat(found, ignore_index=True)[names] if found else pd.DataFrame(columns=names)


def by_run(records: Records) -> pd.DataFrame:
    """One row per full run with a test result: KEYS, ``final_reward`` (mean of the last `SMOOTH` steps),
    ``mean_reward`` (of all steps: how high the whole curve lies), ``accuracy`` (test mean@k)."""
    rewards = (
        curves(records)
        .groupby(KEYS, sort=False)
        .agg(final_reward=(REWARD, "last"), mean_reward=("reward_mean", "mean"))
    )
    tested = records.studies[records.studies["state"] == FINISHED].set_index(KEYS)["mean_at_k"].astype(float)
    return rewards.join(tested.rename("accuracy"), how="inner").dropna().reset_index()


def comparison(records: Records) -> pd.DataFrame:
    """One row per problem and method: ``n`` of ``expected`` seeds, the mean of each of `MEASURES`, and over the
    ``pairs`` (seeds that the method and `REFERENCE` have) the mean difference ``*_gain`` with its BCa interval
    ``*_low``, ``*_high``; NaN in the row of `REFERENCE` itself."""
    runs, rows = by_run(records), []
    for (problem, method), studies in records.studies.groupby(["problem", "method"], sort=False):
        here = runs[runs["problem"] == problem]
        own, other = (here[here["method"] == m].set_index("seed")[list(MEASURES)] for m in (method, REFERENCE))
        row = {"problem": problem, "method": method, "n": len(own), "expected": len(studies)}
        row |= {name: own[name].mean() for name in MEASURES}
        gains = (own - other).dropna() if method != REFERENCE else own.iloc[:0]
        row["pairs"] = len(gains)
        for name in MEASURES:
            low, high = bca_interval(gains[name].tolist())
            row |= {f"{name}_gain": gains[name].mean(), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def steps_to_final(records: Records) -> pd.DataFrame:
    """One row per problem and other method: ``pairs`` (seeds), in how many the method ``reached`` the highest reward
    that `REFERENCE` had by its end, the median steps that each took (``reference_steps``, ``steps``; infinite where
    half of the seeds never do), and ``ratio``, the median over seeds of the reference's steps by the method's (above
    one the method is sooner), with ``at_most``, ``low`` and ``high`` as `time_to_target.summary` has them: seeds that
    never reach it count as known bounds."""
    rising = curves(records).dropna(subset=[REWARD])
    rising = rising.assign(spent=rising["step"].astype(float), best=rising.groupby(KEYS, sort=False)[REWARD].cummax())
    runs = rising.groupby(KEYS, sort=False, as_index=False)["spent"].max().rename(columns={"spent": "budget"})
    rows = []
    for problem, here in runs.groupby("problem", sort=False):
        paired = here[here["seed"].isin(here[here["method"] == REFERENCE]["seed"])]
        for method in [m for m in paired["method"].unique() if m != REFERENCE]:
            seeds = paired[paired["method"] == method]["seed"]
            both = paired[paired["method"].isin([method, REFERENCE]) & paired["seed"].isin(seeds)]
            ratios = time_to_target.ratios(rising[rising["problem"] == problem], both)
            found = time_to_target.summary(ratios[(ratios["a"] == method) & (ratios["b"] == REFERENCE)]).iloc[0]
            taken = [_steps(rising, problem, seed, (REFERENCE, method)) for seed in seeds]
            reference_steps, steps = (float(np.median(values)) for values in zip(*taken, strict=True))
            row = {"problem": problem, "method": method, "reference_steps": reference_steps, "steps": steps}
            rows.append(row | found.drop(["a", "b"]).to_dict())
    names = ["problem", "method", "pairs", "reached", "reference_steps", "steps", "ratio", "at_most", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def _steps(rising: pd.DataFrame, problem: str, seed: int, methods: tuple[str, str]) -> list[float]:
    """When each method of one seed first has the last best reward of the first of them."""
    here = rising[(rising["problem"] == problem) & (rising["seed"] == seed)]
    own = [here[here["method"] == method] for method in methods]
    target = float(own[0]["best"].iloc[-1])
    return [time_to_target.reaching_time(c["spent"].to_numpy(), c["best"].to_numpy(), target) for c in own]


def conclusion(gain: float, low: float, high: float) -> str:
    """Which side of zero a difference is on, in words."""
    if math.isnan(gain):
        return "not known"
    if math.isnan(low):
        return "no interval"
    return "higher" if low > 0 else "lower" if high < 0 else "no difference shown"
