"""Why a search trial of one method costs less than one of random search: the paper's speedup, taken apart.

Seconds per trial are a chain of quantities per trial: steps asked for, steps left after early stopping, steps reached,
steps really run (those before a resumed checkpoint are not), tokens sampled, seconds. The ratio of a link's two
quantities for `REFERENCE` and for a method is a factor; their product is exactly the speedup of `main.efficiency`.
Nothing is counterfactual: every quantity is counted in the records. Pure functions of the frames of `Records`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from experiments.gather import KEYS, Records
from experiments.main import analysis as main
from experiments.main.analysis import NO_SEARCH, REFERENCE, search_costs
from experiments.statistics.intervals import bootstrap_ratio
from jfhpo.core.trial import Status

CHAIN = ("asked", "after_stopping", "reached", "run", "tokens", "seconds")
"""Quantities per trial, each the one before with something taken off."""
FACTORS = {
    "fewer_steps": "asked", "stopping": "after_stopping", "failed": "reached", "reuse": "run",
    "tokens_per_step": "tokens", "tokens_per_second": "seconds",
}  # fmt: skip
"""Factor -> the quantity of `CHAIN` that it turns the one before into (the first: turns nothing into steps asked)."""


def search_trials(records: Records) -> pd.DataFrame:
    """The search trials of studies whose search is over, but those that the budget cut: the trials' columns,
    ``on_proxy``, and the steps of `CHAIN`: ``asked``, ``after_stopping``, ``reached``, ``run``."""
    over = search_costs(records).loc[lambda c: ~c["method"].isin(NO_SEARCH), KEYS]
    trials = records.trials[(records.trials["phase"] == "search") & records.trials["status"].notna()]
    trials = trials[trials["status"] != Status.CUT].merge(over, on=KEYS)
    trials = trials.merge(records.studies[[*KEYS, "proxy", "target"]], on=KEYS)
    number = ("steps", "steps_done", "resumed_from", "seconds", "tokens", "scratch_seconds")
    trials = trials.assign(**{name: trials[name].astype(float) for name in number})
    stopped = trials["status"] == Status.EARLY_STOPPED
    return trials.assign(
        on_proxy=trials["model"] != trials["target"],
        asked=trials["steps"],
        after_stopping=trials["steps_done"].where(stopped, trials["steps"]),
        reached=trials["steps_done"],
        run=trials["steps_done"] - trials["resumed_from"],
    )


def per_study(records: Records) -> pd.DataFrame:
    """One row per study with a search: KEYS, `CHAIN` per trial, ``proxy_share`` of the trials; per proxy and per
    target trial ``*_seconds``; ``*_rate`` (tokens/s on that model); ``stopped_share`` (steps not run because a rule
    stopped, of those asked), ``resumed_share`` (steps taken from a checkpoint, of those reached), ``reuse_seconds``
    per trial (what the trials would have cost from the base, less what they cost). NaN where there is no such trial."""
    rows = []
    for key, trials in search_trials(records).groupby(KEYS, sort=False):
        total = trials[[*CHAIN, "scratch_seconds"]].sum()
        row = dict(zip(KEYS, key, strict=True)) | {name: total[name] / len(trials) for name in CHAIN}
        row["proxy_share"] = trials["on_proxy"].mean()
        for name, some in (("proxy", trials[trials["on_proxy"]]), ("target", trials[~trials["on_proxy"]])):
            row[f"{name}_seconds"] = some["seconds"].mean()
            row[f"{name}_rate"] = _ratio(some["tokens"].sum(), some["seconds"].sum())
        row["stopped_share"] = _ratio(total["asked"] - total["after_stopping"], total["asked"])
        row["resumed_share"] = _ratio(total["reached"] - total["run"], total["reached"])
        row["reuse_seconds"] = (total["scratch_seconds"] - total["seconds"]) / len(trials)
        rows.append(row)
    return pd.DataFrame(rows, columns=[*KEYS, *CHAIN, *PARTS])


PARTS = [
    "proxy_share", "proxy_seconds", "target_seconds", "proxy_rate", "target_rate", "stopped_share", "resumed_share",
    "reuse_seconds",
]  # fmt: skip


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else math.nan


def breakdown(records: Records) -> pd.DataFrame:
    """One row per problem and method with a search, means over seeds: ``n`` and ``expected``, the columns of
    `per_study`, ``reuse_share`` (seconds saved by reuse, of those without it), and ``proxy_speedup``: seconds per
    trial of `REFERENCE` by seconds per *proxy* trial of the method, with ``_low`` and ``_high`` (95 %, bootstrap over
    seeds; NaN for one seed)."""

    def row(mine: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
        means = mine[[*CHAIN, *PARTS]].mean().to_dict()
        proxy = mine["proxy_seconds"].dropna()
        low, high = bootstrap_ratio(reference["seconds"].tolist(), proxy.tolist())
        return means | {
            "reuse_share": _ratio(means["reuse_seconds"], means["seconds"] + means["reuse_seconds"]),
            "proxy_speedup": reference["seconds"].mean() / means["proxy_seconds"],
            "proxy_speedup_low": low,
            "proxy_speedup_high": high,
        }

    return _per_method(records, row)


def factors(records: Records) -> pd.DataFrame:
    """One row per problem and method with a search: ``reference_seconds`` and ``seconds`` per trial, and the
    `FACTORS`, whose product is their ratio, ``speedup``. Above one: that much faster than `REFERENCE`."""

    def row(mine: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
        ours, theirs = ({name: frame[name].mean() for name in CHAIN} for frame in (mine, reference))
        found = {"reference_seconds": theirs["seconds"], "seconds": ours["seconds"]}
        before = None
        for factor, quantity in FACTORS.items():
            link = [_ratio(q[quantity], q[before]) if before else q[quantity] for q in (theirs, ours)]
            found[factor] = _ratio(*link)
            before = quantity
        return found | {"speedup": _ratio(theirs["seconds"], ours["seconds"])}

    return _per_method(records, row)


def _per_method(records: Records, row: Callable[[pd.DataFrame, pd.DataFrame], dict[str, float]]) -> pd.DataFrame:
    """`row` of a method's studies and of the reference's on the same problem, in the order of tables. Methods
    without a search are left out."""
    studies, rows = per_study(records), []
    for (problem, method), group in records.studies.groupby(["problem", "method"], sort=False):
        if method in NO_SEARCH:
            continue
        here = studies[studies["problem"] == problem]
        mine, reference = here[here["method"] == method], here[here["method"] == REFERENCE]
        found = row(mine, reference)
        rows.append({"problem": problem, "method": method, "n": len(mine), "expected": len(group)} | found)
    return pd.DataFrame(rows)


def speedups(records: Records) -> pd.DataFrame:
    """`main.efficiency` of the methods that have a speedup over `REFERENCE`, which is left out."""
    frame = main.efficiency(records)
    return frame[(frame["method"] != REFERENCE) & frame["speedup"].notna()].reset_index(drop=True)
