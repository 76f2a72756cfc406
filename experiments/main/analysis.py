"""From records to numbers: accuracy (the paper's Table 2), efficiency, the anytime curve, and why.

Pure functions of the frames of `experiments.gather.Records`. Accuracies are shares in [0, 1], costs in the units
of `Cost`. Intervals are 95 % and given as half-widths; how each was made stands beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from experiments.gather import FINISHED, KEYS, UNTESTED, Records
from experiments.statistics.intervals import Z, at_times, bootstrap_ratio, share_half_width, t_half_width
from jfhpo.core.problem import LR
from jfhpo.core.trial import Status

REFERENCE = "random_search"
"""What speedups are counted against, as in the paper."""
NO_SEARCH = ("recipe",)
"""Methods that train one given configuration: they have no seconds per search trial."""


# ---- accuracy ----------------------------------------------------------------------------------------------


def accuracy(records: Records) -> pd.DataFrame:
    """One row per problem and method: test ``greedy`` and ``mean_at_k`` with ``*_half``, ``basis`` of both
    intervals (seeds, prompts or none), ``n`` tested of ``expected`` seeds, ``validation`` of the recommended
    configuration on the target, ``final_steps`` (least and most), k and prompts."""
    rows = []
    for (problem, method), group in records.studies.groupby(["problem", "method"], sort=False):
        tested = group[group["state"] == FINISHED]
        n = len(tested)
        row = {"problem": problem, "method": method, "n": n, "expected": len(group)}
        row["basis"] = "seeds" if n > 1 else "prompts" if n else "none"
        for name in ("greedy", "mean_at_k"):
            values = tested[name].astype(float).tolist()
            row[name] = float(np.mean(values)) if n else math.nan
            row[f"{name}_half"] = t_half_width(values)
        if n == 1:
            only = tested.iloc[0]
            row["greedy_half"] = share_half_width(float(only["greedy"]), int(only["prompts"]))
            row["mean_at_k_half"] = Z * float(only["standard_error"])
        row["validation"] = float(tested["validation"].astype(float).mean()) if n else math.nan
        row["final_steps_least"], row["final_steps_most"] = tested["final_steps"].min(), tested["final_steps"].max()
        row["k"] = int(tested["k"].iloc[0]) if n else None
        row["prompts"] = int(tested["prompts"].iloc[0]) if n else None
        rows.append(row)
    return pd.DataFrame(rows)


def scores(records: Records, problem: str, name: str = "mean_at_k") -> pd.DataFrame:
    """Test accuracy of the recommended configurations: a row per seed, a column per method, NaN where untested."""
    studies = records.of(problem).studies
    done = studies[studies["state"] == FINISHED]
    table = done.assign(value=done[name].astype(float)).pivot(index="seed", columns="method", values="value")
    return table.reindex(index=sorted(studies["seed"].unique()), columns=studies["method"].unique())


def gaps(records: Records) -> pd.DataFrame:
    """The runs without a result: KEYS, state and ``message``, which ends in the command that makes the run."""
    rows = records.studies[records.studies["state"] != FINISHED]
    messages = []
    for row in rows.itertuples():
        if row.state == UNTESTED:
            why = f"final training {row.final_status}: {row.final_reason}" if row.final_status else "no test result"
            messages.append(f"untested ({why}): delete its folder, then {row.command}")
        else:
            messages.append(f"{row.state}: {row.command}")
    return rows[[*KEYS, "state"]].assign(message=messages).reset_index(drop=True)


def comparison(records: Records, problem: str) -> dict[str, Any]:
    """The best and the second-best method by test mean@k on one problem: ``best``, ``second``, ``gap``, whether
    their intervals ``overlap``, on how many of the seeds both have (``shared``) the best is ``ahead``, ``n`` (the
    smaller of the two), and whether the table is ``complete``. Empty where nothing is tested."""
    table = accuracy(records.of(problem))
    ranked = table[table["n"] > 0].sort_values("mean_at_k", ascending=False, kind="stable")
    if ranked.empty:
        return {}
    best = ranked.iloc[0]
    facts = {"best": best["method"], "score": float(best["mean_at_k"]), "k": int(best["k"]), "second": None}
    facts |= {"n": int(best["n"]), "complete": gaps(records.of(problem)).empty}
    if len(ranked) == 1:
        return facts
    second = ranked.iloc[1]
    studies = records.of(problem).studies
    by_seed = studies[studies["state"] == FINISHED].set_index(["method", "seed"])["mean_at_k"]
    pair = pd.concat([by_seed[best["method"]], by_seed[second["method"]]], axis=1, join="inner").astype(float)
    gap = float(best["mean_at_k"] - second["mean_at_k"])
    return facts | {
        "second": second["method"],
        "gap": gap,
        "overlap": bool(gap <= best["mean_at_k_half"] + second["mean_at_k_half"]),
        "ahead": int((pair.iloc[:, 0] > pair.iloc[:, 1]).sum()),
        "shared": len(pair),
        "n": int(min(best["n"], second["n"])),
    }


def caveats(records: Records, problem: str) -> list[str]:
    """What makes the rows of one problem unequal, in sentences; empty where the rules of the game hold."""
    studies = records.of(problem).studies
    names = {
        "budget": "budgets", "unit": "budget units", "target": "target models", "max_steps": "full steps",
        "prompts": "numbers of test prompts", "k": "numbers of samples per prompt", "code_version": "code versions",
        "workers": "numbers of workers", "machine": "machines",
    }  # fmt: skip
    found = []
    for column, words in names.items():
        values = sorted({str(v) for v in studies[column].dropna()})
        if len(values) > 1:
            found.append(f"The {words} differ between studies of {problem}: {', '.join(values)}.")
    return found


# ---- efficiency --------------------------------------------------------------------------------------------


def search_costs(records: Records) -> pd.DataFrame:
    """One row per study whose search is over: KEYS, trials ended and by status, search seconds and tokens,
    optimizer_seconds, and per trial that the budget did not cut ``per_trial`` and ``scratch_per_trial``: seconds, and
    those without checkpoint reuse; NaN where there is none. Trials of the final phase are not counted."""
    ended = records.trials[(records.trials["phase"] == "search") & records.trials["status"].notna()]
    studies = records.studies[records.studies["state"].isin([FINISHED, UNTESTED])]
    found = studies[[*KEYS, "optimizer_seconds"]].astype({"optimizer_seconds": float}).set_index(KEYS)
    numbers = ended[KEYS].assign(
        **{name: ended[name].astype(float) for name in ("seconds", "tokens", "scratch_seconds")}
    )
    statuses = pd.crosstab([ended[name] for name in KEYS], ended["status"]) if len(ended) else pd.DataFrame()
    whole = numbers[ended["status"] != Status.CUT].groupby(KEYS)[["seconds", "scratch_seconds"]].mean()
    counts = {s.value: statuses.get(s.value, pd.Series(dtype=int)) for s in Status}
    columns = {"trials": numbers.groupby(KEYS).size(), **counts, **numbers.groupby(KEYS)[["seconds", "tokens"]].sum()}
    for name, column in columns.items():
        found[name] = column.reindex(found.index).fillna(0)
    found["per_trial"], found["scratch_per_trial"] = (whole[name].reindex(found.index) for name in whole)
    money = ["seconds", "tokens", "optimizer_seconds", "per_trial", "scratch_per_trial"]
    counted = ["trials", *(s.value for s in Status)]
    return found.astype(dict.fromkeys(counted, int)).reset_index()[[*KEYS, *counted, *money]]


def efficiency(records: Records) -> pd.DataFrame:
    """One row per problem and method, means over seeds: ``tokens_per_second`` of the search, ``seconds_per_trial``
    (of the search trials that the budget did not cut), ``trials`` and each status per study, ``optimizer_share`` of
    the optimizer's in all search seconds, ``scratch_seconds_per_trial`` (without checkpoint reuse), and ``speedup``
    over `REFERENCE`: its mean seconds per trial by the method's, with a bootstrap interval. NaN where there is no
    search."""
    costs = search_costs(records)
    costs = costs[(costs["trials"] > 0) & ~costs["method"].isin(NO_SEARCH)]
    costs = costs.assign(
        rate=costs["tokens"] / costs["seconds"],
        share=costs["optimizer_seconds"] / (costs["optimizer_seconds"] + costs["seconds"]),
    )
    rows = []
    for (problem, method), group in records.studies.groupby(["problem", "method"], sort=False):
        here = costs[costs["problem"] == problem]
        mine, reference = here[here["method"] == method], here[here["method"] == REFERENCE]
        low, high = bootstrap_ratio(reference["per_trial"].dropna().tolist(), mine["per_trial"].dropna().tolist())
        same = method == REFERENCE
        rows.append(
            {"problem": problem, "method": method, "n": len(mine), "expected": len(group)}
            | {"tokens_per_second": mine["rate"].mean(), "seconds_per_trial": mine["per_trial"].mean()}
            | {name: mine[name].astype(float).mean() for name in ("trials", *(s.value for s in Status))}
            | {"optimizer_share": mine["share"].mean(), "scratch_seconds_per_trial": mine["scratch_per_trial"].mean()}
            | {"speedup": reference["per_trial"].mean() / mine["per_trial"].mean()}
            | {"speedup_low": math.nan if same else low, "speedup_high": math.nan if same else high}
        )
    return pd.DataFrame(rows)


# ---- curves ------------------------------------------------------------------------------------------------


def budget_unit(records: Records, problem: str) -> str:
    """The unit that the problem's studies count their budget in."""
    units = records.of(problem).studies["unit"].dropna()
    return str(units.iloc[0]) if len(units) else "seconds"


def anytime(records: Records, problem: str) -> pd.DataFrame:
    """Best validation accuracy on the target so far: method, seed, ``spent`` (in the budget's unit), ``best``.

    A row per improvement and one at the study's end; proxy validations are not comparable and do not count, nor
    does anything that a failed trial said."""
    part = records.of(problem)
    spent = f"spent_{budget_unit(records, problem)}"
    failures = part.trials[part.trials["status"] == Status.FAILED]
    failed = set(zip(failures["method"], failures["seed"], failures["trial"], strict=True))
    targets = part.studies.set_index(["method", "seed"])["target"]
    validated = part.steps[part.steps["val_accuracy"].notna()]
    counts = [
        step.model == targets[step.method, step.seed] and (step.method, step.seed, step.trial) not in failed
        for step in validated.itertuples()
    ]
    ends = part.steps.groupby(["method", "seed"])[spent].max()
    rows = []
    for (method, seed), steps in validated[counts].groupby(["method", "seed"], sort=False):
        best = -math.inf
        for at, value in steps.sort_values(spent, kind="stable")[[spent, "val_accuracy"]].to_numpy(dtype=float):
            if value > best:
                best = value
                rows.append({"method": method, "seed": seed, "spent": at, "best": best})
        rows.append({"method": method, "seed": seed, "spent": ends[method, seed], "best": best})
    return pd.DataFrame(rows, columns=["method", "seed", "spent", "best"])


def mean_curve(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds of one method's `anytime` curves: ``spent``, ``best``. It begins where every seed has a
    score and ends where the last one ends; a study that has ended keeps its best."""
    seeds = [c.sort_values("spent", kind="stable") for _, c in curves.groupby("seed")]
    begin = max(c["spent"].iloc[0] for c in seeds)
    grid = np.unique(curves["spent"].to_numpy(dtype=float))
    grid = grid[grid >= begin]
    at = [at_times(c["spent"], c["best"], grid) for c in seeds]
    return pd.DataFrame({"spent": grid, "best": np.mean(at, axis=0)})


def model_spans(records: Records, problem: str) -> pd.DataFrame:
    """Which model a study trained when: method, seed, model, phase, ``begin`` and ``end`` in the budget's unit."""
    spent = f"spent_{budget_unit(records, problem)}"
    rows: list[dict[str, Any]] = []
    for (method, seed), steps in records.of(problem).steps.groupby(["method", "seed"], sort=False):
        now, last = 0.0, None
        for step in steps.sort_values(spent, kind="stable").itertuples():
            if last is None or (last["model"], last["phase"]) != (step.model, step.phase):
                last = {"method": method, "seed": seed, "model": step.model, "phase": step.phase, "begin": now}
                rows.append(last)
            last["end"] = now = getattr(step, spent)
    return pd.DataFrame(rows, columns=["method", "seed", "model", "phase", "begin", "end"])


# ---- why ---------------------------------------------------------------------------------------------------


def search_points(records: Records, problem: str) -> pd.DataFrame:
    """The ended search trials of one problem with their learning rate: the trials' columns and ``lr``. Empty where
    the space has no learning rate."""
    trials = records.of(problem).trials
    trials = trials[(trials["phase"] == "search") & trials["status"].notna()]
    return trials.assign(lr=[c.get(LR, math.nan) for c in trials["config"]]).dropna(subset=["lr"])


def stop_reasons(trials: pd.DataFrame) -> dict[str, int]:
    """How many of the trials ended before their fidelity, and why: early stopped ones by their rule (the reason's
    first word), failed ones by their reason, cut ones by the budget: ``{"early_stopped: kl_growth": 3, "cut": 1}``."""
    ended = trials[trials["status"].notna() & (trials["status"] != Status.COMPLETED)]
    words = []
    for status, said in zip(ended["status"], ended["reason"], strict=True):
        reason = said or "no reason given"
        why = {Status.EARLY_STOPPED: f": {reason.split()[0].rstrip(':')}", Status.FAILED: f": {reason}"}
        words.append(status + why.get(status, ""))
    return dict(sorted(Counter(words).items()))
