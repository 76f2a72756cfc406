"""What stopping by a law saves, and what it loses: the rule `RemainingGain` replayed over recorded full runs.

A run that is stopped keeps the policy that it has: what is lost is its final validation accuracy less that at the stop
(straight lines between recorded validations). Two ways to look at it: a single run, where the mean loss over all runs
counts, and a search, where only the best matter: the loss of the runs in the top three of their study and model, and
what the choice by the stopped scores ends below the best (``regret``). The yardstick is to end every run after the
same number of steps: a rule that does not beat it has learned nothing from the curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments.scaling_law.analysis import cluster_interval
from experiments.scaling_law.curves import RewardCurve, problems_of
from jfhpo.dynamics.early_stopping import RemainingGain

THRESHOLDS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
"""Points of reward for the cost of a full run."""
FIXED = tuple(round(share, 2) for share in np.arange(0.5, 1.0, 0.05))
"""Shares of the run after which the yardstick ends it."""
RULES = ("offset_saturation", "hill", "sigmoid")
"""Laws by which runs are stopped."""
YARDSTICK = "all at the same step"
ALLOWED = 0.01
"""Accuracy that may be lost: one point."""


@dataclass(frozen=True)
class Watched:
    """A curve and what a rule would have computed after each of its steps."""

    curve: RewardCurve
    rates: np.ndarray
    """Of steps 1, ..., T − 1; infinity where there is no forecast yet. Shape (T − 1,)."""


def watch(curves: Iterable[RewardCurve], rule: RemainingGain) -> list[Watched]:
    """The rates on which a rule decides, once for all thresholds."""
    watched = []
    for curve in curves:
        told = replace(rule, horizon=curve.horizon)
        rates = [told.rate(curve.rewards[:end]) if end >= told.first else np.inf for end in range(1, curve.horizon)]
        watched.append(Watched(curve, np.array(rates)))
    return watched


def stops(watched: Sequence[Watched], threshold: float, patience: int = RemainingGain.patience) -> np.ndarray:
    """The step at which each run ends, the horizon where nothing stops it; shape (runs,)."""
    ends = []
    for one in watched:
        below = one.rates < threshold
        held = np.array([below[max(0, end - patience) : end].all() for end in range(1, len(below) + 1)])
        held[: patience - 1] = False
        ends.append(int(held.argmax()) + 1 if held.any() else one.curve.horizon)
    return np.array(ends)


def outcome(curves: Sequence[RewardCurve], ends: np.ndarray) -> dict[str, float]:
    """``saved`` (share of all steps), ``lost`` (mean accuracy over all runs) with 95 % intervals over configurations
    (``saved_low`` ...), ``lost_top`` (over runs at the top), ``stopped_top`` and ``top`` (runs), and ``regret``: mean
    over pools of the best final accuracy less that of the run with the best score where it ended."""
    steps = np.array([curve.horizon for curve in curves])
    kept = np.array([curve.accuracy[end] for curve, end in zip(curves, ends, strict=True)])
    final = np.array([curve.accuracy[-1] for curve in curves])
    lost, top = final - kept, np.array([curve.top for curve in curves])
    clusters = [curve.configuration for curve in curves]
    values = np.column_stack([steps - ends, steps, lost])
    saved_low, saved_high = cluster_interval(values, clusters, lambda rows: rows[:, 0].sum() / rows[:, 1].sum())
    lost_low, lost_high = cluster_interval(values, clusters, lambda rows: rows[:, 2].mean())
    return {
        "runs": len(curves), "saved": (steps - ends).sum() / steps.sum(), "saved_low": saved_low,
        "saved_high": saved_high, "lost": lost.mean(), "lost_low": lost_low, "lost_high": lost_high,
        "lost_top": lost[top].mean() if top.any() else np.nan, "stopped_top": int((ends < steps)[top].sum()),
        "top": int(top.sum()), "regret": _regret(curves, kept, final),
    }  # fmt: skip


def _regret(curves: Sequence[RewardCurve], kept: np.ndarray, final: np.ndarray) -> float:
    pools: dict[tuple, list[int]] = {}
    for place, curve in enumerate(curves):
        pools.setdefault(curve.pool, []).append(place)
    return float(np.mean([final[p].max() - final[p][kept[p].argmax()] for p in map(np.array, pools.values())]))


Ends = Mapping[str, Mapping[float, np.ndarray]]
"""Rule -> setting -> the step at which each run ends, shape (runs,)."""


def ends_of(curves: Sequence[RewardCurve]) -> Ends:
    """Every law at every threshold and the yardstick at every share; of each, the last setting stops nothing."""
    found = {}
    for law in RULES:
        watched = watch(curves, RemainingGain(law=law))
        found[law] = {t: stops(watched, t) for t in (*THRESHOLDS, -np.inf)}
    found[YARDSTICK] = {share: np.array([round(share * curve.horizon) for curve in curves]) for share in (*FIXED, 1.0)}
    return found


def frontier(curves: Sequence[RewardCurve], ends: Ends) -> pd.DataFrame:
    """`outcome` of every ``rule`` at every ``setting``: a row each."""
    rows = [
        {"rule": rule, "setting": setting} | outcome(curves, at)
        for rule, settings in ends.items()
        for setting, at in settings.items()
        if curves and not stops_nothing(setting)
    ]
    return pd.DataFrame(rows)


def stops_nothing(setting: float) -> bool:
    return setting in (-np.inf, 1.0)


def unseen(curves: Sequence[RewardCurve], ends: Ends) -> pd.DataFrame:
    """What is saved and lost where the setting was chosen elsewhere: for each problem (each study, where there is one
    problem) the setting that saves most on the others at a loss of `ALLOWED` at most, applied to it. One row per rule:
    the columns of `outcome` over all held-out runs together, and ``settings``, those chosen."""
    label = _parts(curves)
    if len(set(label)) < 2:
        return pd.DataFrame()
    rows = []
    for rule, by_setting in ends.items():
        held_out, chosen = np.zeros(len(curves), dtype=int), []
        for part in dict.fromkeys(label):
            inside = np.array([name == part for name in label])
            setting = _most_saved([c for c, i in zip(curves, inside, strict=True) if not i], by_setting, ~inside)
            chosen.append(setting)
            held_out[inside] = by_setting[setting][inside]
        rows.append({"rule": rule, "settings": ", ".join(f"{s:g}" for s in chosen)} | outcome(curves, held_out))
    return pd.DataFrame(rows)


def _parts(curves: Sequence[RewardCurve]) -> list[str]:
    """What a setting is chosen without: the curve's problem or, of one problem only, its study."""
    several = len(problems_of(curves)) > 1
    return [curve.problem if several else str(curve.pool[:2]) for curve in curves]


def _most_saved(curves: Sequence[RewardCurve], by_setting: Mapping[float, np.ndarray], where: np.ndarray) -> float:
    """The setting that ends runs earliest on the whole, of those that lose `ALLOWED` at most."""
    allowed = {}
    for setting, ends in by_setting.items():
        lost = np.mean([c.accuracy[-1] - c.accuracy[e] for c, e in zip(curves, ends[where], strict=True)])
        if lost <= ALLOWED:
            allowed[setting] = ends[where].sum()
    return min(allowed, key=allowed.__getitem__)
