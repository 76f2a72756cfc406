"""What the engines on Hugging Face's trainers read of a problem's configuration in the same way."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from jfhpo.core.errors import unknown
from jfhpo.trainers.engine import Settings
from jfhpo.trainers.mini import engine as mini

S = TypeVar("S")


def bases(problem: Settings) -> list[Any]:
    """Those of the miniature family, unless the problem declares models of its own."""
    return [] if problem["models"] else mini.bases(problem)


def trainer_arguments(problem: Settings) -> dict[str, Any]:
    """What both trainers' constructors are given."""
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
            raise unknown("problem.trainer_settings", name, known)
    found = settings(**given)
    found.check()
    return found


def check_names(space: Mapping[str, Any], own: Sequence[str], config: str) -> None:
    """Every hyperparameter must be one of the project's `own` or a field of TRL's class `config`: a key that nobody
    reads would be searched in vain."""
    if unread := [name for name in space if name not in own]:
        known = [f.name for f in dataclasses.fields(getattr(importlib.import_module("trl"), config))]
        for name in unread:
            if name not in known:
                raise unknown(f"hyperparameter of {config}", name, [*own, *known])
