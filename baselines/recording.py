"""Not a search: a Sobol design trained in full on every size, so that curves can be studied and replayed.

Configurations are a scrambled Sobol sequence (the recipe before it where the problem says so), trained to `max_steps`
on each of the problem's models, from the smallest up, with validation at every rung. Nothing is stopped and nothing
resumed. The experiments on proxy correlation, sensitivity and early stopping read what this leaves.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jfhpo.core.errors import check_choices, check_counts
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Config, Fidelity, Status, Trial, TrialResult

TRANSFERS = ("none", "width", "both")


@dataclass
class RecordingSettings:
    configs: int = 16
    """Configurations of the design."""
    lr_transfer: str = "both"
    """Learning rate on the smaller sizes: the configuration's own (none), mapped by width (width), or a run of each."""


class Recording(Optimizer):
    name: ClassVar[str] = "recording"
    learns: ClassVar[bool] = False
    Settings: ClassVar[type] = RecordingSettings

    def __init__(self, problem, *, seed, settings=None):
        super().__init__(problem, seed=seed, settings=settings)
        s = self.settings
        check_choices(s, lr_transfer=TRANSFERS)
        check_counts(s, configs=1)
        self.design = problem.initial_design(np.random.default_rng(seed), s.configs)
        self.waiting = deque(run for config in self.design for run in self._runs(config))
        self.planned = len(self.waiting)
        self.best: tuple[float, Config] | None = None

    def _runs(self, config: Config) -> list[tuple[Config, str]]:
        """(configuration as trained, model), smallest model first."""
        runs = []
        for model in self.problem.models:
            mapped = self.problem.map_lr(config, self.problem.target, model)
            own = self.settings.lr_transfer
            if own != "width" or model == self.problem.target:
                runs.append((dict(config), model))
            if own != "none" and model != self.problem.target:
                runs.append((mapped, model))
        return runs

    def propose(self) -> Trial | None:
        if not self.waiting:
            return None
        config, model = self.waiting.popleft()
        return self.trial(config, Fidelity(model, self.problem.max_steps), validate_at=self.problem.rungs[:-1])

    def observe(self, result: TrialResult) -> None:
        on_target = result.trial.fidelity.model == self.problem.target
        if on_target and result.status is Status.COMPLETED and (self.best is None or result.score > self.best[0]):
            self.best = (result.score, result.trial.config)

    def recommend(self) -> Config:
        """The best validation score on the target; before there is one, the recipe."""
        return self.best[1] if self.best is not None else self.problem.recipe
