"""A recording read as a table: which runs belong to one configuration, and how each did at every recorded step.

The recording trains every configuration of a design on each model, on the smaller ones with its learning rate as it
is and mapped by width (`baselines.recording`). Trials are put together again from what the records hold: the runs of
one configuration follow one another, differ in nothing but model and learning rate, and end with the target's.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pandas as pd

from experiments.gather import KEYS, Records
from jfhpo.core.problem import LR
from jfhpo.core.trial import Status

CONFIGURATION = [*KEYS, "configuration"]
"""What names a configuration of a design."""
AS_IT_IS, BY_WIDTH = "none", "width"
"""How a run came by its learning rate: the target's own, or mapped by width."""
FAILED_ACCURACY = 0.0
"""What a failed run counts as: below every run that did not fail, so the lowest rank."""

RUN_COLUMNS = [*CONFIGURATION, "trial", "model", "on_target", "transfer", "target_config", "status", "steps_done"]


def runs(records: Records) -> pd.DataFrame:
    """One row per run of a configuration whose target run was at least begun: CONFIGURATION (counted from 0 in each
    study), trial, model, on_target, ``transfer`` (`AS_IT_IS` or `BY_WIDTH`; the target's run is as it is),
    ``target_config`` (with the target's learning rate), status (None while it runs) and steps_done."""
    search = records.trials[records.trials["phase"] == "search"]
    targets = records.studies.set_index(KEYS)["target"].to_dict()
    rows: list[dict[str, Any]] = []
    for key, trials in search.groupby(KEYS, sort=False):
        for number, members in enumerate(_configurations(trials, targets[key])):
            name = dict(zip(CONFIGURATION, (*key, number), strict=True))
            rows += [name | row for row in _runs_of_one(members, targets[key])]
    return pd.DataFrame(rows, columns=RUN_COLUMNS)


def _configurations(trials: pd.DataFrame, target: str) -> list[list[Any]]:
    """A study's trials in the order of asking, cut where another configuration begins."""
    found: list[list[Any]] = []
    for trial in trials.sort_values("trial").itertuples():
        last = found[-1][-1] if found else None
        if last is None or last.model == target or _but_lr(last.config) != _but_lr(trial.config):
            found.append([])
        found[-1].append(trial)
    return found


def _but_lr(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != LR}


def _runs_of_one(members: list[Any], target: str) -> list[dict[str, Any]]:
    """The runs of one configuration; none where its target run was never begun: there is nothing to compare with."""
    if members[-1].model != target:
        return []
    own, rows = dict(members[-1].config), []
    for model, same in groupby(members, key=lambda trial: trial.model):
        taken = False  # on a proxy as wide as the target both runs have the target's learning rate: its own is first
        for trial in same:
            as_it_is = trial.config.get(LR) == own.get(LR) and not taken
            taken = taken or as_it_is
            transfer = AS_IT_IS if as_it_is else BY_WIDTH
            row = {"trial": trial.trial, "model": model, "on_target": model == target, "transfer": transfer}
            rows.append(row | {"target_config": own, "status": trial.status, "steps_done": trial.steps_done})
    return rows


def recorded_steps(records: Records, problem: str) -> list[int]:
    """The steps at which the problem's studies validate, rising; the last is that of full runs."""
    rungs = records.of(problem).studies["rungs"].dropna()
    return sorted({int(step) for listed in rungs for step in listed})


def accuracies(records: Records, problem: str) -> pd.DataFrame:
    """Validation accuracy (a share) of every run of a problem at every recorded step: the columns of `runs`, then one
    per step. `FAILED_ACCURACY` from a run's failure on and at full steps; NaN where a run has not come so far."""
    here, steps = records.of(problem), recorded_steps(records, problem)
    table = runs(here)
    validated = here.steps[here.steps["val_accuracy"].notna()]
    known = validated.set_index([*KEYS, "trial", "step"])["val_accuracy"].to_dict()
    for step in steps:
        seen = [known.get((*(getattr(run, k) for k in KEYS), run.trial, step)) for run in table.itertuples()]
        table[step] = pd.Series(seen, index=table.index, dtype=float)
        failed = (table["status"] == Status.FAILED) & ((table["steps_done"] < step) | (step == steps[-1]))
        table.loc[failed, step] = FAILED_ACCURACY
    return table


def models(table: pd.DataFrame) -> list[str]:
    """The models of `runs` in the order of recording, smallest first: the target is the last."""
    return list(dict.fromkeys(table["model"]))


def designed(records: Records, problem: str) -> int:
    """Configurations that were begun on any model, those without a target run included."""
    here = records.of(problem)
    targets = here.studies.set_index(KEYS)["target"].to_dict()
    search = here.trials[here.trials["phase"] == "search"]
    return sum(len(_configurations(trials, targets[key])) for key, trials in search.groupby(KEYS, sort=False))
