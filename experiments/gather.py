"""Reads studies back: ``results/<experiment>/<problem>/<method>/seed=<n>/records.jsonl`` into three tidy frames.

Everything that a table or a figure says comes from here, and here from the records alone; `summary.json` is for
people. Two things are never papered over: steps that a resumed study took again are void, and a run that its
neighbours have but is not there, not finished or without a test result is a row with the command that makes it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from jfhpo.core.errors import UsageError, nearest
from jfhpo.core.trial import COST_UNITS, Status, StepRecord
from jfhpo.study.records import read_records

KEYS = ["problem", "method", "seed"]
"""What names a study within an experiment."""
METHOD_ORDER = (
    "recipe", "random_search", "hyperband", "asha", "bohb", "tpe", "gp_ei", "smac", "nomad",
    "jfhpo_paper", "jfhpo",
    "no_proxy", "no_checkpoint_reuse", "no_early_stopping", "scaling_law_rule", "no_lr_mapping", "smaller_proxy",
)  # fmt: skip
"""Order of methods in every table and figure, the paper's, then ``jfhpo`` with one mechanism changed at a
time; others stand before ``jfhpo_paper``."""
DEFAULT_SCALE, DEFAULT_PROBLEM = "mini", "last_digit"

FINISHED, UNFINISHED, MISSING, UNTESTED = "finished", "unfinished", "missing", "untested"
"""States of a study. Untested: it ran to its end, but its final training left no test result."""


@dataclass(frozen=True)
class Records:
    """One experiment as frames; money columns are ``seconds``, ``tokens`` and ``flops`` as in `Cost`."""

    experiment: str
    studies: pd.DataFrame
    """One row per study, missing ones included: KEYS, state, command (what makes it), the study event's settings
    (task, budget, unit, proxy, target, max_steps, simulation: what a simulated trainer was made with, ...),
    elapsed (seconds from its first event to its last, those between a stop and going on included), optimizer_seconds,
    recommended (config), recommendation (the method's summary), final_model, final_steps, final_status, final_reason,
    validation (of the recommended configuration on the target), and of the test split greedy, mean_at_k,
    standard_error, k, prompts."""
    trials: pd.DataFrame
    """One row per trial: KEYS, trial, phase (search or final), model, steps, config, ``asked_*`` (what the study had
    spent when it was asked for), favourite (what would have been recommended then, None before any result), status
    (None while it runs), reason, steps_done, score, resumed_from, the cost that was paid, and ``scratch_*``: the cost
    without checkpoint reuse."""
    steps: pd.DataFrame
    """One row per step that counts: KEYS, trial, phase, model, the fields of `StepRecord` (val_accuracy is None where
    not validated; measured is a dictionary), the step's own cost, and ``spent_*``: what the study had spent after it.
    In the order of recording."""

    def problems(self) -> list[str]:
        """Their names, sorted."""
        return sorted(self.studies["problem"].unique())

    def of(self, problem: str) -> Records:
        """The part that is about one problem."""
        return self._where("problem", [problem])

    def only(self, methods: Collection[str]) -> Records:
        """The part that is about some of the methods."""
        return self._where("method", methods)

    def _where(self, column: str, values: Collection[str]) -> Records:
        frames = (self.studies, self.trials, self.steps)
        return Records(self.experiment, *(f[f[column].isin(list(values))] for f in frames))


def method_rank(method: str) -> tuple[float, str]:
    """Sort key of a method; those unknown here come before ``jfhpo_paper``, by name."""
    known = {m: float(i) for i, m in enumerate(METHOD_ORDER)}
    return known.get(method, known["jfhpo_paper"] - 0.5), method


def command(study: Mapping[str, Any], experiment: str, with_problem: bool) -> str:
    """The command that makes a run, or finishes it: the same words; without a seed, all of the method's runs."""
    problem = f" problem={study['problem']}" if with_problem or study["problem"] != DEFAULT_PROBLEM else ""
    seed = f" seed={study['seed']}" if "seed" in study else ""
    words = f"experiment={experiment}{problem} method={study['method']}{seed}"
    return f"./run_all.sh {study.get('scale') or DEFAULT_SCALE} {words}"


def load(out: Path, experiment: str) -> Records:
    """All studies of an experiment under `out`; a `UsageError` that says how to make them where there are none."""
    root = Path(out) / experiment
    folders = [p for p in root.glob("*/*/seed=*") if re.fullmatch(r"seed=\d+", p.name) and p.is_dir()]
    if not folders:
        raise _nothing(Path(out), experiment)
    studies, trials, steps = [], [], []
    for folder in sorted(folders):
        key = {"problem": folder.parts[-3], "method": folder.parts[-2], "seed": int(folder.name[5:])}
        study, its_trials, its_steps = _study(read_records(folder))
        studies.append(key | study)
        trials += [key | row for row in its_trials]
        steps += [key | row for row in its_steps]
    studies += _missing(studies)
    several = len({s["problem"] for s in studies}) > 1
    for study in studies:
        study["command"] = command(study, experiment, with_problem=several)
    return Records(
        experiment, _frame(studies, STUDY_COLUMNS), _frame(trials, TRIAL_COLUMNS), _frame(steps, STEP_COLUMNS)
    )


def _nothing(out: Path, experiment: str) -> UsageError:
    others = sorted({p.parts[-4] for p in out.glob("*/*/*/seed=*")})
    there = f"; there is: {', '.join(others)}{nearest(experiment, others)}" if others else ""
    make = f"./run_all.sh {DEFAULT_SCALE} experiment={experiment}"
    return UsageError(f"no results of experiment={experiment} under out={out}{there}; make them with: {make}")


def _missing(studies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for the seeds that some method of a problem has and another has not."""
    missing = []
    for problem in sorted({s["problem"] for s in studies}):
        here = [s for s in studies if s["problem"] == problem]
        seeds, scale = {s["seed"] for s in here}, next((s["scale"] for s in here if s.get("scale")), None)
        for method in sorted({s["method"] for s in here}):
            gone = seeds - {s["seed"] for s in here if s["method"] == method}
            row = {"problem": problem, "method": method, "state": MISSING, "scale": scale}
            missing += [row | {"seed": seed} for seed in sorted(gone)]
    return missing


SETTINGS = [
    "task", "proxy", "target", "max_steps", "rungs", "workers", "scale", "trainer", "simulation", "machine",
    "code_version",
]  # fmt: skip
TESTED = ["greedy", "mean_at_k", "standard_error", "k", "prompts"]
SPENT = [f"spent_{unit}" for unit in COST_UNITS]
ASKED = [f"asked_{unit}" for unit in COST_UNITS]
STUDY_COLUMNS = [
    *KEYS, "state", "command", *SETTINGS, "budget", "unit", "elapsed", "optimizer_seconds", "recommended",
    "recommendation", "final_model", "final_steps", "final_status", "final_reason", "validation", *TESTED,
]  # fmt: skip
TRIAL_COLUMNS = [
    *KEYS, "trial", "phase", "model", "steps", "config", *ASKED, "favourite", "status", "reason", "steps_done", "score",
    "resumed_from", *COST_UNITS, *(f"scratch_{unit}" for unit in COST_UNITS),
]  # fmt: skip
RECORDED = [f.name for f in dataclasses.fields(StepRecord) if f.name not in ("cost", "measured")]
STEP_COLUMNS = [*KEYS, "trial", "phase", "model", *RECORDED, "measured", *COST_UNITS, *SPENT]


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A frame with all columns whether or not any row has them, studies in the order of tables."""
    frame = pd.DataFrame([{c: row.get(c) for c in columns} for row in rows], columns=list(columns))
    keys = [(row["problem"], method_rank(row["method"]), row["seed"]) for row in rows]
    return frame.iloc[sorted(range(len(rows)), key=keys.__getitem__)].reset_index(drop=True)


def _study(events: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """One study's row, its trials' and its steps', from its events in the order of recording."""
    study: dict[str, Any] = {}
    trials: dict[int, dict[str, Any]] = {}
    steps: dict[tuple[int, int], dict[str, Any]] = {}
    optimizer, ended = 0.0, False
    for event in events:
        kind = event["event"]
        optimizer += event.get("optimizer_seconds", 0.0)
        if kind == "study":
            budget = event.get("budget") or {}
            study = {s: event.get(s) for s in SETTINGS}
            study |= {"budget": budget.get("amount"), "unit": budget.get("unit")}
        elif kind == "asked":
            trial = event["trial"]
            trials[trial["id"]] = {
                "trial": trial["id"], "phase": event["phase"], "config": trial["config"], **trial["fidelity"],
                "favourite": event.get("favourite"), **{f"asked_{u}": v for u, v in event.get("spent", {}).items()},
            }  # fmt: skip
        elif kind == "started":
            void = [key for key in steps if key[0] == event["trial"] and key[1] > event["resumed_from"]]
            for key in void:
                del steps[key]
        elif kind == "step":
            trial, record = trials[event["trial"]], event["record"]
            row = {name: trial[name] for name in ("trial", "phase", "model")}
            row |= {name: record[name] for name in RECORDED} | {"measured": record.get("measured", {})}
            row |= record["cost"]
            steps[event["trial"], record["step"]] = row | {f"spent_{u}": event["spent"][u] for u in COST_UNITS}
        elif kind == "told":
            result = event["result"]
            row = trials[result["trial"]]
            row |= {name: result[name] for name in ("status", "reason", "steps_done", "score", "resumed_from")}
            row |= result["cost"] | {f"scratch_{u}": result["cost_from_scratch"][u] for u in COST_UNITS}
            last = steps.get((result["trial"], result["steps_done"]))
            if last is not None and last["val_accuracy"] is None:  # stopped between validations, scored at its end
                last["val_accuracy"] = result["score"]
        elif kind == "recommended":
            study |= {"recommended": event["config"], "recommendation": event.get("summary") or {}}
        elif kind == "evaluated" and event["evaluation"]["split"] == "test":
            study |= {name: event["evaluation"][name] for name in TESTED}
        elif kind == "finished":
            ended = True
    times = [event["time"] for event in events if "time" in event]
    study |= _final(study, list(trials.values())) | {"optimizer_seconds": optimizer}
    study["elapsed"] = times[-1] - times[0] if times else None
    study["state"] = (FINISHED if study.get("greedy") is not None else UNTESTED) if ended else UNFINISHED
    return study, list(trials.values()), list(steps.values())


def _final(study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The training on the target that was tested: the final phase's, or the search trial that already was it."""
    final = [t for t in trials if t["phase"] == "final" and t.get("status")]
    full = [
        t for t in trials
        if t.get("status") == Status.COMPLETED and t["config"] == study.get("recommended")
        and (t["model"], t["steps_done"]) == (study.get("target"), study.get("max_steps"))
    ]  # fmt: skip
    if not final and not full:
        return {}
    trial = (final or full)[-1]
    return {
        "final_model": trial["model"], "final_steps": trial["steps_done"], "final_status": trial["status"],
        "final_reason": trial["reason"], "validation": trial["score"],
    }  # fmt: skip
