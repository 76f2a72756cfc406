"""What a study knows so far: curves, results, spending. Built from events, live or read back from the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jfhpo.core.problem import Problem
from jfhpo.core.space import config_key
from jfhpo.core.trainer import Evaluation
from jfhpo.core.trial import Config, Cost, Status, StepRecord, Trial, TrialResult


def rivals(results: Iterable[TrialResult], trial: Trial) -> tuple[Sequence[StepRecord], ...]:
    """What a trial is compared with: the curves that `results` left of other configurations on its model, the longest
    of each. Failed and stopped trials count as far as they came: leaving them out would raise the bar with every
    stop."""
    longest: dict[str, Sequence[StepRecord]] = {}
    for result in results:
        key = config_key(result.trial.config)
        if result.trial.fidelity.model == trial.fidelity.model and len(result.curve) > len(longest.get(key, ())):
            longest[key] = result.curve
    longest.pop(config_key(trial.config), None)
    return tuple(longest.values())


class History:
    def __init__(self, problem: Problem, charge_optimizer: bool = True):
        self.problem, self.charge_optimizer = problem, charge_optimizer
        self.asked = 0
        self.results: list[TrialResult] = []
        """Search trials in the order they were told."""
        self.final: TrialResult | None = None
        self.optimizer_seconds = 0.0
        self.recommended: Config | None = None
        self.recommendation: Mapping[str, Any] = {}
        self.evaluation: Evaluation | None = None
        self.finished = False
        self._told = Cost()
        self._curves: dict[tuple[str, str], list[StepRecord]] = {}
        self._full: dict[str, list[TrialResult]] = {}
        """Configuration -> search trials at the fidelity that counts: asked for before every trial."""

    def add(self, result: TrialResult, phase: str) -> None:
        """A trial was told: it belongs to the search, or is the final run."""
        if phase == "final":
            self.final = result
        else:
            self.results.append(result)
            if result.trial.fidelity == self.problem.full:
                self._full.setdefault(config_key(result.trial.config), []).append(result)
        self._told += result.cost

    def curve(self, trial: Trial) -> list[StepRecord]:
        """The steps known of this configuration on this model, from step 1; the list itself, to be appended to."""
        return self._curves.setdefault((config_key(trial.config), trial.fidelity.model), [])

    def steps_known(self, config: Config, model: str) -> int:
        return len(self._curves.get((config_key(config), model), ()))

    def pace(self, config: Config, model: str) -> float:
        """What a step of this configuration cost of late: the mean over the later half of its known steps, in the
        problem's cost unit; 0 where none is known."""
        curve = self._curves.get((config_key(config), model), ())
        later = [record.cost.of(self.problem.cost_unit) for record in curve[len(curve) // 2 :]]
        return sum(later) / len(later) if later else 0.0

    def runs(self, config: Config, status: Status) -> list[TrialResult]:
        """Search trials of this configuration at the fidelity that counts, that ended so."""
        return [r for r in self._full.get(config_key(config), ()) if r.status is status]

    def full_run(self, config: Config) -> TrialResult | None:
        """The search trial that trained this configuration on the target in full, if one did."""
        return next(iter(self.runs(config, Status.COMPLETED)), None)

    def spent(self, running: Iterable[Cost] = ()) -> Cost:
        """Everything charged to the budget: trials told, trials running, and the optimizer's own time."""
        own = Cost(seconds=self.optimizer_seconds) if self.charge_optimizer else Cost()
        total = self._told + own
        seconds, tokens, flops = total.seconds, total.tokens, total.flops
        for cost in running:  # asked twice a step: with a thousand workers a `Cost` for each sum would be most of it
            seconds, tokens, flops = seconds + cost.seconds, tokens + cost.tokens, flops + cost.flops
        return Cost(seconds, tokens, flops)

    def failures_in_a_row(self) -> int:
        count = 0
        for result in reversed(self.results):
            if result.status is not Status.FAILED:
                break
            count += 1
        return count

    def summary(self) -> dict[str, Any]:
        """The study's outcome in plain data: the part of ``summary.json`` that events decide.

        ``not_resumed`` counts the trials that were to resume a checkpoint and found none, or an earlier one."""
        final = self.final or (self.full_run(self.recommended) if self.recommended is not None else None)
        statuses = Counter(r.status for r in self.results)
        told = self.results + ([self.final] if self.final else [])
        test = None
        if self.evaluation is not None:
            fields = ("split", "prompts", "greedy", "mean_at_k", "standard_error", "k")
            test = {name: getattr(self.evaluation, name) for name in fields}
        return {
            "spent": vars(self.spent()),
            "optimizer_seconds": self.optimizer_seconds,
            "trials": {status.value: statuses[status] for status in Status},
            "not_resumed": sum(r.resumed_from < r.trial.resume_from for r in told if r.status is not Status.FAILED),
            "steps": sum(r.steps_done - r.resumed_from for r in self.results),
            "search_cost": vars(sum((r.cost for r in self.results), Cost())),
            "search_cost_from_scratch": vars(sum((r.cost_from_scratch for r in self.results), Cost())),
            "final_cost": vars(self.final.cost if self.final else Cost()),
            "recommended": dict(self.recommended) if self.recommended is not None else None,
            "recommendation": dict(self.recommendation),
            "final": final
            and {
                "model": final.trial.fidelity.model,
                "steps": final.steps_done,
                "validation": final.score,
                "status": final.status.value,
                "reason": final.reason,
            },
            "test": test,
        }
