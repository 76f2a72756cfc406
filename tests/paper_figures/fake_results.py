"""Writes studies as the study loop does, with numbers that a test can compute by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jfhpo.core.trial import Cost, Fidelity, Status, StepRecord, Trial

STEP = Cost(seconds=1.0, tokens=100, flops=1e9)
RECIPE = {"lr": 1e-3, "schedule": "constant", "rollout_n": 8}


class FakeStudy:
    """One study's folder, its records as `jfhpo.study.loop` writes them. A trial's steps cost 1 second and 100 tokens
    each unless told otherwise."""

    def __init__(self, out: Path, method: str, seed: int, *, problem: str = "last_digit", **study: Any):
        self.folder = Path(out) / study.get("experiment", "main") / problem / method / f"seed={seed}"
        self.folder.mkdir(parents=True)
        self.records = self.folder / "records.jsonl"
        self.spent = Cost()
        self.clock = 1.7e9
        self.trials = 0
        self.config: dict[str, Any] = dict(RECIPE)
        defaults = {
            "experiment": "main", "problem": problem, "task": problem, "method": method, "seed": seed,
            "budget": {"amount": 120.0, "unit": "seconds"}, "proxy": "p", "target": "l", "max_steps": 50,
            "rungs": [10, 50], "workers": 1, "config_hash": "c0ffee", "code_version": "abc1234", "scale": "mini",
        }  # fmt: skip
        self.event("study", **(defaults | study))

    def event(self, kind: str, **fields: Any) -> None:
        self.clock += 1.0
        with self.records.open("a") as file:
            file.write(json.dumps({"event": kind, "time": self.clock} | fields) + "\n")

    def ask(self, model: str, steps: int, *, config: dict | None = None, phase: str = "search", optimizer: float = 0.0):
        trial = Trial(self.trials, config or self.config, Fidelity(model, steps), seed=0)
        self.trials += 1
        self.event("asked", trial=trial.to_json(), optimizer_seconds=optimizer, phase=phase)
        return trial

    def start(self, trial: Trial, resumed_from: int = 0, phase: str = "search") -> None:
        self.event("started", trial=trial.id, phase=phase, resumed_from=resumed_from)

    def step(
        self, trial: Trial, step: int, validation: float | None = None, cost: Cost = STEP, reward: float = 0.5
    ) -> None:
        self.spent = self.spent + cost
        record = StepRecord(step, reward, 0.01, 0.3, 1.0, 0.0, 12.0, 1e-3, 0.1, cost, validation)
        spent = {"seconds": self.spent.seconds, "tokens": self.spent.tokens, "flops": self.spent.flops}
        self.event("step", trial=trial.id, record=record.to_json(), spent=spent)

    def tell(
        self,
        trial: Trial,
        cost: Cost,
        *,
        status: Status = Status.COMPLETED,
        reason: str = "",
        steps_done: int | None = None,
        score: float | None = None,
        scratch: Cost | None = None,
        resumed_from: int = 0,
        phase: str = "search",
        optimizer: float = 0.0,
    ) -> None:
        result = {
            "trial": trial.id, "status": status.value, "reason": reason, "score": score, "resumed_from": resumed_from,
            "steps_done": trial.fidelity.steps if steps_done is None else steps_done,
            "cost": vars(cost), "cost_from_scratch": vars(scratch or cost),
        }  # fmt: skip
        self.event("told", result=result, phase=phase, optimizer_seconds=optimizer)

    def run(
        self,
        model: str,
        steps: int,
        validations: dict[int, float],
        *,
        config: dict | None = None,
        phase: str = "search",
        cost: Cost = STEP,
        resumed_from: int = 0,
        steps_done: int | None = None,
        optimizer: float = 0.0,
        rewards: Sequence[float] | None = None,
        **told: Any,
    ) -> Trial:
        """A whole trial: asked, its steps at `cost` each, told with the last validation as its score. Half of the
        optimizer's seconds are spent on asking and half on telling. `rewards` are those of steps 1, 2, ..."""
        trial = self.ask(model, steps, config=config, phase=phase, optimizer=optimizer / 2)
        self.start(trial, resumed_from, phase)
        end = steps if steps_done is None else steps_done
        total = Cost()
        for step in range(resumed_from + 1, end + 1):
            reward = 0.5 if rewards is None else rewards[step - 1]
            self.step(trial, step, validations.get(step), cost, reward)
            total = total + cost
        score = None if told.get("status") is Status.FAILED else validations.get(end)
        told = {"score": score, "resumed_from": resumed_from, "steps_done": end} | told
        self.tell(trial, total, phase=phase, optimizer=optimizer / 2, **told)
        return trial

    def finish(self, greedy: float, mean: float, se: float = 0.01, *, k: int = 10, prompts: int = 512, **summary: Any):
        """Recommended, evaluated on the test split, finished. The final training, where there is one, goes before:
        it is told by its phase."""
        self.event("recommended", config=self.config, summary=summary)
        evaluation = {
            "split": "test", "prompts": prompts, "greedy": greedy, "mean_at_k": mean, "standard_error": se, "k": k,
            "cost": vars(Cost(1.0)),
        }  # fmt: skip
        self.event("evaluated", evaluation=evaluation)
        self.event("finished")


def small_tree(out: Path) -> None:
    """Three methods, two seeds. Seconds per search trial: random_search 50 and 30, jfhpo 5 and 5. Test mean@10:
    recipe .60 .62, random_search .70 .74, jfhpo .80 .90."""
    for seed, (greedy, mean) in enumerate([(0.90, 0.60), (0.92, 0.62)]):
        recipe = FakeStudy(out, "recipe", seed)
        recipe.run("l", 50, {25: 0.5, 50: 0.6}, phase="final")
        recipe.finish(greedy, mean)
    for seed, seconds in enumerate([1.0, 0.6]):
        search = FakeStudy(out, "random_search", seed)
        cost = Cost(seconds, 100, 1e9)
        search.run("l", 50, {50: 0.4}, config={**RECIPE, "lr": 1e-4}, cost=cost, optimizer=0.5)
        search.run("l", 50, {50: 0.7}, cost=cost, optimizer=0.5)
        search.finish(0.95, 0.70 + 0.04 * seed)
    for seed in range(2):
        ours = FakeStudy(out, "jfhpo", seed)
        proxy = Cost(0.4, 200, 1e8)
        ours.run("p", 10, {10: 0.5}, cost=proxy, optimizer=1.0)
        ours.run("p", 30, {30: 0.9}, cost=proxy, resumed_from=10, scratch=Cost(12.0, 6000, 3e9), optimizer=1.0)
        stopped = {"status": Status.EARLY_STOPPED, "reason": "reward_drop at step 10: 0.1 below 0.27", "steps_done": 10}
        ours.run("p", 50, {10: 0.1}, config={**RECIPE, "lr": 1e-2}, cost=proxy, **stopped)
        failed = {"status": Status.FAILED, "reason": "loss is nan at step 10", "steps_done": 10}
        ours.run("p", 50, {5: 0.99}, config={**RECIPE, "lr": 5e-2}, cost=proxy, **failed)
        ours.run("l", 50, {25: 0.6, 50: 0.8 + 0.1 * seed}, phase="final")
        ours.finish(0.97, 0.80 + 0.10 * seed, posterior_mean=0.85)
