"""A trainer without a model: learning curves by formula, and every way a trial can go wrong on demand."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from jfhpo.core.trainer import CheckpointError, Evaluation, Trainer, TrainingFailed
from jfhpo.core.trial import Cost, StepRecord, Trial

SECONDS = {"small": 1.0, "large": 4.0}
"""Cost of a step; FLOPs are a thousand times as many."""
BEST_LR = {"small": 3e-3, "large": 1e-3}


def accuracy(lr: float, model: str, step: int) -> float:
    """Rises with steps towards a ceiling that is a parabola in log lr, narrower for the larger model."""
    ceiling = max(0.0, 0.9 - 0.4 * math.log10(lr / BEST_LR[model]) ** 2)
    return 0.1 + max(0.0, ceiling - 0.1) * (1 - math.exp(-step / 8))


class CurveTrainer(Trainer):
    """``trouble`` maps a trial id to what happens in it at step 3: nan, die, hang, raise."""

    def __init__(self, trouble: dict[str, str] | None = None, pause: float = 0.0):
        self.trouble, self.pause = trouble or {}, pause

    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        self.trial, self.step = trial, 0
        if checkpoint is not None:
            state = json.loads(checkpoint.read_text())
            if state["lr"] != trial.config["lr"]:
                raise CheckpointError("another configuration's checkpoint")
            self.step = state["step"]
        return self._steps()

    def _steps(self) -> Iterator[StepRecord]:
        lr, model = self.trial.config["lr"], self.trial.fidelity.model
        while self.step < self.trial.fidelity.steps:
            time.sleep(self.pause)
            self.step += 1
            if self.step == 3:
                self._fail(self.trouble.get(str(self.trial.id)))
            reward = accuracy(lr, model, self.step) if lr < 0.05 else 0.1 / self.step
            validated = self.step == self.trial.fidelity.steps or self.step in self.trial.validate_at
            yield StepRecord(
                step=self.step,
                reward_mean=reward,
                kl=0.01 * self.step,
                entropy=0.3,
                grad_norm=1.0,
                clip_fraction=0.0,
                completion_length=10.0,
                learning_rate=lr,
                loss=0.0,
                cost=Cost(SECONDS[model], 100, 1000 * SECONDS[model]),
                val_accuracy=reward if validated else None,
            )

    @staticmethod
    def _fail(trouble: str | None) -> None:
        if trouble == "nan":
            raise TrainingFailed("loss is nan at step 3")
        if trouble == "raise":
            raise RuntimeError("CUDA out of memory")
        if trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "hang":
            time.sleep(60)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"step": self.step, "lr": self.trial.config["lr"]}))

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        score = accuracy(self.trial.config["lr"], self.trial.fidelity.model, self.step)
        return Evaluation(split, 100, score, score, 0.01, k, Cost(0.5, 10, 500.0))

    def overhead(self) -> Cost:
        return Cost()
