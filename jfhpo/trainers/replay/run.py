"""One recorded run as a trainer hands it out: a record a step, a validation where one is wanted, and what each cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from jfhpo.core.trial import Cost, StepRecord
from jfhpo.replay.dataset import COST, METRICS

NO_COST = Cost()


@dataclass(frozen=True)
class Failure:
    reason: str
    cost: Cost


@dataclass
class ReplayedRun:
    """Costs are those that were recorded: a step without validation, and a validation by itself."""

    records: tuple[StepRecord, ...]
    """Steps 1, 2, … without validation."""
    accuracy: np.ndarray
    """Validation accuracy after steps 0, 1, …; straight lines between those that were measured."""
    validation: tuple[Cost, ...]
    """What measuring it costs, likewise."""
    start: Cost
    save: Cost
    test: Mapping[str, float]
    """Of the last step: greedy, mean_at_k, standard_error, k, prompts; NaN where the run failed."""
    failure: Failure | None = None
    """What ended it after its last record; None where it went through."""
    _validated: dict[int, StepRecord] = field(default_factory=dict)

    def record(self, step: int, validated: bool) -> StepRecord:
        """Of a step from 1 on."""
        if not validated:
            return self.records[step - 1]
        if step not in self._validated:
            bare = self.records[step - 1]
            found = replace(bare, cost=bare.cost + self.validation[step], val_accuracy=float(self.accuracy[step]))
            self._validated[step] = found
        return self._validated[step]


def replayed(run: Mapping[str, object], steps: pd.DataFrame) -> ReplayedRun:
    """A run of the data set: its row of ``runs`` and its rows of ``curves``, from step 0 on."""
    columns = {name: steps[name].to_numpy(float) for name in (*METRICS, *COST)}
    at = steps["step"].to_numpy()
    seen = steps["val_accuracy"].notna().to_numpy()
    accuracy = np.interp(at, at[seen], steps["val_accuracy"].to_numpy()[seen])
    price = {unit: np.interp(at, at[seen], steps[f"val_{unit}"].to_numpy()[seen]) for unit in COST}
    records = tuple(
        StepRecord(
            step=int(at[i]),
            **{name: float(columns[name][i]) for name in METRICS},
            cost=_cost({unit: columns[unit][i] for unit in COST}),
        )
        for i in range(1, len(at))
    )
    failed = run["status"] == "failed"
    return ReplayedRun(
        records,
        accuracy,
        tuple(_cost({unit: price[unit][i] for unit in COST}) for i in range(len(at))),
        start=_cost_of(run, "start"),
        save=_cost_of(run, "save"),
        test={name.removeprefix("test_"): float(value) for name, value in run.items() if name.startswith("test_")},
        failure=Failure(str(run["reason"]), _cost_of(run, "failing")) if failed else None,
    )


def _cost_of(run: Mapping[str, object], part: str) -> Cost:
    return _cost({unit: run[f"{part}_{unit}"] for unit in COST})


def _cost(values: Mapping[str, object]) -> Cost:
    return Cost(float(values["seconds"]), round(float(values["tokens"])), float(values["flops"]))
