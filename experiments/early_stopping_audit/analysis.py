"""Every stopping rule replayed over full runs: trials stopped, steps saved, and top-three configurations killed.

The replay is what a study with one worker would have done. Trials come in the order in which they were asked for, a
trial's rivals are what the trials before it left by then (so a rival ends where the preset stopped it), and the last
step is not judged, since nothing is left to save. The score of a run is its validation accuracy at the full number
of steps, which a stopped trial would never have reached.

What "top three" means: a *pool* is the full runs of one study on one model. The same configuration with its learning
rate as it is and mapped by width is two configurations, as it is for the study that trained both. A run is at the top
of its pool if at most two runs of it scored higher, so a tie at the third place counts as top and the count can only
be stricter. This is stricter than three per model over all studies, too: those are among the pools' top three.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.gather import KEYS, RECORDED, Records
from experiments.statistics.intervals import ratio_of_sums, wilson
from jfhpo.core.trial import COST_UNITS, Cost, Fidelity, Status, StepRecord, Trial, TrialResult
from jfhpo.dynamics.early_stopping import PRESETS, Rule, Stop, judge, with_horizon
from jfhpo.study.history import rivals

TOP = 3
TARGET_SAVED = 0.20
"""Share of steps that `robust` must save on every model, with no run of the top three stopped."""
ALL_MODELS = "all"


def suspects() -> dict[str, tuple[Rule, ...]]:
    """What is replayed: every preset that has rules, then every rule of any preset alone, by the name it records."""
    presets = {name: rules for name, rules in PRESETS.items() if rules}
    single = {rule.name: (rule,) for rules in presets.values() for rule in rules}
    return presets | single


@dataclass(frozen=True)
class Run:
    """A full run and where a preset would have ended it."""

    problem: str
    study: tuple[str, int]
    """Method (or label) and seed."""
    result: TrialResult
    top: bool
    """Whether at most two runs of its pool scored higher."""
    stop: Stop | None = None

    @property
    def model(self) -> str:
        return self.result.trial.fidelity.model

    @property
    def pool(self) -> tuple[str, tuple[str, int], str]:
        return self.problem, self.study, self.model

    @property
    def saved(self) -> int:
        """Steps that the preset would have left out."""
        return 0 if self.stop is None else len(self.result.curve) - self.stop.step


def full_runs(records: Records) -> list[Run]:
    """The search trials that went from the base model to the full number of steps, or failed on the way there, in
    the order in which they were asked for. A failed run has no score and is never at the top."""
    horizon = {tuple(row[k] for k in KEYS): row["max_steps"] for _, row in records.studies.iterrows()}
    curves = {key: _curve(steps) for key, steps in records.steps.groupby([*KEYS, "trial"], sort=False)}
    runs = []
    for row in records.trials.sort_values([*KEYS, "trial"]).to_dict("records"):
        study = tuple(row[k] for k in KEYS)
        curve = curves.get((*study, row["trial"]))  # none where a trial failed before its first step
        ended = row["status"] in (Status.COMPLETED, Status.FAILED) and row["resumed_from"] == 0
        if row["phase"] == "search" and ended and row["steps"] == horizon[study] and curve:
            runs.append(Run(study[0], study[1:], _result(row, curve), top=False))
    bars = {pool: _bar([r.result.score for r in runs if r.pool == pool]) for pool in {r.pool for r in runs}}
    return [dataclasses.replace(r, top=r.result.score is not None and r.result.score >= bars[r.pool]) for r in runs]


def _bar(scores: Sequence[float | None]) -> float:
    """The third-best score, or the worst of fewer."""
    return min(sorted((s for s in scores if s is not None), reverse=True)[:TOP], default=math.inf)


def _curve(steps: pd.DataFrame) -> tuple[StepRecord, ...]:
    """A trial's rows as the records that the rules judge."""
    records = []
    for row in steps.sort_values("step").to_dict("records"):
        validated = row["val_accuracy"] if pd.notna(row["val_accuracy"]) else None
        fields = {name: row[name] for name in RECORDED} | {"val_accuracy": validated}
        records.append(StepRecord(**fields, cost=Cost(*(row[unit] for unit in COST_UNITS))))
    return tuple(records)


def _result(row: Mapping, curve: tuple[StepRecord, ...]) -> TrialResult:
    status = Status(row["status"])
    cost = Cost(*(row[unit] for unit in COST_UNITS))
    return TrialResult(
        trial=Trial(row["trial"], row["config"], Fidelity(row["model"], row["steps"]), seed=row["seed"]),
        status=status,
        reason=row["reason"],
        steps_done=len(curve),
        score=float(row["score"]) if status is Status.COMPLETED else None,
        curve=curve,
        cost=cost,
        cost_from_scratch=cost,
    )


def replay(preset: Sequence[Rule], runs: Sequence[Run]) -> list[Run]:
    """`runs`, given in the order in which they were asked for, each with its stop."""
    told: dict[tuple, list[TrialResult]] = {}
    replayed = []
    for run in runs:
        before = told.setdefault(run.pool, [])
        trial = run.result.trial
        stop = first_stop(with_horizon(preset, trial.fidelity.steps), run.result.curve, rivals(before, trial))
        left = run.result.curve if stop is None else run.result.curve[: stop.step]
        before.append(dataclasses.replace(run.result, curve=left, steps_done=len(left)))
        replayed.append(dataclasses.replace(run, stop=stop))
    return replayed


def first_stop(
    preset: Sequence[Rule], curve: Sequence[StepRecord], others: Sequence[Sequence[StepRecord]] = ()
) -> Stop | None:
    """The verdict that would have ended a run, judged after every step but the last."""
    return next((s for end in range(1, len(curve)) if (s := judge(preset, curve[:end], others)) is not None), None)


def audit(records: Records) -> pd.DataFrame:
    """One row per problem, preset or rule (``name``; ``preset`` tells which it is) and model, then one over all
    models: ``runs``, ``stopped``, ``saved`` (share of all steps) with its 95 % bootstrap interval over runs,
    ``top`` (runs at the top of their pools), ``kills`` (those stopped) and ``kills_high`` (upper end of the 95 %
    Wilson interval of their share), and the mean final score (share) of the runs stopped and kept, completed ones
    only; NaN where there are none."""
    rows = []
    runs = full_runs(records)
    for problem in records.problems():
        here = [r for r in runs if r.problem == problem]
        models = list(dict.fromkeys(r.model for r in here))
        for name, preset in suspects().items():
            replayed = replay(preset, here)
            parts = {m: [r for r in replayed if r.model == m] for m in models}
            if len(models) > 1:
                parts[ALL_MODELS] = replayed
            for model, part in parts.items():
                rows.append({"problem": problem, "name": name, "preset": name in PRESETS, "model": model} | _row(part))
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    "problem", "name", "preset", "model", "runs", "stopped", "saved", "saved_low", "saved_high", "top", "kills",
    "kills_high", "stopped_score", "kept_score",
]  # fmt: skip


def _row(part: Sequence[Run]) -> dict[str, float]:
    steps = np.array([len(r.result.curve) for r in part])
    saved = np.array([r.saved for r in part])
    top = [r for r in part if r.top]
    kills = sum(r.stop is not None for r in top)
    low, high = ratio_of_sums(saved, steps)
    return {
        "runs": len(part), "stopped": sum(r.stop is not None for r in part),
        "saved": saved.sum() / steps.sum(), "saved_low": low, "saved_high": high,
        "top": len(top), "kills": kills, "kills_high": wilson(kills, len(top))[1],
        "stopped_score": _mean_score(r for r in part if r.stop is not None),
        "kept_score": _mean_score(r for r in part if r.stop is None),
    }  # fmt: skip


def _mean_score(runs: Iterable[Run]) -> float:
    scores = [r.result.score for r in runs if r.result.score is not None]
    return float(np.mean(scores)) if scores else math.nan


def meets_target(rows: pd.DataFrame) -> bool:
    """Whether a preset saves what it must on every one of these rows (models), and kills none of the top three."""
    return bool(len(rows)) and bool(((rows["saved"] >= TARGET_SAVED) & (rows["kills"] == 0)).all())
