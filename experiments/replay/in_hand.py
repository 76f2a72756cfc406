"""What a study had in hand when: the test accuracy of the configuration it would have recommended, trained in full.

A table of recorded runs knows what no live study can: how every recommendation would have turned out. The anytime
curve of validation scores (`experiments.main.analysis.anytime`) starts where a method first trains the target, and
knows nothing of a proxy method's opinion before that. Here a recommendation counts, from the moment at which it could
be had: what was spent when it was made, and on top the rest of its run on the target where that was not trained yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.gather import FINISHED, KEYS, Records
from experiments.statistics.intervals import EQUAL, NO_INTERVAL, at_times, bootstrap_weights, percentiles, t_half_width
from jfhpo.core.seeds import training_seed
from jfhpo.core.space import config_key
from jfhpo.trainers.replay.run import ReplayedRun
from jfhpo.trainers.replay.table import Table, table

SHARES = (0.25, 0.5, 1.0)
COLUMNS = [*KEYS, "spent", "share", "accuracy"]
POINTS = 200
"""Of the grid of shares on which mean curves are compared."""


def in_hand(records: Records) -> pd.DataFrame:
    """A row per change: KEYS, ``spent`` (in the budget's unit), ``share`` of the budget, and ``accuracy``: test mean@k
    of what is in hand from then on. It begins at 0 with the base model (its validation accuracy: no test of it was
    recorded) and ends with the study's own test. Of finished studies on the table, with one worker; others are left
    out."""
    studies = records.studies[(records.studies["state"] == FINISHED) & (records.studies["workers"] == 1)]
    trials: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for trial in records.trials.sort_values("trial", kind="stable").to_dict("records"):
        trials.setdefault(tuple(trial[name] for name in KEYS), []).append(trial)
    rows: list[dict[str, Any]] = []
    for study in studies.to_dict("records"):
        simulation = study["simulation"] or {}
        if simulation.get("serve") == "table":
            key = tuple(study[name] for name in KEYS)
            known = table(simulation["data"], Path(simulation["folder"]))
            for spent, accuracy in _changes(study, trials[key], known):
                row = dict(zip(KEYS, key, strict=True)) | {"spent": spent, "share": spent / study["budget"]}
                rows.append(row | {"accuracy": accuracy})
    return pd.DataFrame(rows, columns=COLUMNS)


def _changes(study: dict[str, Any], trials: Sequence[dict[str, Any]], known: Table) -> Iterator[tuple[float, float]]:
    """(spent, accuracy), rising in what was spent."""
    unit, target, seed = study["unit"], study["target"], training_seed(study["seed"])
    yield 0.0, float(known.run(known.listed(target)[0], target, seed).accuracy[0])
    ready: list[tuple[float, float]] = []
    trained: dict[tuple[Any, ...], int] = {}
    """Configuration -> steps on the target that are there to go on from."""
    for trial in trials:
        if (favourite := trial["favourite"]) is not None and trial["phase"] == "search":
            run = known.run(favourite, target, seed)
            if run.failure is None:
                rest = _rest(run, trained.get(config_key(favourite), 0), unit)
                ready.append((trial[f"asked_{unit}"] + rest, run.test["mean_at_k"]))
        if trial["model"] == target and trial["status"] in ("completed", "stopped", "cut"):
            name = config_key(trial["config"])
            trained[name] = max(trained.get(name, 0), int(trial["steps_done"]))
    ended = float(sum(trial[unit] for trial in trials if trial["status"] is not None))
    newest = -1
    for number in np.argsort([at for at, _ in ready], kind="stable"):
        at, accuracy = ready[number]
        if number > newest and at < ended:  # a later opinion may be had sooner, its run being there already
            newest = number
            yield at, accuracy
    yield ended, study["mean_at_k"]


def _rest(run: ReplayedRun, done: int, unit: str) -> float:
    """What the steps after these cost, with the validation at the end."""
    left = sum(record.cost.of(unit) for record in run.records[done:])
    return left + (run.validation[-1].of(unit) if done < len(run.records) else 0.0)


def standing(found: pd.DataFrame) -> pd.DataFrame:
    """One row per problem, method and share of the budget in `SHARES`: ``seeds``, ``mean`` of the accuracy in hand,
    ``half`` of Student's t interval, and ``rank``: the mean over seeds of the rank among the methods that have the
    seed, 1 the best."""
    rows = []
    for (problem, method, seed), curve in found.groupby(KEYS, sort=False):
        held = at_times(curve["share"].to_numpy(), curve["accuracy"].to_numpy(), np.array(SHARES[:-1]))
        for share, accuracy in zip(SHARES, [*held, curve["accuracy"].iloc[-1]], strict=True):
            rows.append({"problem": problem, "method": method, "seed": seed, "share": share, "accuracy": accuracy})
    each = pd.DataFrame(rows)
    each["rank"] = each.groupby(["problem", "share", "seed"])["accuracy"].rank(ascending=False)
    groups = each.groupby(["problem", "method", "share"], sort=False)
    summary = groups.agg(seeds=("seed", "size"), mean=("accuracy", "mean"), rank=("rank", "mean")).reset_index()
    summary["half"] = [t_half_width(part["accuracy"].tolist()) for _, part in groups]
    return summary


def sooner(found: pd.DataFrame, method: str) -> pd.DataFrame:
    """How much less of the budget `method` needs until it has in hand what others end with. One row per problem and
    other method: ``target``, the other's mean at its end; ``share``, of the budget, from which on the mean of `method`
    is never below it again (NaN: it ends below); and ``ratio``, the other's own such share to it, above 1 where
    `method` is sooner and 0 where it is never, with the ``low`` and ``high`` ends of a bootstrap over the seeds (NaN:
    one seed)."""
    rows = []
    for problem, here in found.groupby("problem", sort=False):
        grid = np.linspace(0, max(1.0, here["share"].max()), POINTS + 1)[1:]
        curves = {
            name: np.array([at_times(c["share"], c["accuracy"], grid) for _, c in own.groupby("seed")])
            for name, own in here.groupby("method", sort=False)
        }  # (seeds, shares)
        for other in [name for name in curves if name != method and method in curves]:
            ours, theirs = curves[method], curves[other]
            target = theirs[:, -1].mean()
            (share,), (own,) = (_for_good(c.mean(axis=0)[None], target, grid) for c in (ours, theirs))
            low, high = NO_INTERVAL
            if min(len(ours), len(theirs)) > 1:
                drawn = [bootstrap_weights(len(c), seed) @ c / len(c) for seed, c in enumerate((ours, theirs))]
                again = [_for_good(means, drawn[1][:, -1], grid) for means in drawn]
                low, high = percentiles(again[1] / again[0])
            share = float(share)
            row = {"problem": problem, "method": other, "target": target, "ratio": float(own) / share}
            rows.append(row | {"share": share if math.isfinite(share) else math.nan, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["problem", "method", "target", "share", "ratio", "low", "high"])


def _for_good(curves: np.ndarray, targets: np.ndarray | float, grid: np.ndarray) -> np.ndarray:
    """The first time of `grid` (times,) from which on a curve (n, times) is at its target (n,) or above; ∞: never."""
    below = curves < np.reshape(targets, (-1, 1)) - EQUAL
    after = grid.size - np.argmax(below[:, ::-1], axis=1)
    return np.where(below.any(axis=1), np.append(grid, math.inf)[after], grid[0])
