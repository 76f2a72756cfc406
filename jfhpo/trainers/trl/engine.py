"""TRL as a study knows it: the miniature family on a generated task, or declared models on the paper's data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.optional import optional
from jfhpo.core.problem import ModelSize
from jfhpo.tasks import TASKS
from jfhpo.tasks.graded import QUESTIONS as GRADED
from jfhpo.trainers.declared import declared_sizes
from jfhpo.trainers.engine import Engine, Settings
from jfhpo.trainers.hf import problem as hf
from jfhpo.trainers.hf.version import version_of
from jfhpo.trainers.mini import engine as mini
from jfhpo.trainers.trl.arguments import FIELDS, TrlSettings, grpo_arguments

MODULE = "jfhpo.trainers.trl.trainer"


def family(problem: Settings) -> tuple[ModelSize, ...]:
    if problem["models"]:
        return declared_sizes(problem["models"])
    if problem["task"] not in TASKS:
        raise UsageError(f"problem.models is empty, and the miniature family cannot do task {problem['task']}")
    return mini.family(problem)


def arguments(problem: Settings) -> dict[str, Any]:
    """Everything that can be wrong in the settings is refused here, before a model is loaded."""
    from jfhpo.tasks.datasets import names

    optional("trl", "trl", "problem.trainer=trl")
    if problem["task"] not in names():
        raise unknown("problem.task", problem["task"], names())
    settings = hf.read_settings(TrlSettings, problem["trainer_settings"])
    if problem["task"] not in TASKS and settings.max_completion_length is None:
        raise UsageError(f"problem.trainer_settings.max_completion_length is missing; task {problem['task']} needs one")
    if settings.reward == "graded" and problem["task"] not in GRADED:
        raise unknown("task with a graded reward (problem.trainer_settings.reward=graded)", problem["task"], GRADED)
    hf.check_names(problem["space"], tuple(FIELDS), "GRPOConfig")
    mini.check_advantage(problem["space"])
    check_batches(problem["space"].get("rollout_n", {}), settings, problem["max_steps"])
    return hf.trainer_arguments(problem)


def check_batches(rollouts: Mapping[str, Any], settings: TrlSettings, max_steps: int) -> None:
    """The batch must divide for every number of rollouts that may be tried."""
    values = rollouts.get("values") or [v for v in (rollouts.get("low"), rollouts.get("high")) if v is not None] or [8]
    for n in values:
        grpo_arguments({"rollout_n": int(n)}, settings, max_steps)


def version(arguments: Mapping[str, Any]) -> str:
    libraries = ("torch", "transformers", "trl", *(("peft",) if arguments["settings"].get("lora") else ()))
    return version_of(arguments, MODULE, libraries)


ENGINE = Engine("trl", f"{MODULE}:TrlTrainer", family, arguments, version, hf.bases)
