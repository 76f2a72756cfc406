"""The data card: how a data set of recorded curves was made, what is in it, how noisy it is, and what it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jfhpo.replay.dataset import AS_IT_IS, FOLDS, REBUILD, DataSet

LICENCE = "Apache-2.0, as the repository"


def card(data: DataSet) -> str:
    """Markdown; every number is of the data."""
    about, runs = data.about, data.runs
    steps = ", ".join(map(str, data.validate_at))
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"""# Recorded learning curves: {data.name}

`jfhpo.replay.load("{data.name}")` reads them. {runs["configuration"].nunique()} configurations, {len(runs)} training
runs of {data.max_steps} steps on {", ".join(data.models)}, {(data.curves["step"] > 0).sum():,} steps.

## How it was made

- Real GRPO on the miniature models of this repository (`jfhpo/trainers/mini`), task `{data.name}`; the trainer's
  version is `{about["trainer_version"]}`, its settings {about["problem"]["trainer_settings"]}.
- A scrambled Sobol sequence of the space (design seed {about["design_seed"]}), the recipe as configuration 0. Every
  configuration is trained on every size as it is (`transfer` none), and on some sizes also with the learning rate of
  the target `{about["target"]}` mapped by width (`transfer` width).
- A training run of seed s is that of a study with seed s: same prompts in the same order, for all configurations.
- Validation accuracy (512 prompts, one sample each) at steps 0 (the base model), {steps}; at other steps there is none,
  and a replayed trial that wants one is served a straight line between the two nearest. Validation draws the same
  random numbers at every step, so its noise is common to the steps and runs.
- Test accuracy (512 other prompts, {about["test_k"]} samples each, and greedy) of the last step only.
{_seconds(about)}
- {versions}; begun {about["began"]}.

## What is in it

{_markdown(contents(data))}

Accuracy in shares; `seconds` of CPU for a full run without validation. Folds 0 to {FOLDS - 1} (configuration modulo
{FOLDS}) are the splits for whoever fits something to it: a configuration is in one fold with all its runs.

## Noise

{_noise(data)}

## What it is not

The table knows its own configurations only. Test accuracy is of full runs; a run that was cut has its validation
accuracy in place of it. Of a configuration with one seed every study sees the same run, whatever its own seed: over
many studies it is the methods' own randomness that is averaged out, hardly the training's.

Licence: {LICENCE}. The questions are generated; there is no personal data in it.

Rebuild: `{_record(data)}`, then
`{REBUILD}`.
"""


def _seconds(about: Mapping[str, Any]) -> str:
    if about.get("packed_on"):
        what = "wall seconds of the GPU" if about["packed_on"] == "cuda" else "CPU seconds"
        return f"""- Runs of a size were trained many at once (`packed`), on: {about["machine"]}. Seconds are a run's
  share, by FLOPs, of the {what} that all of them took. Tokens and FLOPs are exact."""
    machine = about["machine"]
    return f"""- Seconds are CPU seconds of the single-threaded trainer, as a study charges them, on: {machine}; other
  programs ran beside it, which makes single steps differ by some ten per cent. Tokens and FLOPs are exact."""


def _record(data: DataSet) -> str:
    """The command that records as much."""
    seeds = data.runs.groupby("configuration")["seed"].nunique()
    words = [f"'problem=[{data.name}]' 'models=[{','.join(data.models)}]' configs={len(seeds)}"]
    if (most := seeds.max()) > 1:
        words.append(f"seeds={most} repeated={(seeds == most).sum()}")
    return " ".join(["python -m experiments.record", *words])


def contents(data: DataSet) -> pd.DataFrame:
    """One row per size and way of the learning rate: runs, failed ones, and of the completed ones mean, standard
    deviation and best of the final validation accuracy, mean test accuracy, and mean CPU seconds."""
    last = data.curves[data.curves["step"] == data.max_steps].set_index("run")["val_accuracy"]
    spent = data.curves.groupby("run")["seconds"].sum()
    rows = []
    for (model, transfer), runs in data.runs.groupby(["model", "transfer"], sort=False):
        done = runs[runs["status"] == "completed"]
        score = last.reindex(done["run"])
        rows.append(
            {"size": model, "transfer": transfer, "runs": len(runs), "failed": len(runs) - len(done)}
            | {"mean": score.mean(), "sd": score.std(ddof=1), "best": score.max()}
            | {"test": done["test_mean_at_k"].mean(), "seconds": spent.reindex(done["run"]).mean()}
        )
    return pd.DataFrame(rows)


def noise(data: DataSet) -> pd.DataFrame:
    """Of configurations with several seeds on a size: standard deviation of the final validation accuracy between
    seeds, pooled over configurations (its square is the mean of their variances); a row per size."""
    last = data.curves[data.curves["step"] == data.max_steps].set_index("run")["val_accuracy"]
    own = data.runs[(data.runs["transfer"] == AS_IT_IS) & (data.runs["status"] == "completed")]
    rows = []
    for model, runs in own.groupby("model", sort=False):
        groups = [last.reindex(g["run"]) for _, g in runs.groupby("configuration") if g["seed"].nunique() > 1]
        if groups:
            freedom = sum(len(g) - 1 for g in groups)
            variance = sum(g.var(ddof=1) * (len(g) - 1) for g in groups) / freedom
            rows.append({"size": model, "configurations": len(groups), "sd": math.sqrt(variance)})
    return pd.DataFrame(rows, columns=["size", "configurations", "sd"])


def _noise(data: DataSet) -> str:
    found = noise(data)
    sampling = math.sqrt(0.25 / 512)
    said = f"A validation of 512 prompts has a standard error of at most {sampling:.3f}, a test of fewer points."
    if found.empty:
        return f"{said} Training was recorded with one seed: what another seed would give is not in these files."
    return f"{said} Standard deviation of the final validation accuracy between training seeds:\n\n{_markdown(found)}"


def _markdown(table: pd.DataFrame) -> str:
    def text(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)

    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(text, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)
