"""What the engines on Hugging Face's trainers read of a problem's configuration in the same way."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import ModelSize
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets.own import OWN
from jfhpo.trainers.declared import declared_sizes
from jfhpo.trainers.engine import Settings
from jfhpo.trainers.hf.settings import AT, GrpoSettings
from jfhpo.trainers.mini import engine as mini

S = TypeVar("S")


def family(problem: Settings, learned: Collection[str] = TASKS) -> tuple[ModelSize, ...]:
    """The models that the problem declares, or the miniature family, for a task that its bases have learned."""
    if problem["models"]:
        return declared_sizes(problem["models"])
    if problem["task"] not in learned:
        raise UsageError(
            f"problem.models is empty, and the miniature family cannot do task {problem['task']}; it has learned "
            + ", ".join(learned)
        )
    from jfhpo.trainers.mini.family import model_sizes

    return model_sizes(problem["task"])


def bases(problem: Settings) -> list[Any]:
    """Those of the miniature family, unless the problem declares models of its own."""
    return [] if problem["models"] else mini.bases(problem)


def trainer_arguments(problem: Settings) -> dict[str, Any]:
    """What the trainers' constructors are given."""
    if problem["models"]:
        models = {name: str(model["path"]) for name, model in problem["models"].items()}
    else:
        models = {spec.size: str(spec.folder) for spec in mini.bases(problem)}
    return {
        "task": problem["task"],
        "models": models,
        "max_steps": problem["max_steps"],
        "settings": dict(problem["trainer_settings"]),
        "data": dict(problem["data"]),
    }


def read_settings(settings: type[S], given: Mapping[str, Any]) -> S:
    """``problem.trainer_settings`` as the trainer's dataclass, checked by its own ``check``."""
    known = [f.name for f in dataclasses.fields(settings)]
    for name in given:
        if name not in known:
            raise unknown(AT, name, known)
    found = settings(**given)
    found.check()
    return found


def check_grpo(problem: Settings, settings: GrpoSettings) -> None:
    """A `UsageError` for a task, a length or an advantage that no GRPO can be trained with."""
    from jfhpo.tasks.datasets import names

    if problem["task"] not in (OWN, *names()):
        raise unknown("problem.task", problem["task"], (OWN, *names()))
    if problem["task"] not in TASKS and settings.max_completion_length is None:
        raise UsageError(f"{AT}.max_completion_length is missing; task {problem['task']} needs one")
    mini.check_advantage(problem["space"])


def check_names(space: Mapping[str, Any], own: Sequence[str], config: str) -> None:
    """Every hyperparameter must be one of the project's `own` or a field of TRL's class `config`: a key that nobody
    reads would be searched in vain."""
    if unread := [name for name in space if name not in own]:
        known = [f.name for f in dataclasses.fields(getattr(importlib.import_module("trl"), config))]
        for name in unread:
            if name not in known:
                raise unknown(f"hyperparameter of {config}", name, [*own, *known])
