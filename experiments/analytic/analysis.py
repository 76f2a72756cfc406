"""From records to regret: how far a method's recommendation, trained in full, stays below the known optimum."""

from __future__ import annotations

import pandas as pd

from experiments.gather import FINISHED, Records, method_rank
from experiments.statistics import comparisons
from experiments.statistics.comparisons import ALPHA
from experiments.statistics.intervals import bca_interval, t_half_width, wilson
from jfhpo.trainers.curves.formula import optimum

REFERENCE = "random_search"


def regrets(records: Records) -> pd.DataFrame:
    """Optimum less the true accuracy of the recommended configuration: a row per landscape (seed), a column per method,
    NaN where a study is missing."""
    done = records.studies[records.studies["state"] == FINISHED]
    values = done["max_steps"].map(optimum) - done["mean_at_k"].astype(float)
    table = done.assign(regret=values).pivot(index="seed", columns="method", values="regret")
    return table[sorted(table.columns, key=method_rank)]


def against_reference(records: Records) -> pd.DataFrame:
    """One row per method: ``n`` landscapes, ``regret`` (mean) and ``half`` of its t interval, ``median``, ``cut``
    (final runs that the budget ended) and, paired with `REFERENCE` over the landscapes that both have: ``pairs``,
    ``gain`` (its regret less the method's) with ``low`` and ``high`` (BCa), ``ahead`` (share of landscapes) with
    ``ahead_low`` and ``ahead_high`` (Wilson), ``p`` (paired permutation test) and ``p_holm`` over the methods."""
    table, rows = regrets(records), []
    finals = records.studies.set_index("method")["final_status"]
    for method in table.columns:
        own = table[method].dropna()
        row = {"method": method, "n": len(own), "regret": own.mean(), "half": t_half_width(own.to_numpy())}
        row |= {"median": own.median(), "cut": int((finals.loc[[method]] == "cut").sum())}
        if method != REFERENCE and REFERENCE in table:
            gains = (table[REFERENCE] - table[method]).dropna().to_numpy()
            low, high = bca_interval(gains)
            won = float((gains > 0).sum() + (gains == 0).sum() / 2)
            ahead_low, ahead_high = wilson(won, len(gains))
            row |= {"pairs": len(gains), "gain": gains.mean(), "low": low, "high": high, "ahead": won / len(gains)}
            row |= {"ahead_low": ahead_low, "ahead_high": ahead_high}
            row |= {"p": float(comparisons.permutation_p(gains[:, None])[0])}
        rows.append(row)
    found = pd.DataFrame(rows)
    if "p" in found and found["p"].notna().any():
        known = found["p"].notna()
        found.loc[known, "p_holm"] = comparisons.holm(found.loc[known, "p"].to_numpy())
    return found


def better(found: pd.DataFrame) -> list[str]:
    """The methods that are significantly ahead of `REFERENCE`; `found` as of `against_reference`."""
    return [] if "p_holm" not in found else list(found[(found["p_holm"] < ALPHA) & (found["gain"] > 0)]["method"])
