"""How well the surrogate predicts what it has not seen: ``python -m experiments.replay.heldout last_digit``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from experiments.replay.terminal import show
from jfhpo.core.words import exit_code, settings
from jfhpo.replay.dataset import DATA, DataSet, load, names
from jfhpo.trainers.replay.surrogate import CurveSurrogate
from jfhpo.trainers.replay.table import Table

HELP = """Held-out error of the surrogate that serves configurations off the table (five folds, by configuration).

usage: python -m experiments.replay.heldout [task ...] [folder=data]
"""


def predictions(data: DataSet) -> pd.DataFrame:
    """One row per completed run, predicted from the other folds: run, model, configuration, ``final`` and ``test``
    (accuracy as measured), ``predicted_final`` and ``predicted_test``, ``curve_error`` (mean absolute error over the
    steps that were validated), ``seconds`` of all steps and ``predicted_seconds``."""
    done, known, rows = data.runs[data.runs["status"] == "completed"], Table(data), []
    for fold in sorted(done["fold"].unique()):
        model = CurveSurrogate(data, done.loc[done["fold"] != fold, "run"].tolist())
        held = done[done["fold"] == fold].to_dict("records")
        configs, sizes = [data.config_of(row) for row in held], [row["model"] for row in held]
        curves, tests = model.accuracies(configs, sizes)
        for row, config, curve, test in zip(held, configs, curves, tests, strict=True):
            columns = known.columns(row["run"])
            seen = ~np.isnan(columns["val_accuracy"])
            served = model.run(config, row["model"], row["seed"])
            rows.append(
                {name: row[name] for name in ("run", "model", "configuration")}
                | {"final": columns["val_accuracy"][-1], "predicted_final": curve[-1]}
                | {"test": row["test_mean_at_k"], "predicted_test": test}
                | {"curve_error": float(np.abs(curve - columns["val_accuracy"])[seen].mean())}
                | {"seconds": columns["seconds"].sum()}
                | {"predicted_seconds": sum(record.cost.seconds for record in served.records)}
            )
    return pd.DataFrame(rows)


def errors(found: pd.DataFrame) -> pd.DataFrame:
    """One row per size: ``runs``, ``spearman`` and ``mae`` of the final validation accuracy, ``r2``, ``test_mae``,
    ``curve_mae``, and ``seconds_off``: the median factor by which the predicted seconds are off."""
    rows = []
    for model, own in found.groupby("model", sort=False):
        off = own["predicted_final"] - own["final"]
        variance = own["final"].var(ddof=0)
        rho = spearmanr(own["predicted_final"], own["final"]).statistic if len(own) > 2 else np.nan
        factor = np.exp(np.abs(np.log(own["predicted_seconds"] / own["seconds"])).median())
        rows.append(
            {"model": model, "runs": len(own), "spearman": float(rho), "mae": off.abs().mean()}
            | {"r2": 1 - (off**2).mean() / variance if variance > 0 else np.nan}
            | {"test_mae": (own["predicted_test"] - own["test"]).abs().mean()}
            | {"curve_mae": own["curve_error"].mean(), "seconds_off": float(factor)}
        )
    return pd.DataFrame(rows)


def main(words: Sequence[str]) -> int:
    if any(w in ("-h", "--help") for w in words):
        print(HELP)
        return 0

    def command() -> int:
        folder = Path(settings([w for w in words if "=" in w], {"folder": str(DATA)})["folder"])
        for name in [w for w in words if "=" not in w] or names(folder):
            data = load(name, folder)
            show(errors(predictions(data)), f"{data}: held out by configuration, five folds")
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
