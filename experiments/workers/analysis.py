"""Wall-clock time and test accuracy against the number of workers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.gather import FINISHED, Records, method_rank
from experiments.statistics.intervals import bootstrap_ratio, t_half_width
from experiments.workers.sweep import SEPARATOR

COLUMNS = [
    "problem", "method", "workers", "seeds", "wall", "speedup", "speedup_low", "speedup_high", "busy", "accuracy",
    "accuracy_half",
]  # fmt: skip


def scaling(records: Records) -> pd.DataFrame:
    """One row per problem, method and number of workers.

    ``wall``: mean seconds on the executor's clock from a study's first event to its last, final run included;
    ``speedup``: the mean with one worker by this one, with the ends of its 95 % bootstrap interval; ``busy``: trainer
    seconds by workers times ``wall``; ``accuracy``: mean test mean@k, and half of Student's t interval.
    """
    done = records.studies[records.studies["state"] == FINISHED].copy()
    done["base"] = [label.rpartition(SEPARATOR)[0] or label for label in done["method"]]
    done = done.sort_values("base", key=lambda names: names.map(method_rank), kind="stable")
    paid = records.trials.groupby(["problem", "method", "seed"])["seconds"].sum()
    done["paid"] = [paid.get((r.problem, r.method, r.seed), np.nan) for r in done.itertuples()]
    rows = []
    for (problem, method), own in done.groupby(["problem", "base"], sort=False):
        alone = own.loc[own["workers"] == 1, "elapsed"].astype(float).tolist()
        for workers, part in own.groupby("workers"):
            wall, tested = part["elapsed"].astype(float), part["mean_at_k"].astype(float).tolist()
            low, high = bootstrap_ratio(alone, wall.tolist()) if len(alone) and workers > 1 else (np.nan, np.nan)
            row = {"problem": problem, "method": method, "workers": int(workers), "seeds": len(part)}
            row |= {"wall": wall.mean(), "speedup": np.mean(alone) / wall.mean() if alone else np.nan}
            row |= {"speedup_low": low, "speedup_high": high}
            row |= {"busy": (part["paid"] / (workers * wall)).mean()}
            rows.append(row | {"accuracy": np.mean(tested), "accuracy_half": t_half_width(tested)})
    return pd.DataFrame(rows, columns=COLUMNS)
