"""Records of one study on several engines: what a step costs on each, and whether they rank configurations alike.

Pure functions of `experiments.gather.Records`, whose problems are the engines. Accuracies are shares.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from experiments.engines.sweep import ENGINES, RANKED
from experiments.gather import FINISHED, Records
from experiments.proxy_correlation import ranks
from experiments.statistics.intervals import bootstrap_weights, percentiles
from jfhpo.core.space import config_key
from jfhpo.core.trial import Status

FAILED_ACCURACY = 0.0
"""What a failed run counts as: the lowest rank."""


def engines(records: Records) -> list[str]:
    """Those with studies, in the order of the sweep; others after them."""
    known = {name: i for i, name in enumerate(ENGINES)}
    return sorted(records.problems(), key=lambda name: (known.get(name, len(known)), name))


def ranked(records: Records) -> pd.DataFrame:
    """One row per configuration of `RANKED` and engine: ``engine``, ``key`` (names the configuration), ``config``,
    ``status`` and ``accuracy`` (validation after the last step; `FAILED_ACCURACY` of a failed run), in the order of
    asking."""
    trials = records.trials[(records.trials["method"] == RANKED) & (records.trials["phase"] == "search")]
    trials = trials[trials["status"].isin([Status.COMPLETED, Status.FAILED])]
    score = trials["score"].astype(float).where(trials["status"] != Status.FAILED, FAILED_ACCURACY)
    found = trials.assign(engine=trials["problem"], key=[config_key(c) for c in trials["config"]], accuracy=score)
    return found[["engine", "key", "trial", "config", "status", "accuracy"]].sort_values(["engine", "trial"])


def agreement(records: Records) -> pd.DataFrame:
    """One row per pair of engines: ``n`` configurations that ran on both, ``spearman`` of their final accuracies with
    the 95 % bootstrap interval over configurations ``low`` and ``high`` (NaN under `ranks.LEAST` of them),
    ``best_shared`` (both have the same best configuration) and ``difference`` (mean absolute, of accuracies)."""
    table = ranked(records).pivot(index="key", columns="engine", values="accuracy")
    names, rows = [e for e in engines(records) if e in table], []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            both = table[[one, other]].dropna()
            x, y = both[one].to_numpy(float), both[other].to_numpy(float)
            row = {"one": one, "other": other, "n": len(both), "spearman": math.nan, "low": math.nan, "high": math.nan}
            if len(both) >= 3:
                row["spearman"] = float(ranks.spearman(x, y, np.ones((1, len(x))))[0])
            if len(both) >= ranks.LEAST:
                row["low"], row["high"] = percentiles(ranks.spearman(x, y, bootstrap_weights(len(x))))
            row["best_shared"] = bool(len(both) and both[one].idxmax() == both[other].idxmax())
            row["difference"] = float(np.abs(x - y).mean()) if len(both) else math.nan
            rows.append(row)
    columns = ["one", "other", "n", "spearman", "low", "high", "best_shared", "difference"]
    return pd.DataFrame(rows, columns=columns)


def costs(records: Records) -> pd.DataFrame:
    """One row per engine: ``trials`` that ended, ``failed``, ``step`` (median seconds), with the quartiles ``step_low``
    and ``step_high``, and ``beside`` (median over trials of the seconds that belong to no step: start-up, saving)."""
    rows = []
    for engine in engines(records):
        part = records.of(engine)
        trials = part.trials[part.trials["status"].notna()]
        steps = part.steps.astype({"seconds": float})
        row = {"engine": engine, "trials": len(trials), "failed": int((trials["status"] == Status.FAILED).sum())}
        low, median, high = steps["seconds"].quantile([0.25, 0.5, 0.75]) if len(steps) else [math.nan] * 3
        taken = steps.groupby(["method", "seed", "trial", "phase"])["seconds"].sum()
        whole = trials.set_index(["method", "seed", "trial", "phase"])["seconds"].astype(float)
        beside = (whole - taken).dropna()
        rows.append(row | {"step": median, "step_low": low, "step_high": high, "beside": beside.median()})
    return pd.DataFrame(rows)


def studies(records: Records) -> pd.DataFrame:
    """One row per finished study: engine, method, seed, ``recommended``, ``validation``, ``greedy``, ``mean_at_k``,
    ``k`` of the test, ``trials`` and ``seconds`` in all."""
    done = records.studies[records.studies["state"] == FINISHED]
    rows = []
    for study in done.itertuples():
        own = records.trials[(records.trials["problem"] == study.problem) & (records.trials["method"] == study.method)]
        own = own[own["seed"] == study.seed]
        row = {"engine": study.problem, "method": study.method, "seed": study.seed, "recommended": study.recommended}
        row |= {name: getattr(study, name) for name in ("validation", "greedy", "mean_at_k", "k")}
        rows.append(row | {"trials": len(own), "seconds": own["seconds"].astype(float).sum()})
    columns = ["engine", "method", "seed", "recommended", "validation", "greedy", "mean_at_k", "k", "trials", "seconds"]
    found = pd.DataFrame(rows, columns=columns)
    return found.astype(dict.fromkeys(("validation", "greedy", "mean_at_k", "seconds"), float))


def curves(records: Records) -> pd.DataFrame:
    """Every step of the ranked configurations: ``engine``, ``key``, ``lr``, ``step``, ``reward`` and ``validation``."""
    named = ranked(records)
    steps = records.steps[(records.steps["method"] == RANKED) & (records.steps["phase"] == "search")]
    found = steps.merge(named, left_on=["problem", "trial"], right_on=["engine", "trial"])
    found["lr"] = [float(config.get("lr", math.nan)) for config in found["config"]]
    found = found.rename(columns={"reward_mean": "reward", "val_accuracy": "validation"})
    return found[["engine", "key", "lr", "step", "reward", "validation"]]
