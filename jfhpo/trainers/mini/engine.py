"""The miniature trainer as a study knows it: `jfhpo.trainers.mini.trainer.MiniTrainer` on bases that are made once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfhpo.core.errors import unknown
from jfhpo.core.problem import ModelSize
from jfhpo.tasks import TASKS
from jfhpo.tasks.graded import QUESTIONS as GRADED
from jfhpo.tasks.grpovi import ADVANTAGES
from jfhpo.trainers.engine import Engine, Settings

if TYPE_CHECKING:
    from jfhpo.trainers.mini.family import BaseSpec


def family(problem: Settings) -> tuple[ModelSize, ...]:
    from jfhpo.trainers.mini.family import model_sizes

    if problem["task"] not in TASKS:
        raise unknown("problem.task", problem["task"], TASKS)
    return model_sizes(problem["task"])


def check_settings(settings: Mapping[str, Any], task: str) -> None:
    """A `UsageError` for ``problem.trainer_settings`` that the trainer does not have, or cannot use on this task."""
    from jfhpo.trainers.mini.grpo import GRPOSettings

    if GRPOSettings.of(settings, max_steps=1).reward == "graded" and task not in GRADED:
        raise unknown("task with a graded reward (problem.trainer_settings.reward=graded)", task, GRADED)


def check_advantage(space: Mapping[str, Any]) -> None:
    """A `UsageError` for an advantage in the space that the trainer does not know."""
    for value in space.get("advantage", {}).get("values", ()):
        if value not in ADVANTAGES:
            raise unknown("value in problem.space.advantage", value, ADVANTAGES)


def bases(problem: Settings) -> list[BaseSpec]:
    """One per size that trials may use."""
    from jfhpo.trainers.mini.family import BaseSpec

    sizes = dict.fromkeys((problem["proxy"], problem["target"], *problem["extra_models"]))
    return [BaseSpec.of(problem["task"], size, problem["pretrain"]) for size in sizes]


def arguments(problem: Settings) -> dict[str, Any]:
    """What can be wrong in the settings is refused here, before a trial fails of it."""
    check_settings(problem["trainer_settings"], problem["task"])
    check_advantage(problem["space"])
    return {
        "task": problem["task"],
        "bases": {spec.size: str(spec.folder) for spec in bases(problem)},
        "max_steps": problem["max_steps"],
        "settings": problem["trainer_settings"],
    }


def version(arguments: Mapping[str, Any]) -> str:
    from jfhpo.trainers.mini.family import code_version

    named = {size: Path(folder).name for size, folder in arguments["bases"].items()}  # wherever the cache lies
    content = {**arguments, "bases": named, "code": code_version()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


ENGINE = Engine(
    "mini", "jfhpo.trainers.mini.trainer:MiniTrainer", family, arguments, version, bases,
    packed="jfhpo.trainers.mini.packed.trainer:PackedMiniTrainer",
)  # fmt: skip
