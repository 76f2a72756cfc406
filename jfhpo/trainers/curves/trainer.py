"""`CurvesTrainer`: the formula behind the `Trainer` protocol. No time passes; costs are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jfhpo.core.trainer import Evaluation, Trainer, TrainingFailed
from jfhpo.core.trial import Cost, StepRecord, Trial
from jfhpo.trainers.curves.formula import LARGE, SMALL, Landscape

LARGEST_LR = 1e6
"""Beyond it a formula has nothing to say."""


class CurvesTrainer(Trainer):
    """The trial's seed draws the landscape, so every seed of a study is another problem, the same for all methods."""

    def __init__(self, bias: float, noise: float):
        self.bias, self.noise = bias, noise

    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        if trial.fidelity.model not in (SMALL.name, LARGE.name):
            raise TrainingFailed(f"model '{trial.fidelity.model}' is none of these: {SMALL.name}, {LARGE.name}")
        if not 0 < trial.config.get("lr", LARGEST_LR) <= LARGEST_LR:
            raise TrainingFailed(f"lr={trial.config['lr']} is no learning rate up to {LARGEST_LR:g}: training breaks")
        self.trial, self.step = trial, int(checkpoint.name) if checkpoint else 0
        self.landscape = Landscape.draw(trial.seed, self.bias)
        return self._steps()

    def _steps(self) -> Iterator[StepRecord]:
        trial = self.trial
        while self.step < trial.fidelity.steps:
            self.step += 1
            validated = self.step == trial.fidelity.steps or self.step in trial.validate_at
            yield self.landscape.record(
                trial.config, trial.fidelity.model, self.step, self._observed() if validated else None
            )

    def _observed(self) -> float:
        trial = self.trial
        return self.landscape.observed(trial.config, trial.fidelity.model, self.step, self.noise, trial.seed)

    def save(self, path: Path) -> None:
        """The path's name says all there is to a checkpoint."""

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        """Validation as a step reports it; any other split without noise."""
        true = self.landscape.accuracy(self.trial.config, self.trial.fidelity.model, self.step)
        found = self._observed() if split == "validation" else true
        return Evaluation(split, 512, found, found, self.noise if split == "validation" else 0.0, k, Cost())

    def overhead(self) -> Cost:
        return Cost()
