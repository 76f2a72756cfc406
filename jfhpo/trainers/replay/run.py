"""One recorded run as a trainer hands it out: a record a step, a validation where one is wanted, and what each cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

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


Columns = Mapping[str, np.ndarray]
"""Of ``curves``: name -> one value a step of a run, from step 0 on."""


def replayed(run: Mapping[str, object], steps: Columns) -> ReplayedRun:
    """A run of the data set: its row of ``runs`` and its part of ``curves``."""
    at, seen = steps["step"], ~np.isnan(steps["val_accuracy"])
    accuracy = np.interp(at, at[seen], steps["val_accuracy"][seen])
    price = [np.interp(at, at[seen], steps[f"val_{unit}"][seen]) for unit in COST]
    metrics = zip(*(steps[name][1:].tolist() for name in METRICS), strict=True)
    costs = _costs([steps[unit][1:] for unit in COST])
    records = tuple(
        StepRecord(step=step, cost=cost, **dict(zip(METRICS, values, strict=True)))
        for step, cost, values in zip(at[1:].tolist(), costs, metrics, strict=True)
    )
    failed = run["status"] == "failed"
    return ReplayedRun(
        records,
        accuracy,
        _costs(price),
        start=_cost_of(run, "start"),
        save=_cost_of(run, "save"),
        test={name.removeprefix("test_"): float(value) for name, value in run.items() if name.startswith("test_")},
        failure=Failure(str(run["reason"]), _cost_of(run, "failing")) if failed else None,
    )


def _cost_of(run: Mapping[str, object], part: str) -> Cost:
    return _costs([np.array([run[f"{part}_{unit}"]]) for unit in COST])[0]


def _costs(values: Sequence[np.ndarray]) -> tuple[Cost, ...]:
    """One a step from seconds, tokens and FLOPs (n,) each."""
    rows = zip(*(column.tolist() for column in values), strict=True)
    return tuple(Cost(seconds, round(tokens), flops) for seconds, tokens, flops in rows)
