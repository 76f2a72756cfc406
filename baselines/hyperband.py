"""Hyperband (Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar 2018, JMLR 18, Algorithm 1) over training steps.

    s_max = ⌊log_η(R)⌋, B = (s_max + 1) R
    for s in s_max, s_max − 1, …, 0, again and again until the budget is spent:
        n = ⌈(B / R) η^s / (s + 1)⌉, r = R η^(−s)
        T = n configurations drawn at random
        for i in 0, …, s:
            n_i = ⌊n η^(−i)⌋, r_i = r η^i
            train every configuration of T up to step r_i
            T = the ⌊n_i / η⌋ best of T
    return the configuration with the best score at the most steps

R is `problem.max_steps` in units of `min_steps`, the fewest worth judging by (section 3.5). Promoted configurations
resume from their checkpoints (`checkpoint_reuse`), or are trained again from the base model. Not implemented: the
paper's other resources (time, samples, features), bounds on n, and the infinite horizon of section 5, whose R grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.successive_halving import (
    ROUNDINGS,
    Brackets,
    RandomDraws,
    check_halving,
    checked_rung_steps,
    hyperband_brackets,
    incumbent,
)
from jfhpo.core.errors import check_choices
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Config, Fidelity, Trial, TrialResult


@dataclass
class HyperbandSettings:
    eta: int = 3
    """η: the best 1/η of a rung are promoted, to η times as many steps."""
    min_steps: int = 0
    """The fewest steps a configuration may be judged by; 0: few enough for three rungs."""
    rounding: str = "up"
    """Of a bracket's configurations n: up (Algorithm 1) or down (the paper's Table 1)."""
    checkpoint_reuse: bool = True
    """Promoted configurations resume from their checkpoints; false: they start again from the base model."""
    model: str = "target"
    """What the trials train: the target, or the proxy, whose best configuration the target is given as it is."""
    incumbent: str = "most_steps"
    """What is recommended: the best score at the most steps, or the best at any (any_steps, Algorithm 1's words)."""


class Hyperband(Optimizer):
    name: ClassVar[str] = "hyperband"
    Settings: ClassVar[type] = HyperbandSettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_halving(s)
        check_choices(s, rounding=ROUNDINGS)
        self.checkpoint_reuse = s.checkpoint_reuse
        self.model = getattr(problem, s.model)
        steps = checked_rung_steps(problem, s.eta, s.min_steps)
        self.brackets = Brackets(hyperband_brackets(steps, s.eta, s.rounding))
        self.draws = RandomDraws(problem, seed)
        self.told: list[TrialResult] = []

    def propose(self) -> Trial:
        job = self.brackets.next_job()
        config = self.draws.next() if job.config is None else job.config
        resume_from = job.trained if self.settings.checkpoint_reuse else 0
        trial = self.trial(config, Fidelity(self.model, job.steps), resume_from)
        self.brackets.started(trial.id, job)
        return trial

    def observe(self, result: TrialResult) -> None:
        self.told.append(result)
        self.brackets.observe(result)

    def recommend(self) -> Config:
        return incumbent(self.told, self.settings.incumbent, self.problem)
