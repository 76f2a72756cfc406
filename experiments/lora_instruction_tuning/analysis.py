"""From records to losses: what each method found and when, the best configurations, and loss against right answers.

A score of this problem is exp(−validation loss); here it is the loss again, in nats per response token. Only full runs
on the target are evaluations of the objective. Pure functions of the frames of `Records`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from experiments.gather import FINISHED, KEYS, Records, method_rank
from experiments.lora_instruction_tuning.sweep import FIRST_ROUND
from experiments.statistics import comparisons
from experiments.statistics.intervals import RESAMPLES, bca_interval, percentiles, t_half_width
from jfhpo.core.trial import Status

REFERENCE = "random_search"
TEN = 10
NEAR = 0.05
"""Of the way from where a seed's studies begin to the lowest loss of any: what may be missing where one is near it."""
SUMMARY = (
    "problem", "method", "seeds", "trials", "evaluations", "loss", "half", "seconds_to_best", "near", "seconds_near",
    "seconds", "accuracy", "accuracy_half", "pairs", "gain", "low", "high", "p", "p_holm",
)  # fmt: skip
"""Columns of `methods`."""
ADAPTER = ("lora_rank", "lora_dropout", "lora_alpha", "lr")


def evaluations(records: Records) -> pd.DataFrame:
    """One row per full run on the target that completed, search and final: KEYS, trial, phase, the configuration's
    hyperparameters, ``loss`` (nats per response token), ``spent`` (seconds of the study when it was known) and
    ``answered`` (share of validation questions answered right; NaN where not measured). In the order of telling."""
    studies = records.studies.set_index(KEYS)[["target", "max_steps"]]
    trials = records.trials[(records.trials["status"] == Status.COMPLETED)].join(studies, on=KEYS)
    full = trials[(trials["model"] == trials["target"]) & (trials["steps_done"] == trials["max_steps"])]
    last = records.steps.set_index([*KEYS, "trial", "step"])[["spent_seconds", "measured"]]
    rows = []
    for trial in full.to_dict("records"):
        step = last.loc[(*(trial[k] for k in KEYS), trial["trial"], trial["steps_done"])]
        row = {name: trial[name] for name in (*KEYS, "trial", "phase")} | dict(trial["config"])
        row |= {"loss": -math.log(trial["score"]), "spent": float(step["spent_seconds"])}
        rows.append(row | {"answered": (step["measured"] or {}).get("answered", math.nan)})
    columns = [*KEYS, "trial", "phase", *ADAPTER, "loss", "spent", "answered"]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*columns, *(name for row in rows for name in row)])))


def best_so_far(found: pd.DataFrame) -> pd.DataFrame:
    """The anytime curve of every study: KEYS, ``spent`` and ``loss``, the lowest up to then; `found` as of
    `evaluations`."""
    ordered = found.sort_values("spent", kind="stable")
    return ordered.assign(loss=ordered.groupby(KEYS)["loss"].cummin())[[*KEYS, "spent", "loss"]]


def methods(records: Records, found: pd.DataFrame) -> pd.DataFrame:
    """One row per problem and method: ``seeds``, ``trials`` (of any fidelity) and ``evaluations`` per study, ``loss``
    (lowest of a study, mean over seeds) and ``half`` of its t interval, ``seconds_to_best`` (median), ``near`` (seeds
    that came within `NEAR` of the lowest loss that any method of the same seed found) and ``seconds_near`` (median
    over these), ``seconds`` in all, and the accuracy of what was recommended on the test questions, ``accuracy`` and
    ``accuracy_half``. Paired with `REFERENCE` by seed: ``pairs``, ``gain`` (its loss less the method's), ``low``,
    ``high`` (BCa), ``p`` (paired permutation test) and ``p_holm`` over the methods of the problem. The first round
    trains longer and is not compared."""
    done = records.studies[records.studies["state"] == FINISHED]
    searched = records.trials[records.trials["status"].notna() & (records.trials["phase"] == "search")]
    counts = searched.groupby(KEYS).size()
    ends = records.steps.groupby(KEYS)["spent_seconds"].max()
    rows = []
    for problem, own in done.groupby("problem", sort=True):
        here = found[found["problem"] == problem].merge(own[KEYS], on=KEYS)
        lowest = here.groupby(["method", "seed"])["loss"].min().unstack("method")
        goal = _goal(here[here["method"] != FIRST_ROUND])
        part = []
        for method in sorted(lowest.columns, key=method_rank):
            runs, seeds = here[here["method"] == method], lowest[method].dropna()
            studies = [(problem, method, seed) for seed in seeds.index]
            tested = own[(own["method"] == method)]["mean_at_k"].astype(float)
            row = {"problem": problem, "method": method, "seeds": len(seeds), "loss": seeds.mean()}
            row |= {"half": t_half_width(seeds.to_numpy()), "evaluations": len(runs) / len(seeds)}
            row |= {"trials": float(np.mean([counts.get(s, 0) for s in studies]))}
            row |= {"seconds": float(np.mean([ends[s] for s in studies]))}
            row |= {"seconds_to_best": _first(runs, seeds).median()}
            near = _first(runs, goal.reindex(seeds.index))
            row |= {"near": len(near), "seconds_near": near.median()}
            row |= {"accuracy": tested.mean(), "accuracy_half": t_half_width(tested.to_numpy())}
            part.append(row | _paired(lowest, method))
        compared = [row for row in part if not math.isnan(row.get("p", math.nan))]
        for row, p in zip(compared, comparisons.holm(np.array([row["p"] for row in compared])), strict=True):
            row["p_holm"] = p
        rows += part
    return pd.DataFrame(rows, columns=list(SUMMARY))


def _goal(runs: pd.DataFrame) -> pd.Series:
    """Seed -> the loss that is `NEAR` the lowest, measured on the way from the studies' first runs."""
    low = runs.groupby("seed")["loss"].min()
    first = runs.sort_values("spent", kind="stable").groupby(["seed", "method"])["loss"].first()
    return low + NEAR * (first.groupby("seed").max() - low)


def _first(runs: pd.DataFrame, goal: pd.Series) -> pd.Series:
    """Seed -> seconds spent when a run first had a loss of at most the seed's goal, where one ever had."""
    reached = runs[runs["loss"] <= runs["seed"].map(goal)]
    return reached.groupby("seed")["spent"].min()


def _paired(lowest: pd.DataFrame, method: str) -> dict[str, float]:
    if method in (REFERENCE, FIRST_ROUND) or REFERENCE not in lowest:
        return {}
    gains = (lowest[REFERENCE] - lowest[method]).dropna().to_numpy()
    if not len(gains):
        return {}
    low, high = bca_interval(gains)
    p = float(comparisons.permutation_p(gains[:, None])[0])
    return {"pairs": len(gains), "gain": gains.mean(), "low": low, "high": high, "p": p}


def ten_best(found: pd.DataFrame, problem: str, method: str) -> pd.DataFrame:
    """The ten configurations of a method with the lowest losses, over all its seeds, and the one with the highest;
    ``place`` 1 to 10, and the number of configurations for the last. A configuration that was trained in several seeds
    stands there once for each."""
    own = found[(found["problem"] == problem) & (found["method"] == method)]
    own = own.drop_duplicates([*KEYS, "loss"]).sort_values("loss", kind="stable").reset_index(drop=True)
    own.insert(0, "place", own.index + 1)
    return own if len(own) <= TEN + 1 else pd.concat([own.head(TEN), own.tail(1)], ignore_index=True)


def agreement(found: pd.DataFrame, problem: str) -> pd.DataFrame:
    """Does a lower loss mean better answers? A row for all evaluations of the problem and one for the ten of every
    study with the lowest losses: ``n``, ``spearman`` of −loss and answers with ``low`` and ``high`` (95 % bootstrap),
    ``concordant`` (of the pairs that differ in both, the share in which the lower loss has the more right answers), and
    ``forgone``: the accuracy of the most right answers less that of the lowest loss, mean over studies."""
    own = found[(found["problem"] == problem) & found["answered"].notna() & (found["method"] != FIRST_ROUND)]
    best = own.groupby(KEYS, group_keys=False)[own.columns.tolist()].apply(lambda g: g.nsmallest(TEN, "loss"))
    rows = []
    for name, some in (("all", own), ("ten best", best)):
        loss, right = some["loss"].to_numpy(), some["answered"].to_numpy()
        low, high = _bootstrap(loss, right)
        forgone = [g["answered"].max() - g.loc[g["loss"].idxmin(), "answered"] for _, g in some.groupby(KEYS)]
        rows.append(
            {"problem": problem, "of": name, "n": len(some), "spearman": _spearman(-loss, right)}
            | {"low": low, "high": high, "concordant": _concordant(loss, right)}
            | {"forgone": float(np.mean(forgone)) if forgone else math.nan}
        )
    return pd.DataFrame(rows)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(spearmanr(a, b).statistic)


def _bootstrap(loss: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    if len(loss) < 3:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(loss), size=len(loss)) for _ in range(min(RESAMPLES, 1000))]
    return percentiles(np.array([_spearman(-loss[d], right[d]) for d in draws]))


def _concordant(loss: np.ndarray, right: np.ndarray) -> float:
    signs = np.sign(loss[:, None] - loss) * np.sign(right - right[:, None])
    upper = signs[np.triu_indices(len(loss), 1)]
    told = upper[upper != 0]
    return float((told > 0).mean()) if len(told) else math.nan
