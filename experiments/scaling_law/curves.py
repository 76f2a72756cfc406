"""The reward curves that laws are fitted to: of a recording's full runs, or of a folder of CSV files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.early_stopping_audit.analysis import Run, full_runs
from experiments.gather import Records
from jfhpo.core.errors import UsageError
from jfhpo.core.problem import LR
from jfhpo.core.space import config_key
from jfhpo.core.trial import Status


@dataclass(frozen=True)
class RewardCurve:
    """One whole run of T steps."""

    problem: str
    model: str
    configuration: str
    """What its configuration shares with runs that differ from it in model and learning rate only: runs of one
    configuration are not independent, and are resampled together."""
    rewards: np.ndarray
    """Training reward of every step, shape (T,)."""
    accuracy: np.ndarray
    """Validation accuracy after 0, 1, ..., T steps, straight between recorded ones and from the first reward; shape
    (T + 1,). NaN where nothing was validated."""
    pool: tuple = ()
    """The study and model whose runs it competes with."""
    top: bool = False
    """Whether at most two runs of its pool ended higher (`early_stopping_audit`)."""

    @property
    def horizon(self) -> int:
        return len(self.rewards)


def recorded_curves(records: Records) -> list[RewardCurve]:
    """The completed full runs, in the order in which they were asked for."""
    return [_of_run(run) for run in full_runs(records) if run.result.status is Status.COMPLETED]


def _of_run(run: Run) -> RewardCurve:
    rewards = np.array([record.reward_mean for record in run.result.curve])
    known = {0: rewards[0], **dict(run.result.validations()), len(rewards): run.result.score}
    config = {name: value for name, value in run.result.trial.config.items() if name != LR}
    accuracy = np.interp(np.arange(len(rewards) + 1), list(known), list(known.values()))
    configuration = f"{run.problem} {run.study} {config_key(config)}"
    return RewardCurve(run.problem, run.model, configuration, rewards, accuracy, run.pool, run.top)


def folder_curves(folder: Path, column: str = "reward") -> list[RewardCurve]:
    """A curve per ``*.csv`` of a folder, one row per step from the first to the last of the run.

    Raises:
        UsageError: for a folder without such files, or a file without the column or with values that are no numbers.
    """
    paths = sorted(Path(folder).glob("*.csv"))
    if not paths:
        raise UsageError(f"curves={folder} holds no *.csv; each is one run, one row per step, with a column {column!r}")
    return [_of_file(path, column) for path in paths]


def _of_file(path: Path, column: str) -> RewardCurve:
    frame = pd.read_csv(path)
    if column not in frame:
        raise UsageError(f"{path} has no column {column!r}; it has: {', '.join(map(str, frame.columns))}")
    rewards = pd.to_numeric(frame[column], errors="coerce").to_numpy(float)
    if not np.isfinite(rewards).all():
        raise UsageError(f"{path}: {column} of row {int(np.argmin(np.isfinite(rewards))) + 1} is not a finite number")
    unknown = np.full(len(rewards) + 1, math.nan)
    return RewardCurve(path.parent.name, path.stem, path.stem, rewards, unknown)


def problems_of(curves: Iterable[RewardCurve]) -> list[str]:
    """Their problems, in the order in which they come."""
    return list(dict.fromkeys(curve.problem for curve in curves))
