"""ASHA, asynchronous successive halving (Li et al. 2020, MLSys, Algorithm 2), over training steps.

    whenever a worker is free, get_job:
        for k in ⌊log_η(R / r)⌋ − s − 1, …, 1, 0:
            candidates = the |rung k| / η best of rung k
            if one of them was not promoted yet: train it up to step r η^(s + k + 1), in rung k + 1
        if there was none: draw a configuration at random and train it up to step r η^s, in rung 0
    when a trial ends: its score joins its rung

r is `min_steps`, R is `problem.max_steps`, s is `early_stopping_rate`. Promoted configurations resume from their
checkpoints (`checkpoint_reuse`), or are trained again from the base model. Not implemented: the asynchronous Hyperband
that runs brackets of several s in turn, and the infinite horizon, whose R grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.successive_halving import RandomDraws, check_halving, checked_rung_steps, incumbent, ranked
from jfhpo.core.errors import UsageError, check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Config, Fidelity, Status, Trial, TrialResult


@dataclass
class ASHASettings:
    eta: int = 3
    """η: the best 1/η of a rung are promoted, to η times as many steps. The paper's experiments have 4."""
    min_steps: int = 0
    """r: the fewest steps a configuration may be judged by; 0: few enough for three rungs."""
    early_stopping_rate: int = 0
    """s: so many of the shortest rungs are left out."""
    checkpoint_reuse: bool = True
    """Promoted configurations resume from their checkpoints; false: they start again from the base model."""
    model: str = "target"
    """What the trials train: the target, or the proxy, whose best configuration the target is given as it is."""
    incumbent: str = "most_steps"
    """What is recommended: the best score at the most steps, or the best at any (any_steps)."""


class ASHA(Optimizer):
    name: ClassVar[str] = "asha"
    Settings: ClassVar[type] = ASHASettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_halving(s)
        check_counts(s, early_stopping_rate=0)
        self.checkpoint_reuse = s.checkpoint_reuse
        self.model = getattr(problem, s.model)
        steps = checked_rung_steps(problem, s.eta, s.min_steps)
        if s.early_stopping_rate >= len(steps):
            raise UsageError(
                f"method.early_stopping_rate={s.early_stopping_rate} leaves no rung of {list(steps)} steps; "
                f"at most {len(steps) - 1}"
            )
        self.steps = steps[s.early_stopping_rate :]
        """Of rung k, the last one `max_steps`."""
        self.rungs: list[list[TrialResult]] = [[] for _ in self.steps]
        self.promoted: set[int] = set()
        """Trials whose configuration went on to the next rung."""
        self.rung_of: dict[int, int] = {}
        """Pending trial -> its rung."""
        self.draws = RandomDraws(problem, seed)
        self.told: list[TrialResult] = []

    def propose(self) -> Trial:
        """get_job of Algorithm 2."""
        for k in range(len(self.rungs) - 2, -1, -1):
            if promotable := self.promotable(k):
                best = promotable[0].trial
                self.promoted.add(best.id)
                return self._train(best.config, k + 1)
        return self._train(self.draws.next(), 0)

    def promotable(self, k: int) -> list[TrialResult]:
        """Of the top ⌊|rung k| / η⌋ those that were not promoted, best first."""
        candidates = ranked(self.rungs[k])[: len(self.rungs[k]) // self.settings.eta]
        return [result for result in candidates if result.trial.id not in self.promoted]

    def _train(self, config: Config, k: int) -> Trial:
        resume_from = self.steps[k - 1] if k and self.settings.checkpoint_reuse else 0
        trial = self.trial(config, Fidelity(self.model, self.steps[k]), resume_from)
        self.rung_of[trial.id] = k
        return trial

    def observe(self, result: TrialResult) -> None:
        """Failed and early-stopped trials count in |rung k| like any bad score; cut ones were not judged."""
        self.told.append(result)
        k = self.rung_of.pop(result.trial.id)
        if result.status is not Status.CUT:
            self.rungs[k].append(result)

    def recommend(self) -> Config:
        return incumbent(self.told, self.settings.incumbent, self.problem)
