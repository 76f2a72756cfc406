"""LoRA instruction-tuning as a study knows it: the miniature family on generated instructions, or declared models on
Alpaca and Dolly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.optional import optional
from jfhpo.core.problem import ModelSize
from jfhpo.tasks.instructions import material
from jfhpo.trainers.declared import declared_sizes
from jfhpo.trainers.engine import Engine, Settings
from jfhpo.trainers.hf.version import version_of
from jfhpo.trainers.mini import engine as mini
from jfhpo.trainers.sft.arguments import ADAPTER, RANK, TRAINING, check_ranks, settings_of


def family(problem: Settings) -> tuple[ModelSize, ...]:
    if problem["models"]:
        return declared_sizes(problem["models"])
    if problem["task"] != material.GENERATED.name:
        raise UsageError(
            f"problem.models is empty, and the miniature family has learned task {material.GENERATED.name} only, "
            f"not {problem['task']}"
        )
    from jfhpo.trainers.mini.family import model_sizes

    return model_sizes(problem["task"])


def bases(problem: Settings) -> list[Any]:
    return [] if problem["models"] else mini.bases(problem)


def arguments(problem: Settings) -> dict[str, Any]:
    """Everything that can be wrong in the settings is refused here, before a model or a data set is loaded."""
    for library in ("trl", "peft"):
        optional(library, "trl", "problem.trainer=sft")
    material.check(problem["task"], problem["data"])
    settings = settings_of(problem["trainer_settings"])
    if problem["task"] != material.GENERATED.name and settings.max_answer_length is None:
        raise UsageError(f"problem.trainer_settings.max_answer_length is missing; task {problem['task']} needs one")
    check_names(problem["space"])
    if RANK in problem["space"]:
        used = {problem["proxy"], problem["target"], *problem["extra_models"]}
        narrowest = min((size for size in family(problem) if size.name in used), key=lambda size: size.width)
        check_ranks(problem["space"][RANK], narrowest.width, narrowest.name)
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


def check_names(space: Mapping[str, Any]) -> None:
    """Every hyperparameter must be one that somebody reads: another one would be searched in vain."""
    if unread := [name for name in space if name not in (*ADAPTER, *TRAINING)]:
        from trl import SFTConfig

        known = [f.name for f in dataclasses.fields(SFTConfig)]
        for name in unread:
            if name not in known:
                raise unknown("hyperparameter of SFTConfig", name, [*ADAPTER, *TRAINING, *known])


def version(arguments: Mapping[str, Any]) -> str:
    named = {size: Path(path).name for size, path in arguments["models"].items()}
    libraries = ("torch", "transformers", "trl", "peft")
    return version_of(dict(arguments) | {"models": named}, Path(__file__).parent.glob("*.py"), libraries)


ENGINE = Engine("sft", "jfhpo.trainers.sft.trainer:SftTrainer", family, arguments, version, bases)
"""TRL's SFTTrainer with PEFT's LoRA: instruction-tuning, judged by validation loss."""
