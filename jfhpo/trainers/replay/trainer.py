"""`ReplayTrainer`: recorded learning curves behind the `Trainer` protocol. No time passes; recorded costs are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import LR
from jfhpo.core.trainer import Evaluation, Trainer, TrainingFailed
from jfhpo.core.trial import Config, Cost, StepRecord, Trial
from jfhpo.replay.dataset import DATA
from jfhpo.trainers.replay.run import NO_COST, ReplayedRun
from jfhpo.trainers.replay.table import table

SERVE = ("table", "nearest", "surrogate")


class ReplayTrainer(Trainer):
    """Serves a trial from

    - ``table``: the recorded run of its configuration. A study's space is then the list of recorded configurations, so
      that every method is told of runs that really were;
    - ``nearest``: the recorded run of the nearest configuration, under the name of the one that was asked for;
    - ``surrogate``: curves that Gaussian processes and a forest predict (`jfhpo.trainers.replay.surrogate`).
    """

    def __init__(self, data: str, serve: str = "table", folder: str | Path = DATA):
        if serve not in SERVE:
            raise unknown("problem.trainer_settings.serve", serve, SERVE)
        self.data, self.serve, self.folder = data, serve, Path(folder)
        recorded = table(data, self.folder).data
        self.last, self.space = recorded.max_steps, recorded.space
        self._carried = NO_COST

    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        """Raises `UsageError` for a configuration outside the space, and what is not recorded: a configuration (of the
        table), a size, a step."""
        if trial.fidelity.steps > self.last:
            raise UsageError(
                f"step {trial.fidelity.steps} is beyond the recording of {self.data}; it has steps 1 to {self.last}"
            )
        self._check(trial.config)
        self.trial, self.step = trial, int(checkpoint.name) if checkpoint else 0
        self.run = self._run(trial)
        self._carried += self.run.start
        return self._steps()

    def _check(self, config: Config) -> None:
        """Inside the space; a learning rate may be as far beyond its range as width mapping takes it."""
        data = table(self.data, self.folder).data
        inside, rate, spec = dict(config), config.get(LR), data.about["space"].get(LR)
        if spec is not None and isinstance(rate, int | float):
            widths = [size.width for size in data.family if size.name in data.models]
            beyond = max(widths) / min(widths) * (1 + 1e-9)
            if spec["low"] / beyond <= rate <= spec["high"] * beyond:
                inside[LR] = min(max(rate, spec["low"]), spec["high"])
        self.space.validate(inside)

    def _run(self, trial: Trial) -> ReplayedRun:
        which = trial.config, trial.fidelity.model, trial.seed
        if self.serve == "surrogate":
            from jfhpo.trainers.replay.surrogate import surrogate

            return surrogate(self.data, self.folder).run(*which)
        known = table(self.data, self.folder)
        return known.run(*which) if self.serve == "table" else known.nearest(*which)

    def _steps(self) -> Iterator[StepRecord]:
        run, end, wanted = self.run, self.trial.fidelity.steps, frozenset(self.trial.validate_at)
        while self.step < end:
            if self.step == len(run.records):
                self._carried += run.failure.cost
                raise TrainingFailed(run.failure.reason)
            self.step += 1
            yield run.record(self.step, self.step == end or self.step in wanted)

    def save(self, path: Path) -> None:
        """The path's name says all there is to a checkpoint; the cost is what one took when recorded."""
        self._carried += self.run.save

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        """Validation as recorded. The test split was recorded after the last step, with its own k; before that its
        place is taken by the validation accuracy."""
        run = self.run
        if split == "test" and self.step == self.last:
            test = run.test
            return Evaluation(
                split, int(test["prompts"]), test["greedy"], test["mean_at_k"], test["standard_error"],
                int(test["k"]), NO_COST,
            )  # fmt: skip
        accuracy, prompts = float(run.accuracy[self.step]), int(run.test["prompts"] or 0)
        error = (accuracy * (1 - accuracy) / prompts) ** 0.5 if prompts else 0.0
        return Evaluation(split, prompts, accuracy, accuracy, error, 1, run.validation[self.step])

    def overhead(self) -> Cost:
        carried, self._carried = self._carried, NO_COST
        return carried
