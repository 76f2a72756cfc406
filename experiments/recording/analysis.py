"""What a recording holds: how many runs of which size, how they ended, what they cost and how well they did."""

from __future__ import annotations

import pandas as pd

from experiments.gather import Records
from jfhpo.core.trial import Status


def overview(records: Records) -> pd.DataFrame:
    """One row per problem and model: ``runs`` that ended, ``completed`` and ``failed`` ones, and of the completed
    ones the mean, standard deviation and best of the final validation accuracy (shares) and the mean seconds."""
    trials = records.trials[records.trials["status"].notna()]
    rows = []
    for (problem, model), group in trials.groupby(["problem", "model"], sort=False):
        done = group[group["status"] == Status.COMPLETED]
        score = done["score"].astype(float)
        rows.append(
            {"problem": problem, "model": model, "runs": len(group), "completed": len(done)}
            | {"failed": int((group["status"] == Status.FAILED).sum())}
            | {"mean": score.mean(), "sd": score.std(ddof=1), "best": score.max()}
            | {"seconds": done["seconds"].astype(float).mean()}
        )
    return pd.DataFrame(rows)
