"""A dry run: what studies would launch, what they may spend, what they need, and what is there already.

Nothing is written and nothing is launched. Methods are asked for real, so the first trial of a study is the one that
would run; what comes after depends on results. `experiments.plan_view` prints it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from experiments.config import label_of, plain, study_folder
from experiments.run import Parts, build_study, checkpoints_of
from jfhpo.core.trial import Trial
from jfhpo.study.checkpoint_database import glance
from jfhpo.study.records import SUMMARY, read_records
from jfhpo.trainers.engine import Launch, engine
from jfhpo.trainers.estimate import Assumptions, Job, Memory, Shape, Step, memory, step

FINISHED, BEGUN, MISSING = "finished", "begun", "to run"


@dataclass(frozen=True)
class Planned:
    """One study, as far as it is known before it runs."""

    command: str
    """What runs or continues it."""
    config: DictConfig
    parts: Parts
    folder: Path
    first: Trial
    """What it launches first."""
    launched: Launch
    """The program of that trial."""
    state: str
    told: int
    """Trials that have ended."""
    spent: float
    """Of the budget, in its unit."""
    checkpoints: int
    """Good ones on disk, to go on from."""
    checkpoint_bytes: int

    @property
    def label(self) -> str:
        return label_of(self.config)

    @property
    def problem(self) -> Mapping[str, Any]:
        return plain(self.config)["problem"]

    @property
    def gpus(self) -> int:
        """0: it needs none."""
        return engine(self.parts.trainer.name).gpus(self.problem)


def planned(command: str, config: DictConfig) -> Planned:
    """Build the study and ask its method for the first trial; a `UsageError` for anything that would be refused."""
    parts, folder = build_study(config), study_folder(config)
    trial = parts.optimizer.ask()
    told, spent = 0, 0.0
    for event in read_records(folder):
        told += event["event"] == "told"
        spent = event.get("spent", {}).get(config.budget_unit, spent)
    state = FINISHED if (folder / SUMMARY).exists() else BEGUN if (folder / "records.jsonl").exists() else MISSING
    scope = "/".join((config.experiment, config.problem.name, label_of(config), f"seed={config.seed}"))
    held = glance(checkpoints_of(config)).get(scope, (0, 0)) if config.checkpoints else (0, 0)
    launched = engine(parts.trainer.name).launch(parts.trainer.arguments, trial)
    return Planned(command, config, parts, folder, trial, launched, state, told, spent, *held)


def is_recipe(plan: Planned) -> bool:
    """Whether its first trial is the recipe, on whichever model."""
    problem, trial = plan.parts.problem, plan.first
    carried = problem.map_lr(problem.recipe, problem.target, trial.fidelity.model)
    return dict(trial.config) in (dict(problem.recipe), carried)


@dataclass(frozen=True)
class Need:
    """What one model of a problem takes."""

    problem: str
    model: str
    role: str
    """target or proxy."""
    steps: int
    """Of a full run."""
    job: Job
    memory: Memory
    step: Step

    @property
    def run_hours(self) -> float:
        """Of a full run, validation left out."""
        return self.steps * self.step.seconds / 3600


def needs(plans: Sequence[Planned], assumed: Assumptions) -> list[Need]:
    """For every problem's target and proxy, where the engine says what a step is and the model declares its shape."""
    first = {plan.config.problem.name: plan for plan in plans}
    found = []
    for name, plan in first.items():
        problem = plan.problem
        job = engine(plan.parts.trainer.name).job(problem)
        for role in dict.fromkeys(("target", "proxy")):
            if role == "proxy" and problem["proxy"] == problem["target"]:
                continue
            shape = Shape.of(problem["models"].get(problem[role], {}))
            if job is not None and shape is not None:
                sizes = (shape, job, assumed)
                found.append(Need(name, problem[role], role, problem["max_steps"], job, memory(*sizes), step(*sizes)))
    return found


def command_of(launched: Launch) -> list[str]:
    """The words to type for it."""
    return [
        *(f"{name}={value}" for name, value in launched.environment.items()),
        "python",
        *launched.program,
        *launched.words,
    ]


def shell(words: Sequence[str], width: int = 118) -> str:
    """A command in lines of at most `width` that a shell reads as one."""
    lines, line = [], ""
    for word in map(shlex.quote, words):
        if line and len(line) + len(word) + 3 > width:
            lines.append(f"{line} \\")
            line = f"  {word}"
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])
