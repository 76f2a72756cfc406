"""A trainer without a model: learning curves by formula, and every way a trial can go wrong on demand."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
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
    """``trouble`` maps a trial id to what happens in it at step 3: nan, die, hang, raise, end; or when it is saved:
    disk; or, as in ``reward_mean=nan``, ``cost.flops=0`` or ``mean_at_k=inf``, which number it reports there or in
    evaluations."""

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
                self._fail(self._trouble)
            reward = accuracy(lr, model, self.step) if lr < 0.05 else 0.1 / self.step
            validated = self.step == self.trial.fidelity.steps or self.step in self.trial.validate_at
            record = StepRecord(
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
            if self.step == 3:
                if self._trouble == "end":
                    return
                record = self._spoilt(record)
            yield record

    @property
    def _trouble(self) -> str:
        return self.trouble.get(str(self.trial.id), "")

    def _spoilt(self, report: StepRecord | Evaluation) -> StepRecord | Evaluation:
        """The report with the number that the trouble says, where it has such a field."""
        name, _, value = self._trouble.partition("=")
        if name.startswith("cost."):
            return replace(report, cost=replace(report.cost, **{name.removeprefix("cost."): float(value)}))
        number = None if value == "none" else float(value or 0)
        return replace(report, **{name: number}) if hasattr(report, name) else report

    @staticmethod
    def _fail(trouble: str) -> None:
        if trouble == "nan":
            raise TrainingFailed("loss is nan at step 3")
        if trouble == "raise":
            raise RuntimeError("CUDA out of memory")
        if trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "hang":
            time.sleep(60)

    def save(self, path: Path) -> None:
        if self._trouble == "disk":
            path.write_text("the first bytes of")
            raise RuntimeError("cannot save") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_text(json.dumps({"step": self.step, "lr": self.trial.config["lr"]}))

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        score = accuracy(self.trial.config["lr"], self.trial.fidelity.model, self.step)
        return self._spoilt(Evaluation(split, 100, score, score, 0.01, k, Cost(0.5, 10, 500.0)))

    def overhead(self) -> Cost:
        return Cost()
