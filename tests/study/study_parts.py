"""A small study on the formula trainer, for the tests of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import ModelSize, Problem
from jfhpo.core.space import SearchSpace
from jfhpo.study.checkpoints import CheckpointRegistry
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.study.loop import Study
from jfhpo.study.methods import method
from jfhpo.study.no_checkpoints import NoCheckpoints
from jfhpo.study.records import read_records
from jfhpo.study.settings import StudySettings


def problem(**changes: Any) -> Problem:
    fields: dict[str, Any] = {
        "name": "curves",
        "task": "curves",
        "space": SearchSpace({"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}}),
        "family": (ModelSize("small", 1000, 32, 1.0), ModelSize("large", 4000, 128, 4.0)),
        "proxy": "small",
        "target": "large",
        "max_steps": 20,
        "rungs": (5, 10, 20),
        "recipe": {"lr": 2e-4},
        "cost_unit": "flops",
    }
    return Problem(**fields | changes)


def study(
    folder: Path,
    *,
    name: str = "jfhpo",
    budget: float = 300_000.0,
    trainer: dict[str, Any] | None = None,
    of: Problem | None = None,
    optimizer: Optimizer | None = None,
    observers: tuple = (),
    settings: dict[str, Any] | None = None,
    method_settings: dict[str, Any] | None = None,
    registry: CheckpointRegistry | NoCheckpoints | None = None,
) -> Study:
    """A study in `folder`, which also holds its checkpoints."""
    of = of or problem()
    home = folder / "study"
    home.mkdir(parents=True, exist_ok=True)
    cls, own = method(name), settings or {}
    return Study(
        home,
        of,
        optimizer or cls(of, seed=0, settings=cls.Settings(**method_settings or {})),
        TrainerSpec("curves", "tests.fakes.curve_trainer:CurveTrainer", trainer or {}, "v1"),
        registry or CheckpointRegistry(folder / "checkpoints"),
        StudySettings(**{**BASICS, "budget": budget} | own),
        observers,
    )


class Scripted(Optimizer):
    """Asks for what it is told to ask."""

    name = "scripted"
    Settings = dict

    def __init__(self, problem, trials, early_stopping="none", reuse=True):
        super().__init__(problem, seed=0, settings={})
        self.trials, self.results = list(trials), []
        self.early_stopping, self.checkpoint_reuse = early_stopping, reuse

    def propose(self):
        return self.trials.pop(0) if self.trials else None

    def observe(self, result):
        self.results.append(result)

    def recommend(self):
        return self.results[0].trial.config if self.results else {"lr": 1e-3}


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [e for e in read_records(folder / "study") if e["event"] == kind]


BASICS = {"experiment": "test", "scale": "test", "seed": 0, "checkpoint_every": 4}
TIMES = ("time", "seconds", "optimizer_seconds", "machine")


def without_times(value: Any) -> Any:
    """The same with everything measured in seconds left out."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, list):
        return [without_times(v) for v in value]
    return value
