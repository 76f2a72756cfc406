"""What each mechanism of JF-HPO is worth: paired differences between rows of the table, seed by seed.

Studies of one seed share the training seeds and the budget, so rows are compared on the seeds that both have. A
difference is always the row's test accuracy less the reference's, as a share: below zero the reference is ahead.
Intervals are 95 % over seeds. Pure functions of the frames of `experiments.gather.Records`.
"""

from __future__ import annotations

import math

import pandas as pd

from experiments.ablations.sweep import VARIANTS
from experiments.gather import FINISHED, Records
from experiments.main import analysis as main
from experiments.main.analysis import REFERENCE
from experiments.statistics.intervals import bca_interval, t_half_width
from jfhpo.core.trial import Status

FULL = "jfhpo"
"""The method with all its mechanisms: what the ablations are measured against."""
MAIN_ROWS = ("recipe", REFERENCE, "jfhpo_paper", FULL)
"""The methods proper; the other rows are `FULL` with one mechanism changed."""
ABLATIONS = tuple(VARIANTS)
WORST_ALLOWED = 0.70
"""Test accuracy that no seed of `FULL` may be below: one broken run in eight is not a method to use."""


def paired(records: Records, reference: str) -> pd.DataFrame:
    """One row per problem and method but the reference: ``pairs`` (seeds that both have), ``difference`` (mean of
    the row's mean@k less the reference's), ``low`` and ``high`` (BCa), ``t_low`` and ``t_high`` (Student's t), and on
    how many of the seeds the row is ``ahead``, ``tied`` or ``behind``."""
    rows = []
    for problem in records.problems():
        table = main.scores(records, problem)
        against = table[reference] if reference in table else pd.Series(math.nan, table.index)
        for method in table.columns.drop(reference, errors="ignore"):
            values = (table[method] - against).dropna()
            mean = float(values.mean()) if len(values) else math.nan
            half = t_half_width(values.tolist())
            low, high = bca_interval(values.tolist())
            rows.append(
                {"problem": problem, "method": method, "reference": reference, "pairs": len(values)}
                | {"difference": mean, "low": low, "high": high, "t_low": mean - half, "t_high": mean + half}
                | {"ahead": int((values > 0).sum()), "tied": int((values == 0).sum())}
                | {"behind": int((values < 0).sum())}
            )
    names = ["problem", "method", "reference", "pairs", "difference", "low", "high", "t_low", "t_high"]
    return pd.DataFrame(rows, columns=[*names, "ahead", "tied", "behind"])


def excludes_zero(low: float, high: float) -> bool:
    """Whether an interval says which side of zero a difference is on; one that is not known says nothing."""
    return bool(low > 0 or high < 0)


def overview(records: Records) -> pd.DataFrame:
    """One row per problem and method: the columns of `main.accuracy`, ``worst`` (the lowest seed's mean@k),
    ``final_cut`` (tested studies whose final training the budget cut short), ``trials`` per search and
    ``seconds_per_trial``, and the columns of `paired` against `FULL` (NaN in its own row)."""
    keys = ["problem", "method"]
    done = records.studies[records.studies["state"] == FINISHED]
    done = done.assign(worst=done["mean_at_k"].astype(float), final_cut=done["final_status"] == Status.CUT)
    worst = done.groupby(keys, as_index=False).agg({"worst": "min", "final_cut": "sum"})
    costs = main.efficiency(records)[[*keys, "trials", "seconds_per_trial"]]
    frame = main.accuracy(records)
    for more in (worst, costs, paired(records, FULL)):
        frame = frame.merge(more, on=keys, how="left")
    return frame
