"""Learning curves by formula, with a known optimum and a proxy that is biased: no training, no time.

Accuracy rises with steps towards a ceiling that is a parabola in log lr (its best value ∝ 1/width, and shifted on the
proxy: the bias), falls with the KL coefficient's distance from its best, and collapses above a learning rate that
is nearer to the best one on the target. Costs are proportional to size × steps × rollouts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import ModelSize, Problem
from jfhpo.core.space import SearchSpace, config_key
from jfhpo.core.trial import Config, Cost, Status, StepRecord, Trial, TrialResult
from jfhpo.dynamics.early_stopping import judge, rules

BEST_LR, BEST_KL = 1e-3, 0.02  # on the target, of width 128
PROXY_BIAS = 0.25
"""Decades by which the proxy's best learning rate lies above what widths say."""
CHANCE = 0.13
SMALL, LARGE = ModelSize("p", 50_000, 48, 1.0), ModelSize("l", 250_000, 128, 5.0)


def problem(**changes: Any) -> Problem:
    fields: dict[str, Any] = {
        "name": "curves",
        "task": "curves",
        "space": SearchSpace(
            {
                "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
                "kl_loss_coef": {"type": "float", "low": 1e-3, "high": 0.5, "log": True},
                "rollout_n": {"type": "ordinal", "values": [4, 8, 16]},
                "lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
            }
        ),
        "family": (SMALL, LARGE),
        "proxy": "p",
        "target": "l",
        "max_steps": 24,
        "rungs": (6, 12, 24),
        "recipe": {"lr": 3e-5, "kl_loss_coef": 1e-3, "rollout_n": 4, "lr_scheduler": "constant"},
        "cost_unit": "flops",
    }
    return Problem(**fields | changes)


OPTIMUM: Config = {"lr": BEST_LR, "kl_loss_coef": BEST_KL, "rollout_n": 16, "lr_scheduler": "constant"}


KNOWN = ("lr", "kl_loss_coef", "rollout_n", "lr_scheduler")


def accuracy(config: Config, model: str, steps: int) -> float:
    """Without noise; `config` as it is trained on this model. In other spaces than `problem`'s, what is missing is at
    its best, and every other hyperparameter has some effect of its own."""
    size, bias = (SMALL, PROXY_BIAS) if model == "p" else (LARGE, 0.0)
    off = math.log10(config["lr"] / BEST_LR * size.width / LARGE.width) - bias if "lr" in config else 0.0
    if off > (1.0 if model == "l" else 1.3):
        return CHANCE
    ceiling = 0.93 - 0.18 * off**2 - 0.03 * math.log10(config.get("kl_loss_coef", BEST_KL) / BEST_KL) ** 2
    ceiling += 0.01 * math.log2(config.get("rollout_n", 8) / 8) - 0.01 * (config.get("lr_scheduler") == "cosine")
    ceiling -= sum(0.1 * _share(f"{name}={value}") for name, value in config.items() if name not in KNOWN)
    return CHANCE + max(0.0, ceiling - CHANCE) * (1 - math.exp(-steps / 8))


def _share(word: str) -> float:
    """A number from 0 to 1 that belongs to the word."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little") / 2**64


def observed(config: Config, model: str, steps: int, noise: float) -> float:
    """With noise that belongs to the point: the same run measured twice gives the same."""
    word = f"{config_key(config)} {model} {steps}".encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(word).digest()[:8], "little"))
    return accuracy(config, model, steps) + noise * rng.standard_normal()


def step_cost(config: Config, model: str) -> Cost:
    size = SMALL if model == "p" else LARGE
    n = config.get("rollout_n", 8)
    tokens = 100 * n
    return Cost(size.relative_cost * n / 8, tokens, 2.0 * size.parameters * tokens)


def record(config: Config, model: str, step: int, validation: float | None) -> StepRecord:
    reward = accuracy(config, model, step)
    if reward == CHANCE:  # a collapse: from a good start down to chance
        reward = CHANCE + 0.2 * max(0.0, 1 - step / 3)
    cost = step_cost(config, model)
    return StepRecord(step, reward, 0.01, 0.3, 1.0, 0.0, 10.0, config.get("lr", BEST_LR), 0.0, cost, validation)


FULL_COST = 24 * step_cost({"rollout_n": 8}, "l").flops
"""FLOPs of a full run on the target with 8 rollouts."""


@dataclass
class World:
    """Runs trials, keeps their "checkpoints" and says what was spent."""

    problem: Problem = field(default_factory=problem)
    noise: float = 0.01
    fails: Callable[[Trial], bool] = lambda trial: False
    rules: str = "none"
    reached: dict[tuple[str, str], int] = field(default_factory=dict)
    validated: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    """Steps at which a configuration was validated on a model: a resumed curve brings them again."""
    spent: Cost = field(default_factory=Cost)
    trials: list[Trial] = field(default_factory=list)

    def run(self, trial: Trial, cut_at: int | None = None) -> TrialResult:
        """The trial's result; at `cut_at` steps the budget ends."""
        self.trials.append(trial)
        key = (config_key(trial.config), trial.fidelity.model)
        resumed = min(trial.resume_from, self.reached.get(key, 0))
        status, reason, steps = Status.COMPLETED, "", trial.fidelity.steps
        if cut_at is not None and cut_at < steps:
            status, steps = Status.CUT, cut_at
        validated = self.validated.setdefault(key, set())
        validated |= {*trial.validate_at, trial.fidelity.steps}
        curve: list[StepRecord] = []
        for step in range(1, steps + 1):
            score = self.observe(trial, step) if step in validated else None
            curve.append(record(trial.config, trial.fidelity.model, step, score))
            if resumed < step < steps and (stop := judge(rules(self.rules), curve)):
                status, reason = Status.EARLY_STOPPED, str(stop)
                break
        if self.fails(trial):
            status, reason = Status.FAILED, "out of memory"
        score = self.observe(trial, len(curve)) if curve and status is not Status.FAILED else None
        if status is Status.CUT and not (curve and curve[-1].val_accuracy is not None):
            score = None
        if status in (Status.COMPLETED, Status.CUT):
            self.reached[key] = max(self.reached.get(key, 0), len(curve))
        cost = sum((r.cost for r in curve[resumed:]), Cost())
        self.spent += cost
        whole = sum((r.cost for r in curve), Cost())
        return TrialResult(trial, status, reason, len(curve), score, tuple(curve), cost, whole, resumed)

    def observe(self, trial: Trial, step: int) -> float:
        return observed(trial.config, trial.fidelity.model, step, self.noise)

    def drive(self, optimizer: Optimizer, budget: float = math.inf, trials: int = 10**6) -> Iterator[TrialResult]:
        """Ask, run and tell, one trial at a time, until FLOPs or trials are used up."""
        count = 0
        while count < trials and self.spent.flops < budget and (trial := optimizer.ask()) is not None:
            result = self.run(trial)
            optimizer.tell(result)
            count += 1
            yield result


def outcome(optimizer: Optimizer) -> float:
    """True accuracy of the recommendation, trained in full on the target."""
    return accuracy(optimizer.recommend(), "l", optimizer.problem.max_steps)
