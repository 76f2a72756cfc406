"""The data set of recorded curves: ``jfhpo.replay.load("last_digit")``.

Two parquet files a task, and beside them what they were made of (``dataset.json``, with their checksums) and a card for
people (``README.md``). ``python -m experiments.replay.build`` makes them from recordings (`experiments.record`).
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import ModelSize
from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Config

DATA = Path(__file__).parent / "data"
RUNS, CURVES, ABOUT = "runs.parquet", "curves.parquet", "dataset.json"
FORMAT = 1
REBUILD = "python -m experiments.replay.build"
COST = ("seconds", "tokens", "flops")
METRICS = (
    "reward_mean", "kl", "entropy", "grad_norm", "clip_fraction", "completion_length", "learning_rate", "loss",
)  # fmt: skip
"""As in `jfhpo.core.trial.StepRecord`."""
TEST = ("greedy", "mean_at_k", "standard_error", "k", "prompts")
RUN_COLUMNS: Mapping[str, str] = {
    "run": "int32", "configuration": "int32", "fold": "int8", "model": "str", "transfer": "str", "seed": "int32",
    "status": "str", "reason": "str", "steps": "int32",
    **{f"{part}_{unit}": "float64" for part in ("start", "save", "failing") for unit in COST},
    **{f"test_{name}": "float64" for name in TEST},
}  # fmt: skip
"""Of the runs, beside one column per hyperparameter."""
CURVE_COLUMNS: Mapping[str, str] = {
    "run": "int32", "step": "int32", **dict.fromkeys(METRICS, "float32"), **dict.fromkeys(COST, "float64"),
    "val_accuracy": "float64", **{f"val_{unit}": "float64" for unit in COST},
}  # fmt: skip
AS_IT_IS, BY_WIDTH = "none", "width"
FOLDS = 5


@dataclass(frozen=True)
class DataSet:
    """Learning curves of one task: every configuration of a Sobol design, the recipe first, on every size.

    >>> data = jfhpo.replay.load("last_digit")
    >>> data.runs.query("model == 'l'").nlargest(5, "test_mean_at_k")
    >>> data.curve(7, "l")["val_accuracy"].dropna()

    `runs` has a row per training run and `curves` one per run and step; ``run`` joins them.
    """

    name: str
    runs: pd.DataFrame
    """run, configuration (0 is the recipe where `about` says so), fold (of cross-validation, by configuration), model,
    transfer (`AS_IT_IS`, or `BY_WIDTH`: the learning rate of the configuration on the target, times the target's width
    over this one's), seed (of a study that would train so), a column per hyperparameter as it was trained, status
    (completed or failed), reason, steps; what starting, saving a checkpoint and failing cost (seconds of CPU, tokens,
    FLOPs); the test split's accuracy (shares; NaN where failed)."""
    curves: pd.DataFrame
    """run, step (0 is the base model), the metrics of `StepRecord`, seconds, tokens and FLOPs of the step without
    validation, ``val_accuracy`` (share of the validation split; NaN at steps outside `about`'s ``validate_at``) and
    what that validation cost."""
    about: Mapping[str, Any]
    """What the recording has to say of itself: problem, space, recipe (of the target), family, versions, machine."""

    @functools.cached_property
    def space(self) -> SearchSpace:
        return SearchSpace(self.about["space"])

    @functools.cached_property
    def models(self) -> tuple[str, ...]:
        """Recorded sizes, smallest first."""
        there = set(self.runs["model"])
        return tuple(size.name for size in self.family if size.name in there)

    @functools.cached_property
    def family(self) -> tuple[ModelSize, ...]:
        return tuple(ModelSize(**size) for size in self.about["family"])

    @property
    def max_steps(self) -> int:
        return int(self.about["problem"]["max_steps"])

    @property
    def validate_at(self) -> tuple[int, ...]:
        """Steps at which the validation accuracy was measured; between them a replayed one is interpolated."""
        return tuple(self.about["validate_at"])

    def config(self, run: int) -> Config:
        """The configuration of a run, as it was trained: plain Python values."""
        return self.config_of(self.runs[self.runs["run"] == run].iloc[0])

    def config_of(self, row: Mapping[str, Any]) -> Config:
        """That of a row of `runs`."""
        return {name: _plain(spec, row[name]) for name, spec in self.about["space"].items()}

    def curve(self, configuration: int, model: str, seed: int = 0, transfer: str = AS_IT_IS) -> pd.DataFrame:
        """The steps of one run, indexed by step; a `UsageError` that names what there is for one that is not there."""
        runs, wanted = self.runs, {"configuration": configuration, "model": model, "seed": seed, "transfer": transfer}
        for column, value in wanted.items():
            left = runs[runs[column] == value]
            if left.empty:
                there = sorted(runs[column].unique().tolist())
                said = f"{there[0]} to {there[-1]}" if len(there) > 12 else ", ".join(map(str, there))
                raise UsageError(f"{self.name}: no run with {column}={value}; recorded: {said}")
            runs = left
        steps = self.curves[self.curves["run"] == runs["run"].iloc[0]]
        return steps.set_index("step").drop(columns="run")

    def __repr__(self) -> str:
        runs = self.runs
        counts = f"{runs['configuration'].nunique()} configurations, {len(runs)} runs on {', '.join(self.models)}"
        return f"<DataSet {self.name}: {counts}, {self.max_steps} steps, {runs['seed'].nunique()} seed(s)>"


def _plain(spec: Mapping[str, Any], value: Any) -> Any:
    """A value of the type that the space declares."""
    if "values" in spec:
        return next(own for own in spec["values"] if own == value)
    return float(value) if spec["type"] == "float" else int(value)


def names(folder: Path = DATA) -> tuple[str, ...]:
    """The tasks that are recorded."""
    return tuple(sorted(p.parent.name for p in Path(folder).glob(f"*/{ABOUT}")))


def load(name: str, folder: Path = DATA) -> DataSet:
    """The recorded curves of a task.

    Raises:
        UsageError: for a task that is not recorded, naming those that are, and for a file that is missing, damaged or
            of another make, naming it and the command that makes it anew.
    """
    if name not in names(folder):
        raise unknown("recorded task", name, names(folder))
    about = describe(name, folder)
    columns = {**RUN_COLUMNS, **dict.fromkeys(about["space"])}
    runs = _read(Path(folder) / name / RUNS, about, columns)
    curves = _read(Path(folder) / name / CURVES, about, CURVE_COLUMNS)
    if strangers := set(curves["run"]) ^ set(runs["run"]):
        raise _damaged(Path(folder) / name / CURVES, f"run {min(strangers)} has no row in the other file")
    return DataSet(name, runs, curves, about)


def describe(name: str, folder: Path = DATA) -> dict[str, Any]:
    """What ``dataset.json`` says of a recorded task, without reading its curves."""
    path = Path(folder) / name / ABOUT
    if name not in names(folder):
        raise unknown("recorded task", name, names(folder))
    try:
        about = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise _damaged(path, f"it is not of format {FORMAT}")
    return about


def _read(path: Path, about: Mapping[str, Any], columns: Mapping[str, str | None]) -> pd.DataFrame:
    """One of the two files, its checksum and its columns checked."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if digest != about["files"][path.name]["sha256"]:
        raise _damaged(path, "its checksum differs")
    import pyarrow

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, f"it cannot be read: {error}") from error
    if different := set(frame.columns) ^ set(columns):
        raise _damaged(path, f"column {min(different)} is not as it should be")
    for column, kind in columns.items():
        if kind not in (None, "str") and frame[column].dtype != np.dtype(kind):
            raise _damaged(path, f"column {column} is {frame[column].dtype}, not {kind}")
    return frame


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is damaged ({why}); restore it from the repository, or make it anew with: {REBUILD}")
